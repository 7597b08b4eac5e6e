//! Builds a tokenizer from the vocabulary inside a GGUF file.
//!
//! The pre-tokenizer decides where words begin, and a wrong one gives ids that the model never
//! saw. Only those whose ids were compared with the reference implementation's are built in.
use super::tokenizer::TextError;
use crate::load::gguf::Metadata;
use tokenizers::{
    AddedToken, SplitDelimiterBehavior,
    models::bpe::BPE,
    pre_tokenizers::{
        PreTokenizerWrapper,
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

/// How Llama 3 finds words.
const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// How Qwen 2 finds words: as Llama 3, but each digit alone.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.ggml.token_type` of tokens that stand for structure, not text.
const CONTROL: u32 = 3;
/// `tokenizer.ggml.token_type` of tokens that are matched before the vocabulary's own rules.
const USER_DEFINED: u32 = 4;

pub(super) fn build(metadata: &Metadata) -> Result<tokenizers::Tokenizer, TextError> {
    let kind = metadata.text("tokenizer.ggml.model").unwrap_or("absent");
    if kind != "gpt2" {
        return Err(TextError::UnsupportedTokenizer(format!(
            "of kind \"{kind}\""
        )));
    }
    let damaged = |error: tokenizers::Error| TextError::BadVocabulary(error.to_string());
    let tokens = metadata.texts("tokenizer.ggml.tokens").unwrap_or_default();
    let mut tokenizer = tokenizers::Tokenizer::new(byte_pairs(metadata, &tokens)?);
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer(metadata)?));
    let byte_level = ByteLevel::new(false, true, true);
    tokenizer.with_post_processor(Some(byte_level));
    tokenizer.with_decoder(Some(byte_level));
    let types = metadata
        .numbers("tokenizer.ggml.token_type")
        .unwrap_or_default();
    for (token, kind) in tokens.iter().zip(types) {
        match kind {
            CONTROL => tokenizer.add_special_tokens([AddedToken::from(*token, true)]),
            USER_DEFINED => {
                tokenizer.add_tokens([AddedToken::from(*token, false).normalized(false)])
            }
            _ => continue,
        }
        .map_err(damaged)?;
    }
    Ok(tokenizer)
}

fn byte_pairs(metadata: &Metadata, tokens: &[&str]) -> Result<BPE, TextError> {
    if tokens.is_empty() {
        return Err(TextError::BadVocabulary(
            "tokenizer.ggml.tokens is missing".to_owned(),
        ));
    }
    let merges = metadata.texts("tokenizer.ggml.merges").unwrap_or_default();
    let merges = merges
        .into_iter()
        .map(|merge| {
            merge
                .split_once(' ')
                .map(|(left, right)| (left.to_owned(), right.to_owned()))
                .ok_or_else(|| {
                    TextError::BadVocabulary(format!("the merge \"{merge}\" is not a pair"))
                })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let vocabulary = tokens
        .iter()
        .zip(0_u32..)
        .map(|(token, id)| ((*token).to_owned(), id))
        .collect::<ahash::AHashMap<_, _>>();
    BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        // Llama 3 looks a word up as a whole before it merges bytes.
        .ignore_merges(metadata.text("tokenizer.ggml.pre") == Some("llama-bpe"))
        .build()
        .map_err(|error| TextError::BadVocabulary(error.to_string()))
}

fn pre_tokenizer(metadata: &Metadata) -> Result<PreTokenizerWrapper, TextError> {
    let name = metadata.text("tokenizer.ggml.pre").unwrap_or("gpt-2");
    let sequence = |steps| Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)));
    match name {
        "smollm" => sequence(vec![
            PreTokenizerWrapper::Digits(Digits::new(true)),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, true)),
        ]),
        "gpt-2" | "gpt2" | "default" => Ok(PreTokenizerWrapper::ByteLevel(ByteLevel::new(
            false, true, true,
        ))),
        "llama-bpe" | "llama3" => sequence(words(LLAMA3_WORDS)?),
        "qwen2" => sequence(words(QWEN2_WORDS)?),
        other => Err(TextError::UnsupportedTokenizer(format!(
            "with the pre-tokenizer \"{other}\""
        ))),
    }
}

fn words(pattern: &str) -> Result<Vec<PreTokenizerWrapper>, TextError> {
    let split = Split::new(
        SplitPattern::Regex(pattern.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )
    .map_err(|error| TextError::BadVocabulary(error.to_string()))?;
    Ok(vec![
        PreTokenizerWrapper::Split(split),
        PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)),
    ])
}
