//! Tool calls in an answer's text, in the form of Hermes and Qwen: JSON between `<tool_call>` tags.
use super::grammars::limit_spaces;
use serde::Deserialize;
use serde_json::{Value, json};

const BEGIN: &str = "<tool_call>";
/// Ends a call.
pub const END: &str = "</tool_call>";

/// A call that the model asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolCall {
    /// The function's name.
    pub name: String,
    /// Its arguments, as JSON.
    pub arguments: String,
}

/// What [`ToolCallReader::push`] found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// Text that belongs to no call.
    pub text: String,
    /// Complete calls.
    pub calls: Vec<ToolCall>,
}

/// Reads the calls of one answer as its text comes.
#[derive(Clone, Debug, Default)]
pub struct ToolCallReader {
    /// What may be the beginning of a tag or, within a call, all of it.
    held: String,
    within: bool,
}

/// Whether a chat template writes calls in this form, and so its model does.
pub(super) fn is_form_of(template: &str) -> bool {
    template.contains(BEGIN) && template.contains("tools")
}

impl ToolCallReader {
    /// Adds the next piece of the answer.
    pub fn push(&mut self, piece: &str) -> Found {
        self.held.push_str(piece);
        let mut found = Found::default();
        loop {
            let tag = if self.within { END } else { BEGIN };
            let Some((before, after)) = self.held.split_once(tag) else {
                break;
            };
            if self.within {
                found.add(before, true);
            } else {
                found.text.push_str(before);
            }
            self.held = after.to_owned();
            self.within = !self.within;
        }
        if !self.within {
            let keep = (0..BEGIN.len())
                .rev()
                .find(|&length| self.held.ends_with(&BEGIN[..length]))
                .unwrap_or(0);
            let held = self.held.split_off(self.held.len() - keep);
            found
                .text
                .push_str(&std::mem::replace(&mut self.held, held));
        }
        found
    }

    /// What was held back until the answer's end: a call may lack its last tag.
    pub fn finish(self) -> Found {
        let mut found = Found::default();
        if self.within {
            found.add(&self.held, false);
        } else {
            found.text = self.held;
        }
        found
    }
}

impl Found {
    /// Adds a call; what is none is text after all.
    fn add(&mut self, body: &str, closed: bool) {
        if let Some(call) = parse(body) {
            self.calls.push(call);
        } else {
            self.text.push_str(BEGIN);
            self.text.push_str(body);
            self.text.push_str(if closed { END } else { "" });
        }
    }
}

#[derive(Deserialize)]
struct Body {
    name: String,
    #[serde(default = "nothing")]
    arguments: Value,
}

fn nothing() -> Value {
    json!({})
}

fn parse(body: &str) -> Option<ToolCall> {
    let Body { name, arguments } = serde_json::from_str(body.trim()).ok()?;
    arguments.is_object().then(|| ToolCall {
        name,
        arguments: arguments.to_string(),
    })
}

/// The grammar of calls of these functions, given with the schemas of their arguments: exactly one
/// call, or one and more.
pub(super) fn grammar(functions: Vec<(String, Value)>, only_one: bool) -> String {
    let bodies: Vec<_> = functions
        .into_iter()
        .map(|(name, arguments)| format!("%json {}", schema(&name, arguments)))
        .collect();
    let more = if only_one { "" } else { r#" ("\n" call)*"# };
    format!(
        "start: call{more}\ncall: \"{BEGIN}\\n\" body \"\\n{END}\"\nbody: {}\n",
        bodies.join("\n | ")
    )
}

fn schema(name: &str, mut arguments: Value) -> Value {
    // References begin at the whole schema's root.
    let definitions = ["$defs", "definitions"].map(|key| {
        let moved = arguments
            .as_object_mut()
            .and_then(|fields| fields.remove(key));
        (key, moved)
    });
    let mut schema = json!({
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": false,
    });
    for (key, moved) in definitions {
        if let Some(moved) = moved {
            schema[key] = moved;
        }
    }
    limit_spaces(&mut schema);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Found {
        let mut reader = ToolCallReader::default();
        let mut all = Found::default();
        for piece in pieces {
            let found = reader.push(piece);
            all.text.push_str(&found.text);
            all.calls.extend(found.calls);
        }
        let rest = reader.finish();
        all.text.push_str(&rest.text);
        all.calls.extend(rest.calls);
        all
    }

    fn call(name: &str, arguments: &str) -> ToolCall {
        ToolCall {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    const TEXT: &str = "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": \"é\"}}\n</tool_call>\n<tool_call>{\"name\": \"g\"}</tool_call>";

    #[test]
    fn calls_are_told_from_text_wherever_the_pieces_end() {
        let expected = Found {
            text: "Let me see.\n\n".to_owned(),
            calls: vec![call("f", r#"{"b":1,"a":"é"}"#), call("g", "{}")],
        };
        assert_eq!(read(&[TEXT]), expected);
        let letters: Vec<_> = TEXT.split_inclusive(|_| true).collect();
        assert_eq!(read(&letters), expected);
    }

    #[test]
    fn text_is_held_back_only_while_it_may_begin_a_call() {
        let mut reader = ToolCallReader::default();
        assert_eq!(reader.push("a <tool").text, "a ");
        assert_eq!(reader.push("box>").text, "<toolbox>");
    }

    #[test]
    fn a_call_without_its_last_tag_is_one_where_it_is_complete() {
        let found = read(&["<tool_call>{\"name\": \"f\", \"arguments\": {}}"]);
        assert_eq!(found.calls, [call("f", "{}")]);
        assert_eq!(found.text, "");
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "<tool_call>{\"name\": 1}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"argu",
            "<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call> x",
            "a < b, <tool_",
        ] {
            let found = read(&[text]);
            assert_eq!(found.text, text);
            assert_eq!(found.calls, []);
        }
    }
}
