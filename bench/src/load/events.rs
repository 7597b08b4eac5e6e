//! Answers as they come over the wire: server-sent events and the few fields that matter in them.
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// Longest line that is kept; a server that never ends one does not fill this machine's memory.
const LONGEST_LINE: usize = 1 << 20;

/// Splits a stream into the data of its events, however the network cut it. OpenAI's streams have
/// one `data` line an event.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// A line of which the end has not come.
    partial: Vec<u8>,
}

/// A line is longer than any answer's.
#[derive(Debug)]
pub(super) struct TooLong;

impl Events {
    /// Calls `event` with the data of each event that is complete now.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(&[u8]),
    ) -> Result<(), TooLong> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            if self.partial.is_empty() {
                data(line).map(&mut event);
            } else {
                self.partial.extend_from_slice(line);
                data(&self.partial).map(&mut event);
                self.partial.clear();
            }
            bytes = &rest[1..];
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() > LONGEST_LINE {
            return Err(TooLong);
        }
        Ok(())
    }
}

/// What stands after `data:`.
fn data(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let data = line.strip_prefix(b"data:")?;
    Some(data.strip_prefix(b" ").unwrap_or(data))
}

/// The end of a stream.
pub(super) const DONE: &[u8] = b"[DONE]";

/// A chunk of a stream, or a whole answer.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    /// Tokens in and out.
    #[serde(default)]
    pub(super) usage: Option<Usage>,
    /// What went wrong after the stream had begun.
    #[serde(default)]
    pub(super) error: Option<serde_json::Value>,
}

/// The server's own count of tokens.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: Option<u32>,
    #[serde(default)]
    pub(super) completion_tokens: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Choice<'a> {
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    text: Filled,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

/// Anything that the model itself produced.
#[derive(Debug, Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Filled,
    #[serde(default)]
    reasoning_content: Filled,
    #[serde(default)]
    reasoning: Filled,
    #[serde(default)]
    tool_calls: Filled,
}

impl Chunk<'_> {
    pub(super) fn parse(data: &[u8]) -> Result<Chunk<'_>, serde_json::Error> {
        serde_json::from_slice(data)
    }

    /// Whether it has any output of the model.
    pub(super) fn has_output(&self) -> bool {
        self.choices.iter().flatten().any(|choice| {
            let delta = choice.delta.as_ref();
            choice.text.0
                || delta.is_some_and(|delta| {
                    delta.content.0
                        || delta.reasoning_content.0
                        || delta.reasoning.0
                        || delta.tool_calls.0
                })
        })
    }

    /// Why the answer ended, where it did.
    pub(super) fn finish_reason(&self) -> Option<&str> {
        let reasons = self.choices.iter().flatten();
        reasons
            .filter_map(|choice| choice.finish_reason.as_deref())
            .next()
    }

    /// Whether it has choices at all.
    pub(super) fn is_answer(&self) -> bool {
        self.choices.is_some()
    }
}

/// Whether a text or list is there and not empty; what it holds is not kept.
#[derive(Clone, Copy, Debug, Default)]
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FilledVisitor)
    }
}

struct FilledVisitor;

impl<'de> Visitor<'de> for FilledVisitor {
    type Value = Filled;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a list or null")
    }

    fn visit_str<E>(self, text: &str) -> Result<Filled, E> {
        Ok(Filled(!text.is_empty()))
    }

    fn visit_unit<E>(self) -> Result<Filled, E> {
        Ok(Filled(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Filled, A::Error> {
        let mut filled = false;
        while items.next_element::<IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(Filled(filled))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Filled, A::Error> {
        let mut filled = false;
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(Filled(filled))
    }
}

/// What an error's body says: OpenAI's `error.message`, or the text itself.
pub(super) fn error_message(body: &[u8]) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let said = parsed.as_ref().and_then(|value| {
        let error = value.get("error").unwrap_or(value);
        let message = error.get("message").or_else(|| error.get("detail"));
        message.unwrap_or(error).as_str()
    });
    match said {
        Some(said) => said.to_owned(),
        None => String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for piece in pieces {
            let keep = |data: &[u8]| found.push(String::from_utf8(data.to_vec()).unwrap());
            events.feed(piece, keep).unwrap();
        }
        found
    }

    #[test]
    fn events_are_the_same_however_the_network_cuts_them() {
        let stream = b": comment\r\ndata: {\"a\":1}\r\n\r\nevent: x\ndata:b\n\ndata: [DONE]\n\n";
        let whole = events(&[stream]);
        assert_eq!(whole, ["{\"a\":1}", "b", "[DONE]"]);
        for cut in 0..stream.len() {
            assert_eq!(events(&[&stream[..cut], &stream[cut..]]), whole, "{cut}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(events(&bytes), whole);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut events = Events::default();
        let fed = events.feed(&vec![b'x'; LONGEST_LINE + 1], |_| {});
        assert!(fed.is_err());
    }

    #[test]
    fn only_what_the_model_produced_is_output() {
        let output = |json: &str| Chunk::parse(json.as_bytes()).unwrap().has_output();
        assert!(!output(
            r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#
        ));
        assert!(!output(
            r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#
        ));
        assert!(!output(
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#
        ));
        assert!(!output(
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#
        ));
        assert!(output(r#"{"choices":[{"delta":{"content":"\u00e9"}}]}"#));
        assert!(output(
            r#"{"choices":[{"delta":{"reasoning_content":"a"}}]}"#
        ));
        assert!(output(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#
        ));
        assert!(output(r#"{"choices":[{"text":"a"}]}"#));
        assert!(output(
            r#"{"choices":[{"message":{"role":"assistant","content":"a"}}]}"#
        ));
    }

    #[test]
    fn usage_and_the_reason_of_the_end_are_read() {
        let chunk = Chunk::parse(
            br#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],
                "usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#,
        )
        .unwrap();
        assert_eq!(chunk.finish_reason(), Some("length"));
        assert_eq!(chunk.usage.unwrap().completion_tokens, Some(7));
    }

    #[test]
    fn an_errors_message_is_found_where_servers_put_it() {
        for body in [
            r#"{"error":{"message":"no"}}"#,
            r#"{"error":"no"}"#,
            r#"{"message":"no"}"#,
            r#"{"detail":"no"}"#,
            "no",
        ] {
            assert_eq!(error_message(body.as_bytes()), "no");
        }
    }
}
