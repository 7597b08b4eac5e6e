//! Vocabularies of kind `gpt2`: byte pairs, merged in the order of a list.
use super::{Vocabulary, damaged, words};
use crate::{load::gguf::Metadata, text::tokenizer::TextError};
use tokenizers::{
    Tokenizer, models::bpe::BPE, normalizers::unicode::NFC, pre_tokenizers::byte_level::ByteLevel,
};

/// The tokenizer, and whether its models want a token at the beginning unless they say otherwise.
pub(super) fn build(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
) -> Result<(Tokenizer, bool), TextError> {
    // Files from before there was this name may be of any model, and a guess gives wrong ids.
    let name = metadata.text("tokenizer.ggml.pre").unwrap_or("absent");
    let words = words::named(name).ok_or_else(|| {
        TextError::UnsupportedTokenizer(format!("with the pre-tokenizer \"{name}\""))
    })?;
    let model = byte_pairs(metadata, vocabulary, words.whole_first)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(words.pre_tokenizer()?));
    if words.composes {
        tokenizer.with_normalizer(Some(NFC)).map_err(damaged)?;
    }
    let byte_level = ByteLevel::new(false, true, true);
    tokenizer.with_post_processor(Some(byte_level));
    tokenizer.with_decoder(Some(byte_level));
    Ok((tokenizer, words.beginning))
}

fn byte_pairs(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    whole_first: bool,
) -> Result<BPE, TextError> {
    if vocabulary.tokens.is_empty() {
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
    BPE::builder()
        .vocab_and_merges(vocabulary.ids(), merges)
        .ignore_merges(whole_first)
        .build()
        .map_err(damaged)
}
