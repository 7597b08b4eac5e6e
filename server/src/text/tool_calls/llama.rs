//! The form of Llama from 3.1 on: a bare JSON object that is the answer, perhaps behind
//! `<|python_tag|>`.
use super::{Form, Part, add_text, cut_at, object, object::ObjectEnd};
use serde_json::Value;

pub(super) const TAG: &str = "<|python_tag|>";
/// What the arguments are called.
const FIELD: &str = "parameters";

#[derive(Debug, Default)]
pub(super) struct Llama {
    state: State,
    /// What was not told yet: since the answer's beginning, a tag, or the call before.
    held: String,
    end: ObjectEnd,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// At the answer's beginning, or at a tag: an object may follow.
    #[default]
    Beginning,
    /// In an object that begins there.
    Within(usize),
    /// Behind a call: models that make several put `;` between them.
    Behind,
    /// What is held may be a tag's beginning. Here an object is none that is to be called.
    Text,
}

impl Form for Llama {
    fn push(&mut self, piece: &str, parts: &mut Vec<Part>) {
        self.held.push_str(piece);
        while self.advance(parts) {}
    }

    fn finish(&mut self, parts: &mut Vec<Part>) {
        let rest = std::mem::take(&mut self.held);
        if !matches!(self.state, State::Behind) || !rest.chars().all(is_separator) {
            add_text(parts, rest);
        }
    }
}

impl Llama {
    /// Goes on by one state. Returns whether there may be more to tell.
    fn advance(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.state {
            State::Beginning => self.find_object(char::is_whitespace, parts),
            State::Behind => self.find_object(is_separator, parts),
            State::Within(start) => {
                let Some(length) = self.end.find(&self.held[start..]) else {
                    return false;
                };
                let end = start + length;
                let Some(call) = object::call(&self.held[start..end], true) else {
                    return self.give_up(end, parts);
                };
                parts.push(Part::Call(call));
                self.held.drain(..end);
                self.state = State::Behind;
                true
            }
            State::Text => {
                let mut text = String::new();
                let begun = cut_at(TAG, &mut self.held, &mut text);
                add_text(parts, text);
                if begun {
                    self.held.insert_str(0, TAG);
                    self.state = State::Beginning;
                }
                begun
            }
        }
    }

    fn find_object(&mut self, separates: fn(char) -> bool, parts: &mut Vec<Part>) -> bool {
        let mut rest = self.held.trim_start_matches(separates);
        if TAG.starts_with(rest) {
            return false;
        }
        if let Some(behind) = rest.strip_prefix(TAG) {
            rest = behind.trim_start();
        }
        let start = self.held.len() - rest.len();
        match rest.chars().next() {
            None => return false,
            Some('{') => {
                self.end = ObjectEnd::default();
                self.state = State::Within(start);
            }
            Some(_) => return self.give_up(start, parts),
        }
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
    character.is_whitespace() || character == ';'
}

/// Exactly one call, always: templates of these models refuse a message with several.
pub(super) fn grammar(functions: Vec<(String, Value)>) -> String {
    format!("start: {}\n", object::any_of(functions, FIELD))
}

#[cfg(test)]
mod tests {
    use super::super::{
        ToolForm,
        tests::{assert_read, call, reader},
    };

    #[test]
    fn an_object_that_is_the_answer_is_a_call_wherever_the_pieces_end() {
        let calls = [call("f", r#"{"b":1,"a":"é}"}"#)];
        for text in [
            r#"{"name": "f", "parameters": {"b": 1, "a": "é}"}}"#,
            r#"<|python_tag|>{"type": "function", "name": "f", "parameters": {"b": 1, "a": "é}"}}"#,
            "\n {\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": \"é}\"}}\n",
        ] {
            assert_read(ToolForm::Llama, text, "", &calls);
        }
    }

    #[test]
    fn several_calls_stand_behind_one_another() {
        let text = r#"{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}"#;
        let calls = [call("f", "{}"), call("g", "{}")];
        assert_read(ToolForm::Llama, text, "", &calls);
    }

    #[test]
    fn a_call_behind_text_needs_its_tag() {
        let text = r#"I see. <|python_tag|>{"name": "f", "parameters": {}}"#;
        assert_read(ToolForm::Llama, text, "I see. ", &[call("f", "{}")]);
    }

    #[test]
    fn text_is_not_held_back() {
        let mut reader = reader(ToolForm::Llama);
        assert_eq!(reader.push("\nI ").text, "\nI ");
        assert_eq!(reader.push("see {").text, "see {");
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "",
            "<|python_",
            "<|python_tag|>",
            "<|python_tag|>print(1)",
            r#"{"name": "Anna"}"#,
            r#"{"name": "f", "parameters": 5} x"#,
            r#"{"name": "f", "para"#,
            r#"I see: {"name": "f", "parameters": {}}"#,
            r#"{} {"name": "f", "parameters": {}}"#,
        ] {
            assert_read(ToolForm::Llama, text, text, &[]);
        }
    }
}
