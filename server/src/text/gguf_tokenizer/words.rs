//! How byte-pair models find words in a text, by the names that llama.cpp gave the ways.
use super::damaged;
use crate::text::tokenizer::TextError;
use tokenizers::{
    SplitDelimiterBehavior,
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

/// GPT-4 (`cl100k`), and so Llama 3, Phi-4.
const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// As `cl100k`, but each digit alone.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o (`o200k`), and so Phi-4-mini: a capital begins a word.
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's Tekken: as `o200k`, without contractions and each digit alone.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// `DeepSeek` V3 and later: three cuts, one after the other.
const DEEPSEEK3: [Cut; 3] = [
    Cut::Pattern(r"\p{N}{1,3}"),
    Cut::Pattern("[一-龥\u{3040}-ゟ゠-ヿ]+"),
    Cut::Pattern(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
    ),
];

/// One way to cut a text.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// By a pattern of words.
    Pattern(&'static str),
    /// Each digit alone.
    Digits,
}

/// A way to find words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// Without any pattern, words are found as GPT-2 does.
    cuts: &'static [Cut],
    /// A word that is a token as a whole is taken as it is.
    pub(super) whole_first: bool,
    /// Characters and their marks are composed first (NFC).
    pub(super) composes: bool,
    /// A text begins with a token unless the file says otherwise.
    pub(super) beginning: bool,
}

const GPT2: Words = Words {
    cuts: &[],
    whole_first: false,
    composes: false,
    beginning: false,
};

/// The way that `tokenizer.ggml.pre` names.
pub(super) fn named(name: &str) -> Option<Words> {
    let words = match name {
        "gpt-2" | "gpt2" | "phi-2" => GPT2,
        "smollm" => Words {
            cuts: &[Cut::Digits],
            ..GPT2
        },
        "llama-bpe" | "llama3" | "llama-v3" => Words {
            cuts: &[Cut::Pattern(CL100K)],
            whole_first: true,
            beginning: true,
            ..GPT2
        },
        // Phi-4.
        "dbrx" => Words {
            cuts: &[Cut::Pattern(CL100K)],
            ..GPT2
        },
        // Phi-4-mini.
        "gpt-4o" => Words {
            cuts: &[Cut::Pattern(O200K)],
            ..GPT2
        },
        "qwen2" => Words {
            cuts: &[Cut::Pattern(QWEN2)],
            composes: true,
            ..GPT2
        },
        "tekken" => Words {
            cuts: &[Cut::Pattern(TEKKEN)],
            whole_first: true,
            beginning: true,
            ..GPT2
        },
        "deepseek-v3" => Words {
            cuts: &DEEPSEEK3,
            ..GPT2
        },
        _ => return None,
    };
    Some(words)
}

impl Words {
    pub(super) fn pre_tokenizer(self) -> Result<PreTokenizerWrapper, TextError> {
        let mut steps = Vec::new();
        for cut in self.cuts {
            steps.push(match cut {
                Cut::Digits => PreTokenizerWrapper::Digits(Digits::new(true)),
                Cut::Pattern(pattern) => {
                    let pattern = SplitPattern::Regex((*pattern).to_owned());
                    Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                        .map_err(damaged)?
                        .into()
                }
            });
        }
        let patterned = self.cuts.iter().any(|cut| matches!(cut, Cut::Pattern(_)));
        steps.push(ByteLevel::new(false, true, !patterned).into());
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}
