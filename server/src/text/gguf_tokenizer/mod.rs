//! Builds a tokenizer from the vocabulary inside a GGUF file.
//!
//! A vocabulary says little about how a text becomes its tokens, and a wrong guess gives ids that
//! the model never saw. Only what was compared with Transformers on real vocabularies is built in
//! (`server/tests/tokenizers`); anything else is an error that says so.
mod byte_level;
mod pieces;
mod words;

use super::tokenizer::TextError;
use crate::load::gguf::Metadata;
use ahash::AHashMap;
use std::borrow::Cow;
use tokenizers::{AddedToken, Tokenizer};

/// `tokenizer.ggml.token_type`: stands for what the vocabulary cannot spell.
const UNKNOWN: u32 = 2;
/// `tokenizer.ggml.token_type`: stands for structure, not text.
const CONTROL: u32 = 3;
/// `tokenizer.ggml.token_type`: matched before the vocabulary's own rules.
const USER_DEFINED: u32 = 4;

/// A GGUF file's vocabulary, as it is written there.
struct Vocabulary<'a> {
    tokens: Vec<Cow<'a, str>>,
    /// Empty where the file has none.
    types: Vec<u32>,
}

impl Vocabulary<'_> {
    fn ids(&self) -> AHashMap<String, u32> {
        let numbered = self.tokens.iter().zip(0..);
        numbered
            .map(|(token, id)| (token.clone().into_owned(), id))
            .collect()
    }
}

/// The tokenizer, and the token that starts a document where the model wants one.
pub(super) fn build(metadata: &Metadata) -> Result<(Tokenizer, Option<u32>), TextError> {
    let tokens = metadata.texts("tokenizer.ggml.tokens").unwrap_or_default();
    let mut vocabulary = Vocabulary {
        tokens: tokens.into_iter().map(Cow::Borrowed).collect(),
        types: metadata
            .numbers("tokenizer.ggml.token_type")
            .unwrap_or_default(),
    };
    let kind = metadata.text("tokenizer.ggml.model").unwrap_or("absent");
    let (mut tokenizer, beginning_is_usual) = match kind {
        "gpt2" => byte_level::build(metadata, &vocabulary)?,
        "llama" => (pieces::build(metadata, &mut vocabulary)?, true),
        other => {
            return Err(TextError::UnsupportedTokenizer(format!(
                "of kind \"{other}\""
            )));
        }
    };
    add_tokens(&mut tokenizer, &vocabulary, strips_after_control(metadata))?;
    let beginning = metadata
        .boolean("tokenizer.ggml.add_bos_token")
        .unwrap_or(beginning_is_usual)
        .then(|| metadata.unsigned32("tokenizer.ggml.bos_token_id"))
        .flatten();
    Ok((tokenizer, beginning))
}

/// Tokens that are found in a text before anything else is.
fn add_tokens(
    tokenizer: &mut Tokenizer,
    vocabulary: &Vocabulary,
    strip: bool,
) -> Result<(), TextError> {
    let of = |wanted: &'static [u32]| {
        let typed = vocabulary.tokens.iter().zip(&vocabulary.types);
        typed.filter_map(move |(token, kind)| wanted.contains(kind).then_some(&**token))
    };
    let special = of(&[CONTROL, UNKNOWN])
        .map(|token| AddedToken::from(token, true).rstrip(strip && !KEEP_SPACE.contains(&token)));
    let defined = of(&[USER_DEFINED]).map(|token| AddedToken::from(token, false).normalized(false));
    // Each call builds the search for all of them anew, so that one call for all matters.
    tokenizer
        .add_special_tokens(special)
        .and_then(|_| tokenizer.add_tokens(defined))
        .map(|_| ())
        .map_err(damaged)
}

/// Control tokens of Phi-3 that keep the space behind them.
const KEEP_SPACE: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// Phi-3's control tokens swallow the space behind them, which GGUF has no field for; llama.cpp
/// knows it from the model's name.
fn strips_after_control(metadata: &Metadata) -> bool {
    metadata.text("tokenizer.ggml.model") == Some("llama")
        && metadata.text("general.architecture") == Some("phi3")
}

#[allow(clippy::needless_pass_by_value, reason = "`map_err` hands it over")]
fn damaged(error: tokenizers::Error) -> TextError {
    TextError::BadVocabulary(error.to_string())
}

#[cfg(test)]
mod tests;
