//! The forms of Mistral: behind `[TOOL_CALLS]` a list of JSON objects, or in newer models a name and,
//! behind `[ARGS]`, its arguments. Both are read, whichever of them the model's template writes.
use super::{Form, Part, add_text, cut_at, object, object::ObjectEnd};
use serde_json::Value;
use std::ops::Range;

pub(super) const BEGIN: &str = "[TOOL_CALLS]";
pub(super) const ID: &str = "[CALL_ID]";
pub(super) const ARGUMENTS: &str = "[ARGS]";
/// What is longer is no name.
const LONGEST_NAME: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Mistral {
    state: State,
    /// What was not told yet: since a mark, or since the call before.
    held: String,
    end: ObjectEnd,
}

/// Positions are those in what is held.
#[derive(Clone, Debug, Default)]
enum State {
    /// What is held may be a mark's beginning.
    #[default]
    Text,
    /// Behind the mark: a list or a name follows.
    Begun,
    /// An object follows: arguments of the name that lies there, or one of a list.
    Before {
        name: Option<Range<usize>>,
        at: usize,
    },
    /// In an object.
    Within {
        name: Option<Range<usize>>,
        start: usize,
    },
}

impl Form for Mistral {
    fn push(&mut self, piece: &str, parts: &mut Vec<Part>) {
        self.held.push_str(piece);
        while self.advance(parts) {}
    }

    fn finish(&mut self, parts: &mut Vec<Part>) {
        let rest = std::mem::take(&mut self.held);
        // A list may lack its end.
        let behind_call = matches!(self.state, State::Before { name: None, at: 0 });
        if !behind_call || !rest.chars().all(is_separator) {
            add_text(parts, rest);
        }
    }
}

impl Mistral {
    /// Goes on by one state. Returns whether there may be more to tell.
    fn advance(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state.clone() {
            State::Text => {
                let mut text = String::new();
                let begun = cut_at(BEGIN, &mut self.held, &mut text);
                add_text(parts, text);
                if begun {
                    self.held.insert_str(0, BEGIN);
                    self.state = State::Begun;
                }
                begun
            }
            State::Begun => self.tell_form(parts),
            State::Before { name, at } => self.find_object(name, at, parts),
            State::Within { name, start } => self.read_object(name.as_ref(), start, parts),
        }
    }

    fn tell_form(&mut self, parts: &mut Vec<Part>) -> bool {
        let rest = self.held[BEGIN.len()..].trim_start();
        let at = self.held.len() - rest.len();
        if rest.is_empty() {
            return false;
        }
        if rest.starts_with('[') {
            let at = at + 1;
            self.state = State::Before { name: None, at };
            return true;
        }
        let found = rest.find(ARGUMENTS);
        let before = &rest[..found.unwrap_or(rest.len())];
        if before.len() > LONGEST_NAME || before.contains(['{', '\n']) {
            return self.give_up(BEGIN.len(), parts);
        }
        let Some(length) = found else {
            return false;
        };
        let name = at..at + before.find(ID).unwrap_or(length);
        self.state = State::Before {
            name: Some(name),
            at: at + length + ARGUMENTS.len(),
        };
        true
    }

    fn find_object(
        &mut self,
        name: Option<Range<usize>>,
        at: usize,
        parts: &mut Vec<Part>,
    ) -> bool {
        let separates = if name.is_none() {
            is_separator
        } else {
            char::is_whitespace
        };
        let rest = self.held[at..].trim_start_matches(separates);
        let start = self.held.len() - rest.len();
        match rest.chars().next() {
            None => return false,
            Some('{') => {
                self.end = ObjectEnd::default();
                self.state = State::Within { name, start };
            }
            // The list's end, behind a call.
            Some(']') if name.is_none() && at == 0 => {
                self.held.drain(..=start);
                self.state = State::Text;
            }
            Some(_) => return self.give_up(at, parts),
        }
        true
    }

    fn read_object(
        &mut self,
        name: Option<&Range<usize>>,
        start: usize,
        parts: &mut Vec<Part>,
    ) -> bool {
        let Some(length) = self.end.find(&self.held[start..]) else {
            return false;
        };
        let end = start + length;
        let body = &self.held[start..end];
        let call = match name {
            Some(name) => object::named_call(&self.held[name.clone()], body),
            None => object::call(body, false),
        };
        let Some(call) = call else {
            return self.give_up(end, parts);
        };
        parts.push(Part::Call(call));
        self.held.drain(..end);
        self.state = match name {
            Some(_) => State::Text,
            None => State::Before { name: None, at: 0 },
        };
        true
    }

    /// It was text after all, up to `end`.
    fn give_up(&mut self, end: usize, parts: &mut Vec<Part>) -> bool {
        add_text(parts, self.held.drain(..end).collect());
        self.state = State::Text;
        true
    }
}

fn is_separator(character: char) -> bool {
    character.is_whitespace() || character == ','
}

/// A list of exactly one call, or of one and more.
pub(super) fn list_grammar(
    functions: Vec<(String, Value)>,
    only_one: bool,
    mark: &dyn Fn(&str) -> String,
) -> String {
    let more = if only_one { "" } else { r#" (", " call)*"# };
    format!(
        "start: {} \" \"? \"[\" call{more} \"]\"\ncall: {}\n",
        mark(BEGIN),
        object::any_of(functions, "arguments")
    )
}

/// Exactly one call, or one and more, each by its name. Some models give each a name of its own, too.
pub(super) fn named_grammar(
    functions: Vec<(String, Value)>,
    only_one: bool,
    with_ids: bool,
    mark: &dyn Fn(&str) -> String,
) -> String {
    let more = if only_one { "" } else { "+" };
    let (begin, arguments) = (mark(BEGIN), mark(ARGUMENTS));
    let id = if with_ids {
        format!("{} /[a-zA-Z0-9]{{9}}/ ", mark(ID))
    } else {
        String::new()
    };
    let calls: Vec<_> = functions
        .into_iter()
        .map(|(name, schema)| {
            let name = Value::from(name);
            let schema = object::arguments(schema);
            format!("{begin} {name} {id}{arguments} %json {schema}")
        })
        .collect();
    format!("start: call{more}\ncall: {}\n", calls.join("\n | "))
}

#[cfg(test)]
mod tests {
    use super::super::{
        ToolForm,
        tests::{assert_read, call, reader},
    };

    const FORMS: [ToolForm; 2] = [
        ToolForm::MistralList,
        ToolForm::MistralNamed { with_ids: true },
    ];

    #[test]
    fn a_list_is_told_from_text_wherever_the_pieces_end() {
        let calls = [call("f", r#"{"b":1,"a":"é]}"}"#), call("g", "{}")];
        for text in [
            r#"Let me see.[TOOL_CALLS] [{"name": "f", "arguments": {"b": 1, "a": "é]}"}, "id": "abcdefghi"}, {"name": "g", "arguments": {}}]"#,
            r#"Let me see.[TOOL_CALLS][{"name":"f","arguments":{"b":1,"a":"é]}"}},{"name":"g"}]"#,
            r#"Let me see.[TOOL_CALLS] [{"name": "f", "arguments": {"b": 1, "a": "é]}"}}, {"name": "g"}"#,
        ] {
            for form in FORMS {
                assert_read(form, text, "Let me see.", &calls);
            }
        }
    }

    #[test]
    fn calls_by_name_are_told_from_text_wherever_the_pieces_end() {
        let text = r#"Let me see.[TOOL_CALLS]f[ARGS]{"b": 1, "a": "é}"}[TOOL_CALLS]g[CALL_ID]abcdefghi[ARGS] {}"#;
        let calls = [call("f", r#"{"b":1,"a":"é}"}"#), call("g", "{}")];
        for form in FORMS {
            assert_read(form, text, "Let me see.", &calls);
        }
    }

    #[test]
    fn a_call_is_told_as_soon_as_its_object_is_complete() {
        let mut reader = reader(ToolForm::MistralList);
        assert_eq!(reader.push(r#"[TOOL_CALLS] [{"name": "f""#).calls, []);
        assert_eq!(reader.push("}").calls, [call("f", "{}")]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "a [TOOL_",
            "[TOOL_CALLS]",
            "[TOOL_CALLS] []",
            "[TOOL_CALLS] [1]",
            r#"[TOOL_CALLS] [{"name": 1}]"#,
            r#"[TOOL_CALLS] [{"name": "f", "argu"#,
            r#"[TOOL_CALLS] {"name": "f", "arguments": {}} x"#,
            "[TOOL_CALLS]f and what else\n is said",
            "[TOOL_CALLS]f[ARGS]5",
            "[TOOL_CALLS][ARGS]{}",
            "[TOOL_CALLS] [ARGS]{}",
        ] {
            for form in FORMS {
                assert_read(form, text, text, &[]);
            }
        }
    }

    #[test]
    fn a_call_behind_what_is_none_is_still_one() {
        let text = "[TOOL_CALLS]x\n[TOOL_CALLS]f[ARGS]{}";
        let calls = [call("f", "{}")];
        for form in FORMS {
            assert_read(form, text, "[TOOL_CALLS]x\n", &calls);
        }
    }
}
