//! The JSON object that a call is, or its arguments: where it ends, what it says, its schema.
use super::{super::grammars::limit_spaces, ToolCall};
use serde::Deserialize;
use serde_json::{Value, json};

/// Finds the end of a JSON object whose text comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ObjectEnd {
    /// Bytes that were looked at.
    seen: usize,
    depth: usize,
    within_string: bool,
    escaped: bool,
}

impl ObjectEnd {
    /// How long the object at the beginning of `text` is, once it is complete. Each call has to
    /// give the text of the one before, and may give more of it.
    pub(super) fn find(&mut self, text: &str) -> Option<usize> {
        for byte in text.bytes().skip(self.seen) {
            self.seen += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.within_string => self.escaped = true,
                b'"' => self.within_string = !self.within_string,
                _ if self.within_string => {}
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(self.seen);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[derive(Deserialize)]
struct Body {
    name: String,
    #[serde(alias = "parameters")]
    arguments: Option<Value>,
}

/// The call that an object of a name and arguments is. In some forms nothing else tells a call from
/// text: there it `needs_arguments`.
pub(super) fn call(body: &str, needs_arguments: bool) -> Option<ToolCall> {
    let Body { name, arguments } = serde_json::from_str(body.trim()).ok()?;
    if needs_arguments && arguments.is_none() {
        return None;
    }
    call_of(name, &arguments.unwrap_or_else(|| json!({})))
}

/// The call of a function by a name that stands before its arguments.
pub(super) fn named_call(name: &str, arguments: &str) -> Option<ToolCall> {
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    call_of(name.to_owned(), &serde_json::from_str(arguments).ok()?)
}

fn call_of(name: String, arguments: &Value) -> Option<ToolCall> {
    arguments.is_object().then(|| ToolCall {
        name,
        arguments: arguments.to_string(),
    })
}

/// The JSON schema of a call whose arguments have the field `field` and the schema `arguments`.
fn schema(name: &str, field: &str, mut arguments: Value) -> Value {
    // References begin at the whole schema's root.
    let definitions = ["$defs", "definitions"].map(|key| {
        let moved = arguments
            .as_object_mut()
            .and_then(|fields| fields.remove(key));
        (key, moved)
    });
    let mut schema = json!({
        "type": "object",
        "properties": {"name": {"const": name}, field: arguments},
        "required": ["name", field],
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

/// The JSON schema of arguments by themselves.
pub(super) fn arguments(mut schema: Value) -> Value {
    limit_spaces(&mut schema);
    schema
}

/// In a grammar, any of the calls.
pub(super) fn any_of(functions: Vec<(String, Value)>, field: &str) -> String {
    let bodies: Vec<_> = functions
        .into_iter()
        .map(|(name, arguments)| format!("%json {}", schema(&name, field, arguments)))
        .collect();
    bodies.join("\n | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_ends_at_its_own_brace_wherever_the_pieces_end() {
        let object = r#"{"a": {"b": "}\"}\\"}, "é": [{}]}"#;
        let text = format!("{object} and {{}}");
        let mut end = ObjectEnd::default();
        let mut found = None;
        for (next, _) in text.char_indices().skip(1) {
            found = found.or_else(|| end.find(&text[..next]));
        }
        assert_eq!(found, Some(object.len()));
        assert_eq!(ObjectEnd::default().find(&text), Some(object.len()));
        assert_eq!(ObjectEnd::default().find("{\"a\": \"}"), None);
    }
}
