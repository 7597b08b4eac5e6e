//! Token ids to text as they come, without ever sending half a character.
use super::tokenizer::{TextError, without_panics};
use std::sync::Arc;
use tokenizers::tokenizer::{Tokenizer, step_decode_stream};

/// Turns the ids of one answer into text, piece by piece.
#[derive(Debug)]
pub struct TokenStream {
    tokenizer: Arc<Tokenizer>,
    ids: Vec<u32>,
    prefix: String,
    prefix_length: usize,
    /// Special tokens that are text all the same.
    shown: Vec<u32>,
}

/// Tokens before a stream that decide how its first ones read.
const CONTEXT: usize = 6;

impl TokenStream {
    pub(super) const fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            prefix: String::new(),
            prefix_length: 0,
            shown: Vec::new(),
        }
    }

    /// With these special tokens as text.
    pub(super) fn showing(mut self, shown: Vec<u32>) -> Self {
        self.shown = shown;
        self
    }

    /// A stream that goes on behind `before`, which is not part of it.
    pub(super) fn after(tokenizer: Arc<Tokenizer>, before: &[u32]) -> Self {
        let tail = &before[before.len().saturating_sub(CONTEXT)..];
        let mut stream = Self::new(tokenizer);
        match decode(&stream.tokenizer, tail) {
            Ok(prefix) if !prefix.ends_with('\u{FFFD}') => {
                stream.ids = tail.to_vec();
                stream.prefix = prefix;
                stream.prefix_length = tail.len();
            }
            // Half a character cannot be told from its end; the stream begins as if it were first.
            _ => {}
        }
        stream
    }

    /// The text that `id` completes; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> Result<String, TextError> {
        if self.shown.contains(&id) {
            let rest = self.take_rest()?;
            let token = self.tokenizer.id_to_token(id).unwrap_or_default();
            return Ok(rest + &token);
        }
        let step = || {
            let step = step_decode_stream(
                &self.tokenizer,
                vec![id],
                true,
                &mut self.ids,
                &mut self.prefix,
                &mut self.prefix_length,
            );
            Ok(step.ok())
        };
        match without_panics(step, TextError::Decode)? {
            Some(text) => Ok(text.unwrap_or_default()),
            // What was held back reads differently now that more ids are known (bytes that are no
            // character). Send what it reads as and begin anew, so that one odd token does not
            // end the answer.
            None => self.take_rest(),
        }
    }

    /// The rest: what was held back when the answer ended in the middle of a character.
    pub fn finish(mut self) -> Result<String, TextError> {
        self.take_rest()
    }

    fn take_rest(&mut self) -> Result<String, TextError> {
        let text = decode(&self.tokenizer, &self.ids)?;
        let rest = match text.strip_prefix(&self.prefix) {
            Some(rest) => rest.to_owned(),
            // What was sent already reads differently together with the rest: send the rest alone.
            None => decode(
                &self.tokenizer,
                self.ids.get(self.prefix_length..).unwrap_or_default(),
            )?,
        };
        self.ids.clear();
        self.prefix.clear();
        self.prefix_length = 0;
        Ok(rest)
    }
}

/// The text of `ids`, without special tokens.
pub(super) fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String, TextError> {
    let decode = || {
        let text = tokenizer.decode(ids, true);
        text.map_err(|error| TextError::Decode(error.to_string()))
    };
    without_panics(decode, TextError::Decode)
}

#[cfg(test)]
mod tests {
    use crate::text::Tokenizer;

    fn pieces(bytes: &[u8]) -> Vec<String> {
        let mut stream = Tokenizer::of_bytes().unwrap().stream();
        let mut pieces: Vec<_> = bytes
            .iter()
            .map(|byte| stream.push(u32::from(*byte)).unwrap())
            .collect();
        pieces.push(stream.finish().unwrap());
        pieces
    }

    #[test]
    fn a_character_of_several_tokens_comes_once_and_whole() {
        assert_eq!(
            pieces("aé🙂b".as_bytes()),
            ["a", "", "é", "", "", "", "🙂", "b", ""]
        );
    }

    #[test]
    fn special_tokens_are_text_only_where_they_are_to_be_shown() {
        let tokenizer = Tokenizer::of_bytes_and(&["[A]", "[B]"]).unwrap();
        let ids = tokenizer.encode("é[A]b[B]c", false).unwrap();
        assert_eq!(ids.len(), 6);
        let read = |mut stream: super::TokenStream| {
            let text: String = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
            text + &stream.finish().unwrap()
        };
        assert_eq!(read(tokenizer.stream()), "ébc");
        assert_eq!(read(tokenizer.stream_with(&["[A]", "[C]", "b"])), "é[A]bc");
    }

    #[test]
    fn an_answer_that_ends_inside_a_character_loses_nothing_before_it() {
        let text = pieces(&[b'a', 0xF0, 0x9F]).concat();
        assert!(
            text.starts_with('a') && text.contains('\u{FFFD}'),
            "{text:?}"
        );
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_and_do_not_end_the_answer() {
        let text = pieces(&[b'a', 0xFF, b'b', b'c']).concat();
        assert_eq!(text.chars().next(), Some('a'));
        assert_eq!(
            text.chars()
                .skip(1)
                .filter(|&character| character == '\u{FFFD}')
                .count(),
            3,
            "{text:?}"
        );
    }
}
