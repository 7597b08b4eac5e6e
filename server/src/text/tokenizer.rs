//! Text to token ids, by the model's own vocabulary.
use super::{
    gguf_tokenizer,
    grammars::{GrammarSource, Grammars},
    stream::{self, TokenStream},
    token_bytes::Spelling,
};
use crate::{engine::Grammar, load::gguf::Metadata, panics};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, OnceLock},
};
use tokenizers::{AddedToken, decoders::byte_fallback::ByteFallback, models::bpe::BPE};

/// Text that cannot be turned into tokens, or the other way round.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file is not a tokenizer.
    #[error("{path} is not a usable tokenizer.json: {problem}")]
    BadTokenizerFile {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The weights' own tokenizer is of a kind that is not built in.
    #[error(
        "the model's own tokenizer is {0}, which is not built in; put the model's tokenizer.json beside the weights or name it in model.tokenizer"
    )]
    UnsupportedTokenizer(String),
    /// The vocabulary contradicts itself.
    #[error("the model's vocabulary is damaged: {0}")]
    BadVocabulary(String),
    /// The tokenizer failed on a text.
    #[error("the text cannot be tokenised: {0}")]
    Encode(String),
    /// The tokenizer failed on token ids.
    #[error("the tokens cannot be turned into text: {0}")]
    Decode(String),
    /// A grammar makes no sense, or answers cannot be held to it.
    #[error("answers cannot be held to this format: {0}")]
    Grammar(String),
    /// The chat template is not valid or refuses the conversation.
    #[error("the model's chat template refuses this conversation: {0}")]
    Template(String),
}

/// The model's tokenizer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    /// Put before a text that starts a document.
    beginning: Option<u32>,
    end_tokens: Arc<[u32]>,
    spelling: Spelling,
    /// Made for the first answer that has to follow one.
    grammars: Arc<OnceLock<Grammars>>,
}

/// Tokens that end an answer in the models that use them.
const END_OF_ANSWER: [&str; 7] = [
    "<|im_end|>",
    "<|eot_id|>",
    // Llama's, behind a call of a tool that stands behind `<|python_tag|>`.
    "<|eom_id|>",
    "<|end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "</s>",
];

impl Tokenizer {
    /// The tokenizer that a GGUF file carries.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TextError> {
        let build = || {
            let (inner, beginning) = gguf_tokenizer::build(metadata)?;
            Ok(Self::new(inner, beginning, declared_end_tokens(metadata)))
        };
        without_panics(build, TextError::BadVocabulary)
    }

    /// A `tokenizer.json`; the weights' metadata still says which tokens end an answer.
    pub fn from_file(path: &Path, metadata: &Metadata) -> Result<Self, TextError> {
        let bad = |error: tokenizers::Error| TextError::BadTokenizerFile {
            path: path.display().to_string(),
            problem: error.to_string(),
        };
        let build = || {
            let mut inner = tokenizers::Tokenizer::from_file(path).map_err(bad)?;
            // Left over from training; Transformers ignores them too.
            inner.with_truncation(None).map_err(bad)?;
            inner.with_padding(None);
            Ok(Self::new(inner, None, declared_end_tokens(metadata)))
        };
        without_panics(build, |problem| bad(problem.into()))
    }

    fn new(inner: tokenizers::Tokenizer, beginning: Option<u32>, mut end_tokens: Vec<u32>) -> Self {
        let vocabulary = inner.get_added_tokens_decoder();
        for (id, token) in vocabulary {
            if token.special && END_OF_ANSWER.contains(&token.content.as_str()) {
                end_tokens.push(id);
            }
        }
        end_tokens.sort_unstable();
        end_tokens.dedup();
        Self {
            spelling: Spelling::of(&inner),
            grammars: Arc::default(),
            inner: Arc::new(inner),
            beginning,
            end_tokens: end_tokens.into(),
        }
    }

    /// A tokenizer without a model, for tests: the ids are the text's bytes, and
    /// [`crate::engine::mock::END_TOKEN`] ends an answer.
    pub fn of_bytes() -> Result<Self, TextError> {
        Self::of_bytes_and(&[])
    }

    /// As [`Self::of_bytes`], with these special tokens, whose ids follow.
    pub fn of_bytes_and(special: &[&str]) -> Result<Self, TextError> {
        let damaged = |error: tokenizers::Error| TextError::BadVocabulary(error.to_string());
        let vocabulary = (0..=255_u8).map(|byte| (format!("<0x{byte:02X}>"), u32::from(byte)));
        let model = BPE::builder()
            .vocab_and_merges(vocabulary.collect::<ahash::AHashMap<_, _>>(), Vec::new())
            .byte_fallback(true)
            .build()
            .map_err(damaged)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_decoder(Some(ByteFallback::new()));
        inner
            .add_special_tokens(
                ["<|endoftext|>"]
                    .iter()
                    .chain(special)
                    .map(|token| AddedToken::from(*token, true)),
            )
            .map_err(damaged)?;
        Ok(Self::new(inner, None, Vec::new()))
    }

    /// Ids of `text`. `start` puts the beginning-of-text token first where the model wants one;
    /// chat templates write it themselves.
    pub fn encode(&self, text: &str, start: bool) -> Result<Vec<u32>, TextError> {
        let encode = || {
            let encoding = self.inner.encode_fast(text, start);
            encoding.map_err(|error| TextError::Encode(error.to_string()))
        };
        let encoding = without_panics(encode, TextError::Encode)?;
        let mut ids = Vec::with_capacity(encoding.len() + 1);
        ids.extend(self.beginning.filter(|_| start));
        ids.extend_from_slice(encoding.get_ids());
        Ok(ids)
    }

    /// The text of `ids`, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        stream::decode(&self.inner, ids)
    }

    /// Turns ids into text as they come.
    pub fn stream(&self) -> TokenStream {
        TokenStream::new(Arc::clone(&self.inner))
    }

    /// Turns ids that follow `before` into text as they come. Where a text's first space is not
    /// written, as in `SentencePiece`, the space between the two is kept.
    pub fn stream_after(&self, before: &[u32]) -> TokenStream {
        TokenStream::after(Arc::clone(&self.inner), before)
    }

    /// As [`Self::stream`], with these special tokens, which are no text elsewhere. Those that the
    /// vocabulary does not have, or has as text, change nothing.
    pub fn stream_with(&self, marks: &[&str]) -> TokenStream {
        let ids = marks.iter().filter_map(|mark| self.special_id(mark));
        TokenStream::new(Arc::clone(&self.inner)).showing(ids.collect())
    }

    /// The special token that is written as `mark`.
    pub(super) fn special_id(&self, mark: &str) -> Option<u32> {
        let id = self.inner.token_to_id(mark)?;
        self.is_special(id).then_some(id)
    }

    /// Tokens that end an answer.
    pub fn end_tokens(&self) -> &[u32] {
        &self.end_tokens
    }

    /// The grammar of `source`, for rows of `vocabulary` logits. Takes a moment.
    pub fn grammar(&self, source: GrammarSource, vocabulary: usize) -> Result<Grammar, TextError> {
        if let Some(grammars) = self.grammars.get() {
            return grammars.compile(source, self);
        }
        let grammars = Grammars::new(self, vocabulary)?;
        let grammars = self.grammars.get_or_init(|| grammars);
        grammars.compile(source, self)
    }

    /// Whether the token `id` stands for structure, not text.
    pub fn is_special(&self, id: u32) -> bool {
        let token = self.inner.id_to_token(id);
        token.is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
    }

    /// What the token `id` spells: bytes, since a token may hold half a character.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        let token = self.inner.id_to_token(id).unwrap_or_default();
        if self.inner.get_added_vocabulary().is_special_token(&token) {
            return token.into_bytes();
        }
        self.spelling.bytes(&token)
    }

    /// The text of the token `id`, special or not.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }
}

/// What `work` returns. The library trusts what a `tokenizer.json` says of itself, and panics where
/// it lies; here that is an error as any other.
pub(super) fn without_panics<T>(
    work: impl FnOnce() -> Result<T, TextError>,
    error: impl FnOnce(String) -> TextError,
) -> Result<T, TextError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(error(panics::message(&*panic).to_owned())))
}

fn declared_end_tokens(metadata: &Metadata) -> Vec<u32> {
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"]
        .iter()
        .filter_map(|key| metadata.unsigned32(key))
        // Where a `config.json` is read as metadata, it may name several.
        .chain(
            metadata
                .numbers("tokenizer.ggml.eos_token_ids")
                .unwrap_or_default(),
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_tokenizer_maps_bytes_to_ids_and_back() {
        let tokenizer = Tokenizer::of_bytes().unwrap();
        let ids = tokenizer.encode("hé", true).unwrap();
        assert_eq!(ids, [0x68, 0xC3, 0xA9]);
        assert_eq!(tokenizer.decode(&ids).unwrap(), "hé");
        assert_eq!(tokenizer.end_tokens(), [crate::engine::mock::END_TOKEN]);
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_named_in_the_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Tokenizer::from_file(file.path(), &Metadata::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&file.path().display().to_string()),
            "{error}"
        );
    }
}
