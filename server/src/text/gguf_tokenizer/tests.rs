//! Ids and texts as Transformers', on vocabularies of real models (`server/tests/tokenizers`).
use crate::{
    load::gguf::{GgufFile, Metadata},
    text::{TextError, TokenStream, Tokenizer},
};
use candle_core::quantized::gguf_file::Value;
use serde::Deserialize;
use std::{fs, path::PathBuf};

#[derive(Deserialize)]
struct Fixture {
    beginning: Option<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

/// The fixtures, or whole vocabularies that `make_fixtures.py --whole` wrote.
fn folder() -> PathBuf {
    std::env::var_os("CANDLEPOWER_TOKENIZER_FIXTURES")
        .map_or_else(|| PathBuf::from("tests/data/tokenizers"), PathBuf::from)
}

fn fixture(name: &str) -> Fixture {
    let text = fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn from_gguf(name: &str) -> Tokenizer {
    let file = GgufFile::open(&folder().join(format!("{name}.gguf"))).unwrap();
    Tokenizer::from_gguf(file.metadata()).unwrap()
}

fn streamed(mut stream: TokenStream, ids: &[u32]) -> String {
    let mut text: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    text.push_str(&stream.finish().unwrap());
    text
}

/// Compares everything and lists all differences, so that one look shows their pattern.
fn compare(tokenizer: &Tokenizer, fixture: &Fixture) {
    let mut differences = Vec::new();
    for Case { text, ids, decoded } in &fixture.cases {
        let own = tokenizer.encode(text, false).unwrap();
        if own != *ids {
            let tokens = |ids: &[u32]| {
                let tokens = ids
                    .iter()
                    .map(|&id| tokenizer.token(id).unwrap_or_default());
                tokens.collect::<Vec<_>>().join("|")
            };
            differences.push(format!(
                "{text:?}\n  ours   {}\n  theirs {}",
                tokens(&own),
                tokens(ids)
            ));
        }
        let mut started: Vec<_> = fixture.beginning.into_iter().collect();
        started.extend(ids);
        if own == *ids && tokenizer.encode(text, true).unwrap() != started {
            differences.push(format!("{text:?} begins otherwise"));
        }
        let own = tokenizer.decode(ids).unwrap();
        if own != *decoded {
            differences.push(format!("{ids:?}\n  ours   {own:?}\n  theirs {decoded:?}"));
        }
        let own = streamed(tokenizer.stream(), ids);
        if own != *decoded {
            differences.push(format!(
                "{ids:?} streamed\n  ours   {own:?}\n  theirs {decoded:?}"
            ));
        }
        for cut in [1, ids.len() / 2, ids.len()] {
            let (before, after) = ids.split_at(cut.min(ids.len()));
            let first = tokenizer.decode(before).unwrap();
            let Some(rest) = decoded.strip_prefix(&first) else {
                continue;
            };
            let own = streamed(tokenizer.stream_after(before), after);
            if !first.ends_with('\u{FFFD}') && own != rest {
                differences.push(format!("{after:?} behind {first:?}\n  ours   {own:?}"));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

macro_rules! families {
    ($($test:ident: $name:literal,)*) => {$(
        #[test]
        fn $test() {
            compare(&from_gguf($name), &fixture($name));
        }
    )*};
}

families! {
    ids_and_texts_of_gpt_2: "gpt2",
    ids_and_texts_of_smollm2: "smollm2",
    ids_and_texts_of_llama_3: "llama3",
    ids_and_texts_of_qwen_2: "qwen2",
    ids_and_texts_of_tekken: "tekken",
    ids_and_texts_of_deepseek_v3: "deepseek3",
    ids_and_texts_of_phi_4: "phi4",
    ids_and_texts_of_phi_4_mini: "phi4-mini",
    ids_and_texts_of_llama_2_and_mistral: "llama",
    ids_and_texts_of_mistral_v3: "mistral3",
    ids_and_texts_of_phi_3: "phi3",
    ids_and_texts_of_gemma_3: "gemma3",
}

#[test]
fn ids_and_texts_of_a_tokenizer_json() {
    let path = folder().join("mistral3-file.tokenizer.json");
    let tokenizer = Tokenizer::from_file(&path, &Metadata::default()).unwrap();
    compare(&tokenizer, &fixture("mistral3-file"));
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let value = |text: &str| Value::String(text.to_owned());
    pairs
        .iter()
        .map(|(key, text)| (format!("tokenizer.ggml.{key}"), value(text)))
        .collect()
}

#[test]
fn what_is_not_built_in_is_named_with_the_cure() {
    for (pairs, named) in [
        (&[("model", "bert")][..], "kind \"bert\""),
        (&[][..], "kind \"absent\""),
        (
            &[("model", "gpt2"), ("pre", "poro-chat")][..],
            "pre-tokenizer \"poro-chat\"",
        ),
        (&[("model", "gpt2")][..], "pre-tokenizer \"absent\""),
        (
            &[("model", "gpt2"), ("pre", "default")][..],
            "pre-tokenizer \"default\"",
        ),
    ] {
        let error = Tokenizer::from_gguf(&metadata(pairs)).unwrap_err();
        assert!(matches!(error, TextError::UnsupportedTokenizer(_)));
        let message = error.to_string();
        assert!(message.contains(named), "{message}");
        assert!(
            message.contains("tokenizer.json beside the weights"),
            "{message}"
        );
    }
}

#[test]
fn a_vocabulary_without_tokens_or_scores_is_damaged() {
    for kind in ["gpt2", "llama"] {
        let pairs = [("model", kind), ("pre", "gpt-2")];
        let error = Tokenizer::from_gguf(&metadata(&pairs)).unwrap_err();
        assert!(matches!(error, TextError::BadVocabulary(_)), "{error}");
    }
}
