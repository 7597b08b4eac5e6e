//! The form of Hermes and Qwen: JSON between `<tool_call>` tags.
use super::{Form, Part, add_text, cut_at, object};
use serde_json::Value;

pub(super) const BEGIN: &str = "<tool_call>";
pub(super) const END: &str = "</tool_call>";

#[derive(Debug, Default)]
pub(super) struct Hermes {
    /// What may be the beginning of a tag or, within a call, all of it.
    held: String,
    within: bool,
}

impl Form for Hermes {
    fn push(&mut self, piece: &str, parts: &mut Vec<Part>) {
        self.held.push_str(piece);
        loop {
            if self.within {
                let Some((body, after)) = self.held.split_once(END) else {
                    return;
                };
                parts.push(read(body, true));
                self.held = after.to_owned();
                self.within = false;
            } else {
                let mut text = String::new();
                self.within = cut_at(BEGIN, &mut self.held, &mut text);
                add_text(parts, text);
                if !self.within {
                    return;
                }
            }
        }
    }

    fn finish(&mut self, parts: &mut Vec<Part>) {
        let held = std::mem::take(&mut self.held);
        if self.within {
            parts.push(read(&held, false));
        } else {
            add_text(parts, held);
        }
    }
}

/// A call; what is none is text after all.
fn read(body: &str, closed: bool) -> Part {
    match object::call(body, false) {
        Some(call) => Part::Call(call),
        None => Part::Text(format!("{BEGIN}{body}{}", if closed { END } else { "" })),
    }
}

/// Exactly one call, or one and more.
pub(super) fn grammar(
    functions: Vec<(String, Value)>,
    only_one: bool,
    mark: &dyn Fn(&str) -> String,
) -> String {
    let (begin, end) = (mark(BEGIN), mark(END));
    let more = if only_one { "" } else { r#" ("\n" call)*"# };
    format!(
        "start: call{more}\ncall: {begin} \"\\n\" body \"\\n\" {end}\nbody: {}\n",
        object::any_of(functions, "arguments")
    )
}

#[cfg(test)]
mod tests {
    use super::super::{
        ToolForm,
        tests::{assert_read, call, reader},
    };

    #[test]
    fn calls_are_told_from_text_wherever_the_pieces_end() {
        let text = "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": \"é\"}}\n</tool_call>\n<tool_call>{\"name\": \"g\"}</tool_call>";
        let calls = [call("f", r#"{"b":1,"a":"é"}"#), call("g", "{}")];
        assert_read(ToolForm::Hermes, text, "Let me see.\n\n", &calls);
    }

    #[test]
    fn text_is_held_back_only_while_it_may_begin_a_call() {
        let mut reader = reader(ToolForm::Hermes);
        assert_eq!(reader.push("a <tool").text, "a ");
        assert_eq!(reader.push("box>").text, "<toolbox>");
    }

    #[test]
    fn a_call_without_its_last_tag_is_one_where_it_is_complete() {
        let text = "<tool_call>{\"name\": \"f\", \"arguments\": {}}";
        assert_read(ToolForm::Hermes, text, "", &[call("f", "{}")]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "<tool_call>{\"name\": 1}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"argu",
            "<tool_call>{\"name\": \"f\", \"arguments\": 5}</tool_call> x",
            "a < b, <tool_",
        ] {
            assert_read(ToolForm::Hermes, text, text, &[]);
        }
    }
}
