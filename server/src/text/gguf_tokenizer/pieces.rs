//! Vocabularies of kind `llama`: `SentencePiece` pieces, merged by their scores.
//!
//! The file has no list of merges. As Transformers does when it reads such a vocabulary, the list
//! is made of every way to put a piece together from two others, the best score first.
use super::{UNKNOWN, USER_DEFINED, Vocabulary, damaged};
use crate::{load::gguf::Metadata, text::tokenizer::TextError};
use ahash::AHashMap;
use std::{borrow::Cow, cmp::Reverse};
use tokenizers::{
    DecoderWrapper, NormalizerWrapper, Tokenizer,
    decoders::{byte_fallback::ByteFallback, fuse::Fuse, sequence, strip::Strip},
    models::bpe::BPE,
    normalizers::{self, Prepend, Replace},
};

/// `tokenizer.ggml.token_type` of ordinary pieces.
const NORMAL: u32 = 1;
/// How pieces write a space.
const SPACE: &str = "▁";

pub(super) fn build(
    metadata: &Metadata,
    vocabulary: &mut Vocabulary,
) -> Result<Tokenizer, TextError> {
    let scores = metadata.floats("tokenizer.ggml.scores").unwrap_or_default();
    let count = vocabulary.tokens.len();
    if count == 0 || scores.len() != count || vocabulary.types.len() != count {
        return Err(TextError::BadVocabulary(format!(
            "it has {count} tokens, {} scores and {} types",
            scores.len(),
            vocabulary.types.len()
        )));
    }
    let prefix = metadata
        .boolean("tokenizer.ggml.add_space_prefix")
        .unwrap_or(true);
    mark_spaces(vocabulary);
    let ids = vocabulary.ids();
    let merges = merges(vocabulary, &ids, &scores);
    let mut model = BPE::builder()
        .vocab_and_merges(ids, merges)
        .fuse_unk(true)
        .byte_fallback(true);
    if let Some(unknown) = unknown(metadata, vocabulary) {
        model = model.unk_token(unknown.to_owned());
    }
    let mut tokenizer = Tokenizer::new(model.build().map_err(damaged)?);

    let spaces = Replace::new(" ", SPACE).map_err(damaged)?;
    let mut normalizer: Vec<NormalizerWrapper> = Vec::new();
    let mut decoder: Vec<DecoderWrapper> = vec![
        Replace::new(SPACE, " ").map_err(damaged)?.into(),
        ByteFallback::new().into(),
        Fuse::new().into(),
    ];
    if prefix {
        normalizer.push(Prepend::new(SPACE.to_owned()).into());
        decoder.push(Strip::new(' ', 1, 0).into());
    }
    normalizer.push(spaces.into());
    let normalizer = normalizers::Sequence::new(normalizer);
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(damaged)?;
    tokenizer.with_decoder(Some(sequence::Sequence::new(decoder)));
    Ok(tokenizer)
}

/// Tokens for runs of spaces are written with spaces in the file, but are put together where spaces
/// are marks already.
fn mark_spaces(vocabulary: &mut Vocabulary) {
    let typed = vocabulary.tokens.iter_mut().zip(&vocabulary.types);
    for (token, kind) in typed {
        if *kind == USER_DEFINED && token.chars().all(|character| character == ' ') {
            *token = Cow::Owned(token.replace(' ', SPACE));
        }
    }
}

/// The token for what cannot be spelled.
fn unknown<'a>(metadata: &Metadata, vocabulary: &'a Vocabulary) -> Option<&'a str> {
    let declared = metadata
        .unsigned32("tokenizer.ggml.unknown_token_id")
        .map(|id| id as usize);
    let typed = || vocabulary.types.iter().position(|kind| *kind == UNKNOWN);
    let token = vocabulary.tokens.get(declared.or_else(typed)?)?;
    Some(token)
}

/// A piece that two others make.
struct Merge<'a> {
    score: f32,
    left: &'a str,
    right: &'a str,
}

fn merges(
    vocabulary: &Vocabulary,
    ids: &AHashMap<String, u32>,
    scores: &[f32],
) -> Vec<(String, String)> {
    let mut merges = Vec::new();
    let typed = vocabulary.tokens.iter().zip(&vocabulary.types).zip(scores);
    for ((piece, kind), &score) in typed {
        if matches!(*kind, NORMAL | USER_DEFINED) {
            // The file's scores of these say nothing; in SentencePiece they come before all others.
            let score = if *kind == USER_DEFINED { 0.0 } else { score };
            let cuts = piece.char_indices().skip(1).map(|(cut, _)| cut);
            merges.extend(cuts.filter_map(|cut| {
                let (left, right) = piece.split_at(cut);
                (ids.contains_key(left) && ids.contains_key(right)).then_some(Merge {
                    score,
                    left,
                    right,
                })
            }));
        }
    }
    // The sort is stable: of equals, the piece with the lower id comes first.
    merges.sort_by(|one, other| {
        let length = |text: &str| Reverse(text.chars().count());
        other
            .score
            .total_cmp(&one.score)
            .then_with(|| length(one.left).cmp(&length(other.left)))
            .then_with(|| length(one.right).cmp(&length(other.right)))
    });
    merges
        .into_iter()
        .map(|merge| (merge.left.to_owned(), merge.right.to_owned()))
        .collect()
}
