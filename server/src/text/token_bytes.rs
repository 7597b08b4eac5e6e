//! What a token spells, byte by byte: half a character where that is all the token holds.
use tokenizers::{DecoderWrapper, Tokenizer};

/// How a vocabulary writes bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Spelling {
    /// Each byte is a printable character, as in GPT-2.
    byte_level: bool,
    /// A byte without a character of its own is `<0xE9>`.
    byte_fallback: bool,
    /// `▁` is a space, as in `SentencePiece`.
    pieces: bool,
}

impl Spelling {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let mut spelling = Self::default();
        if let Some(decoder) = tokenizer.get_decoder() {
            spelling.add(decoder);
        }
        spelling
    }

    fn add(&mut self, decoder: &DecoderWrapper) {
        match decoder {
            DecoderWrapper::ByteLevel(_) => self.byte_level = true,
            DecoderWrapper::ByteFallback(_) => self.byte_fallback = true,
            DecoderWrapper::Metaspace(_) => self.pieces = true,
            DecoderWrapper::Replace(replace) => self.pieces |= replace.content == " ",
            DecoderWrapper::Sequence(steps) => {
                for step in steps.get_decoders() {
                    self.add(step);
                }
            }
            _ => {}
        }
    }

    /// The bytes of a token that is no special one.
    pub(super) fn bytes(self, token: &str) -> Vec<u8> {
        if self.byte_level {
            // A token that was added to the vocabulary is written as it is.
            return token
                .chars()
                .map(byte_of)
                .collect::<Option<Vec<_>>>()
                .unwrap_or_else(|| token.as_bytes().to_vec());
        }
        if self.byte_fallback
            && let Some(byte) = fallback_byte(token)
        {
            return vec![byte];
        }
        if self.pieces {
            return token.replace('▁', " ").into_bytes();
        }
        token.as_bytes().to_vec()
    }
}

/// The byte that GPT-2 writes as `character`: printable ones as themselves, all others from U+0100
/// on, in order.
fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => u8::try_from(code).ok(),
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7F).ok(),
        0x143 => Some(0xAD),
        _ => None,
    }
}

fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn every_byte_of_gpt_2s_alphabet_is_found() {
        let mut bytes: Vec<_> = ByteLevel::alphabet().into_iter().map(byte_of).collect();
        bytes.sort_unstable();
        let all: Vec<_> = (0..=255_u8).map(Some).collect();
        assert_eq!(bytes, all);
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('Ń'), Some(0xAD));
    }

    #[test]
    fn pieces_spell_spaces_and_bytes() {
        let spelling = Spelling {
            byte_fallback: true,
            pieces: true,
            ..Spelling::default()
        };
        assert_eq!(spelling.bytes("▁the"), b" the");
        assert_eq!(spelling.bytes("<0xE9>"), [0xE9]);
        assert_eq!(spelling.bytes("<0xEG>"), b"<0xEG>");
    }

    #[test]
    fn a_token_outside_of_the_alphabet_is_itself() {
        let spelling = Spelling {
            byte_level: true,
            ..Spelling::default()
        };
        assert_eq!(spelling.bytes("Ġé"), [b' ', 0xE9]);
        assert_eq!(spelling.bytes("日"), "日".as_bytes());
    }
}
