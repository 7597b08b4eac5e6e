//! The real small model, from its file to English text. `make unit` fetches it and names it in
//! `CANDLEPOWER_TEST_MODEL`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_cmp,
    reason = "helpers of tests are tests, and counters are whole numbers"
)]
mod http;

use candlepower_api::server_config::{LoadStage, ServerConfig};
use candlepower_server::{
    engine::{GenerationEvent, GenerationRequest, Sampling},
    load::{LoadError, ModelHost, ServedModel, gguf::GgufFile},
    text::{ChatMessage, Tokenizer},
};
use serde::Deserialize;
use std::{fs, io::Write, path::PathBuf, sync::Arc};

fn model_path() -> PathBuf {
    std::env::var_os("CANDLEPOWER_TEST_MODEL")
        .expect("CANDLEPOWER_TEST_MODEL is not set: run `make unit`, or set it to what `e2e/cluster/model fetch` prints")
        .into()
}

fn config(path: impl Into<PathBuf>) -> ServerConfig {
    let mut config = ServerConfig::for_model(path);
    config.engine.max_context_length = Some(512);
    config
}

async fn load(config: ServerConfig) -> Result<Arc<ServedModel>, Arc<LoadError>> {
    ModelHost::new(config, Arc::new(())).wait().await
}

async fn answer(model: &ServedModel, question: &str, max_tokens: usize) -> Vec<u32> {
    let messages = [ChatMessage {
        role: "user".into(),
        content: question.into(),
        ..ChatMessage::default()
    }];
    let prompt = model
        .chat_template
        .as_ref()
        .unwrap()
        .render(&messages)
        .unwrap();
    let request = GenerationRequest {
        prompt: model.tokenizer.encode(&prompt, false).unwrap(),
        max_tokens,
        deadline: None,
        sampling: Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
    };
    let mut generation = model.engine.submit(request).unwrap();
    let mut tokens = Vec::new();
    loop {
        match generation.next().await {
            GenerationEvent::Started { .. } => {}
            GenerationEvent::Token { id, .. } => tokens.push(id),
            GenerationEvent::Finished { .. } => return tokens,
            GenerationEvent::Failed(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn the_model_answers_in_english_alone_and_among_others() {
    let model = load(config(model_path())).await.unwrap();
    let alone = answer(&model, "What is gravity?", 24).await;
    let text = model.tokenizer.decode(&alone).unwrap();
    assert!(text.contains("physics"), "{text}");

    // Rows of other sequences in the same step may change the last bits of a sum, but not what
    // is said first.
    let (beside, _, _) = tokio::join!(
        answer(&model, "What is gravity?", 24),
        answer(
            &model,
            "Write a long story about a lighthouse and its keeper.",
            24
        ),
        answer(&model, "Hi", 24),
    );
    assert_eq!(beside[..8], alone[..8]);
    assert_eq!(model.facts.precision, "q4_1");
    assert_eq!(model.facts.context_length, 512);
}

#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
}

/// The fixture was made by byte-pair encoding written from its definition (GPT-2's word pattern
/// after single digits), over the same vocabulary.
#[test]
fn token_ids_equal_those_of_an_independent_implementation() {
    let file = GgufFile::open(&model_path()).unwrap();
    let tokenizer = Tokenizer::from_gguf(file.metadata()).unwrap();
    let corpus: Vec<Encoded> =
        serde_json::from_str(include_str!("../fixtures/smollm2-token-ids.json")).unwrap();
    for Encoded { text, ids } in corpus {
        assert_eq!(tokenizer.encode(&text, true).unwrap(), ids, "{text:?}");
        let mut stream = tokenizer.stream();
        let mut streamed: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
        streamed.push_str(&stream.finish().unwrap());
        assert_eq!(
            streamed,
            tokenizer.decode(&ids).unwrap(),
            "{text:?} streamed"
        );
    }
}

#[tokio::test]
async fn a_truncated_file_is_corrupt_and_says_where_it_ends() {
    let whole = fs::read(model_path()).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&whole[..whole.len() / 2]).unwrap();
    let error = load(config(file.path())).await.unwrap_err();
    assert!(matches!(*error, LoadError::Corrupt { .. }));
    assert!(
        error.to_string().contains("but the file at byte"),
        "{error}"
    );
}

#[tokio::test]
async fn a_wrong_checksum_stops_loading() {
    let mut config = config(model_path());
    config.model.sha256 = Some("0".repeat(64));
    assert!(matches!(
        *load(config).await.unwrap_err(),
        LoadError::ChecksumMismatch { .. }
    ));
}

#[tokio::test]
async fn a_model_larger_than_the_memory_limit_is_refused_before_it_is_read() {
    let mut config = config(model_path());
    config.engine.memory_limit = Some("128Mi".parse().unwrap());
    let host = ModelHost::new(config, Arc::new(()));
    let error = host.wait().await.unwrap_err();
    assert!(
        matches!(*error, LoadError::InsufficientMemory { .. }),
        "{error}"
    );
    assert_ne!(host.report().stage, LoadStage::Loaded);
}

#[tokio::test]
async fn another_precision_than_the_files_names_the_cure() {
    let mut config = config(model_path());
    config.model.precision = candlepower_api::Precision::F16;
    let message = load(config).await.unwrap_err().to_string();
    assert!(
        message.contains("set precision to auto or q4_1"),
        "{message}"
    );
}

#[tokio::test]
async fn a_context_beyond_the_models_own_is_refused() {
    let mut config = config(model_path());
    config.engine.max_context_length = Some(1_000_000);
    let message = load(config).await.unwrap_err().to_string();
    assert!(message.contains("write at most that"), "{message}");
}
