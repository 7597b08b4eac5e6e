//! What holds of every form.
use super::*;
use proptest::prelude::*;

pub(super) const FORMS: [ToolForm; 5] = [
    ToolForm::Hermes,
    ToolForm::MistralList,
    ToolForm::MistralNamed { with_ids: false },
    ToolForm::MistralNamed { with_ids: true },
    ToolForm::Llama,
];

pub(super) fn reader(form: ToolForm) -> ToolCallReader {
    let only_one = false;
    ToolCallReader::new(CallReading { form, only_one })
}

pub(super) fn call(name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    }
}

fn read<'a>(mut reader: ToolCallReader, pieces: impl IntoIterator<Item = &'a str>) -> Found {
    let mut all = Found::default();
    let mut add = |found: Found| {
        all.text.push_str(&found.text);
        all.calls.extend(found.calls);
    };
    for piece in pieces {
        add(reader.push(piece));
    }
    add(reader.finish());
    all
}

/// Whole, and letter by letter.
#[track_caller]
pub(super) fn assert_read(form: ToolForm, answer: &str, text: &str, calls: &[ToolCall]) {
    let expected = Found {
        text: text.to_owned(),
        calls: calls.to_vec(),
    };
    assert_eq!(read(reader(form), [answer]), expected);
    let letters = answer.split_inclusive(|_| true);
    assert_eq!(read(reader(form), letters), expected, "letter by letter");
}

#[test]
fn an_answer_of_one_call_is_over_with_it() {
    for (form, call) in [
        (
            ToolForm::Hermes,
            "<tool_call>{\"name\": \"f\"}</tool_call>\n",
        ),
        (
            ToolForm::MistralList,
            "[TOOL_CALLS] [{\"name\": \"f\"}, {\"name\": \"g\"}] and",
        ),
        (
            ToolForm::MistralNamed { with_ids: false },
            "[TOOL_CALLS]f[ARGS]{} and",
        ),
        (
            ToolForm::Llama,
            "{\"name\": \"f\", \"parameters\": {}}; and",
        ),
    ] {
        for pieces in [vec![call, call], call.split_inclusive(|_| true).collect()] {
            let only_one = true;
            let mut reader = ToolCallReader::new(CallReading { form, only_one });
            let begun = reader.push("");
            assert!(!reader.is_done() && begun == Found::default());
            let found = read(reader, pieces);
            assert_eq!(found.text, "", "{form:?}");
            assert_eq!(found.calls.len(), 1, "{form:?}");
            assert_eq!(found.calls[0].name, "f");
        }
    }
}

/// Answers made of what calls are made of.
fn answer() -> impl Strategy<Value = Vec<&'static str>> {
    let pieces = [
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "[CALL_ID]",
        "[ARGS]",
        "<|python_tag|>",
        "[",
        "]",
        ", ",
        "; ",
        "\n",
        "{",
        "}",
        "\"",
        "\\",
        "f",
        "é",
        "{\"name\": \"f\"}",
        "{\"name\": \"f\", \"parameters\": {}}",
        "{}",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
}

proptest! {
    #[test]
    fn nothing_depends_on_where_the_pieces_end_and_without_a_call_nothing_is_lost(
        answer in answer(),
        form in prop::sample::select(FORMS.to_vec()),
    ) {
        let whole = answer.concat();
        let at_once = read(reader(form), [&*whole]);
        prop_assert_eq!(&read(reader(form), answer), &at_once);
        prop_assert_eq!(&read(reader(form), whole.split_inclusive(|_| true)), &at_once);
        if at_once.calls.is_empty() {
            prop_assert_eq!(at_once.text, whole);
        }
    }
}
