//! Tool calls in an answer's text, in the form that the model was trained on.
mod form;
mod hermes;
mod llama;
mod mistral;
mod object;

pub use form::ToolForm;

use std::fmt::Debug;

/// A call that the model asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolCall {
    /// The function's name.
    pub name: String,
    /// Its arguments, as JSON.
    pub arguments: String,
}

/// How calls are read from an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallReading {
    /// What they look like.
    pub form: ToolForm,
    /// Whether the answer is over with its first call.
    pub only_one: bool,
}

/// What [`ToolCallReader::push`] found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Text that belongs to no call.
    pub text: String,
    /// Complete calls.
    pub calls: Vec<ToolCall>,
}

/// A part of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// Text that belongs to no call.
    Text(String),
    /// A complete call.
    Call(ToolCall),
}

/// Reads one form.
trait Form: Debug + Send {
    /// Adds the next piece of the answer; what can be told of it goes to `parts`.
    fn push(&mut self, piece: &str, parts: &mut Vec<Part>);

    /// What was held back until the answer's end.
    fn finish(&mut self, parts: &mut Vec<Part>);
}

/// Reads the calls of one answer as its text comes.
#[derive(Debug)]
pub struct ToolCallReader {
    form: Box<dyn Form>,
    only_one: bool,
    done: bool,
}

impl ToolCallReader {
    /// A reader that is at the answer's beginning.
    pub fn new(CallReading { form, only_one }: CallReading) -> Self {
        let form: Box<dyn Form> = match form {
            ToolForm::Hermes => Box::<hermes::Hermes>::default(),
            ToolForm::MistralList | ToolForm::MistralNamed { .. } => {
                Box::<mistral::Mistral>::default()
            }
            ToolForm::Llama => Box::<llama::Llama>::default(),
        };
        Self {
            form,
            only_one,
            done: false,
        }
    }

    /// Adds the next piece of the answer.
    pub fn push(&mut self, piece: &str) -> Found {
        let mut parts = Vec::new();
        if !self.done {
            self.form.push(piece, &mut parts);
        }
        self.found(parts)
    }

    /// What was held back until the answer's end: a call may lack its last tag.
    pub fn finish(&mut self) -> Found {
        let mut parts = Vec::new();
        if !self.done {
            self.form.finish(&mut parts);
        }
        self.found(parts)
    }

    /// Whether the answer is over, because there may be but one call. What comes behind it counts
    /// as not said.
    pub const fn is_done(&self) -> bool {
        self.done
    }

    fn found(&mut self, parts: Vec<Part>) -> Found {
        let mut found = Found::default();
        for part in parts {
            match part {
                Part::Text(text) => found.text.push_str(&text),
                Part::Call(call) => found.calls.push(call),
            }
            if self.only_one && !found.calls.is_empty() {
                self.done = true;
                break;
            }
        }
        found
    }
}

/// Moves from `held` to `text` what stands before `mark`, and drops the mark. Returns whether there is
/// one; if not, `held` keeps only what may be its beginning.
fn cut_at(mark: &str, held: &mut String, text: &mut String) -> bool {
    if let Some((before, after)) = held.split_once(mark) {
        text.push_str(before);
        *held = after.to_owned();
        return true;
    }
    let keep = super::stop::overlap(held, mark);
    let rest = held.split_off(held.len() - keep);
    text.push_str(&std::mem::replace(held, rest));
    false
}

/// Adds `text`, if it is any.
fn add_text(parts: &mut Vec<Part>, text: String) {
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

#[cfg(test)]
mod tests;
