//! Fields of OpenAI's API that this server knows but does not support: accepted where they ask for
//! what happens anyway, refused otherwise. Nothing is silently ignored.
use super::error::ApiError;
use serde_json::{Map, Value};

/// A known field without support.
struct Unsupported {
    name: &'static str,
    /// Values that ask for nothing.
    harmless: fn(&Value) -> bool,
    /// What to do instead.
    cure: &'static str,
}

const fn unsupported(
    name: &'static str,
    harmless: fn(&Value) -> bool,
    cure: &'static str,
) -> Unsupported {
    Unsupported {
        name,
        harmless,
        cure,
    }
}

fn never(_: &Value) -> bool {
    false
}

fn always(_: &Value) -> bool {
    true
}

fn one(value: &Value) -> bool {
    value.as_u64() == Some(1)
}

fn no(value: &Value) -> bool {
    value == &Value::Bool(false)
}

fn empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty)
}

fn no_tool(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

const LEAVE_OUT: &str = "leave it out";
const TOOLS: &str = "leave it out and write tools and tool_choice instead";

const UNSUPPORTED: [Unsupported; 14] = [
    unsupported("best_of", one, "leave it out or write 1"),
    unsupported("echo", no, "leave it out or write false"),
    unsupported("suffix", never, LEAVE_OUT),
    unsupported("functions", empty, TOOLS),
    unsupported("function_call", no_tool, TOOLS),
    unsupported("modalities", text_only, "leave it out or write [\"text\"]"),
    unsupported("audio", never, LEAVE_OUT),
    unsupported("prediction", never, LEAVE_OUT),
    unsupported("reasoning_effort", never, LEAVE_OUT),
    unsupported("web_search_options", never, LEAVE_OUT),
    // These change nothing about the answer: they label it, or say how it is billed.
    unsupported("user", always, LEAVE_OUT),
    unsupported("metadata", always, LEAVE_OUT),
    unsupported(
        "store",
        no,
        "leave it out or write false; nothing is stored here",
    ),
    unsupported("service_tier", always, LEAVE_OUT),
];

fn text_only(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|kinds| kinds.iter().all(|kind| kind == "text"))
}

/// Removes harmless fields and nulls; refuses what asks for something that is not supported.
pub(super) fn check(object: &mut Map<String, Value>) -> Result<(), ApiError> {
    object.retain(|_, value| !value.is_null());
    tidy_messages(object);
    for field in &UNSUPPORTED {
        match object.remove(field.name) {
            Some(value) if !(field.harmless)(&value) => {
                let message = format!("{} is not supported: {}", field.name, field.cure);
                return Err(ApiError::invalid(field.name, message));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Clients send back the assistant's messages with all fields that they know, most of them empty.
fn tidy_messages(object: &mut Map<String, Value>) {
    let messages = object.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        message.retain(|name, value| !value.is_null() && (name == "content" || !empty(value)));
    }
}

/// The field that serde did not expect, if that is its complaint.
pub(super) fn unknown(problem: &str) -> Option<String> {
    let rest = problem.strip_prefix("unknown field `")?;
    rest.split('`').next().map(str::to_owned)
}

/// The error for a field that nobody knows.
pub(super) fn unknown_error(name: &str, problem: &str) -> ApiError {
    ApiError::invalid(
        name,
        format!("{problem}; correct its spelling or leave it out"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(value: Value) -> Result<Map<String, Value>, ApiError> {
        let Value::Object(mut object) = value else {
            panic!("an object")
        };
        check(&mut object).map(|()| object)
    }

    #[test]
    fn harmless_values_are_accepted_and_removed() {
        let object = checked(json!({
            "model": "m", "user": "somebody",
            "functions": [], "top_logprobs": null, "echo": false,
            "best_of": 1, "metadata": {"a": "b"}, "store": false,
        }))
        .unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), ["model"]);
    }

    #[test]
    fn what_would_change_the_answer_is_refused_by_name_with_a_cure() {
        for (name, value) in [
            ("best_of", json!(2)),
            ("functions", json!([{"name": "f"}])),
            ("echo", json!(true)),
            ("suffix", json!("x")),
        ] {
            let error = checked(json!({name: value})).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name));
            assert!(error.message.contains("leave it out"), "{}", error.message);
        }
    }

    #[test]
    fn empty_extras_of_a_message_are_removed_and_others_stay() {
        let object = checked(json!({"messages": [
            {"role": "assistant", "content": "a", "refusal": null, "annotations": []},
            {"role": "user", "content": "a", "name": "x"},
        ]}))
        .unwrap();
        assert_eq!(
            object["messages"],
            json!([{"role": "assistant", "content": "a"}, {"role": "user", "content": "a", "name": "x"}])
        );
    }

    #[test]
    fn a_null_is_as_good_as_nothing() {
        assert!(
            checked(json!({"n": null, "seed": null}))
                .unwrap()
                .is_empty()
        );
    }
}
