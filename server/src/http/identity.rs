//! What OpenAI's objects have in common: ids, times and the form of streams.
use super::{error::ApiError, generation::Usage, routes::chat_completions::types::StreamOptions};
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// A fresh id such as `chatcmpl-4f0e…`.
pub(super) fn new(kind: &str) -> String {
    format!("{kind}-{}", Uuid::new_v4().simple())
}

/// A fresh id of nine letters and digits.
pub(super) fn short() -> String {
    let mut id = Uuid::new_v4().simple().to_string();
    id.truncate(9);
    id
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Whether an answer streams, and with what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct StreamForm {
    /// Events instead of one body.
    pub(super) stream: bool,
    /// One more chunk with `usage`.
    pub(super) include_usage: bool,
    /// `usage` so far in every chunk.
    pub(super) continuous_usage: bool,
}

impl StreamForm {
    /// `options` make sense for streams only.
    pub(super) fn new(stream: bool, options: Option<StreamOptions>) -> Result<Self, ApiError> {
        if options.is_some() && !stream {
            return Err(ApiError::invalid(
                "stream_options",
                "stream_options needs stream: true; add it or leave stream_options out",
            ));
        }
        let options = options.unwrap_or_default();
        Ok(Self {
            stream,
            include_usage: options.include_usage,
            continuous_usage: options.continuous_usage_stats,
        })
    }

    /// The usage that stands in a chunk of so many choices, the one more chunk having none.
    pub(super) fn usage_beside(self, choices: usize, so_far: Usage) -> Option<Usage> {
        (choices == 0 || self.continuous_usage).then_some(so_far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_say_what_they_name() {
        let (first, second) = (new("chatcmpl"), new("chatcmpl"));
        assert!(first.starts_with("chatcmpl-"));
        assert_ne!(first, second);
        let (first, second) = (short(), short());
        assert!(first.len() == 9 && first.chars().all(char::is_alphanumeric));
        assert_ne!(first, second);
    }

    #[test]
    fn stream_options_without_a_stream_are_a_mistake() {
        let options = Some(StreamOptions {
            include_usage: true,
            ..StreamOptions::default()
        });
        assert!(StreamForm::new(true, options).unwrap().include_usage);
        let error = StreamForm::new(false, options).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("stream_options"));
    }
}
