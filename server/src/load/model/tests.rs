//! From a folder as Hugging Face lays it out, or a file, to a model that serves.
use super::*;
use crate::model::testing::{fixture, random};
use candle_core::quantized::GgmlDType;
use candlepower_api::Precision;
use std::{fs, path::Path};

const TOKENIZER: &str =
    r#"{"model":{"type":"BPE","vocab":{"w":0,"a":1,"r":2,"m":3},"merges":[]},"added_tokens":[]}"#;

/// A copy of a tiny model, with what is needed to talk to it.
fn folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().suffix("-0.5B").tempdir().unwrap();
    for file in fs::read_dir(fixture::folder(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("tokenizer.json", TOKENIZER);
    write("chat_template.jinja", "{{messages[0].content}}");
    folder
}

fn load_with(
    path: &Path,
    change: impl FnOnce(&mut ServerConfig),
) -> Result<ServedModel, LoadError> {
    let mut config = ServerConfig::for_model(path);
    change(&mut config);
    load(&config, Arc::new(()), &|_| {})
}

#[test]
fn a_folder_is_served_under_its_name() {
    let folder = folder("llama");
    let served = load_with(folder.path(), |_| {}).unwrap();
    let facts = &served.facts;
    assert!(facts.name.ends_with("-0.5B"), "{}", facts.name);
    assert_eq!(
        (facts.architecture.as_str(), facts.precision.as_str()),
        ("llama", "f16")
    );
    assert_eq!(facts.context_length, 128);
    assert!(served.chat_template.is_some());
    assert_eq!(served.tokenizer.end_tokens(), [2], "as config.json says");
}

#[test]
fn a_single_file_is_described_by_its_neighbours() {
    let folder = folder("qwen3");
    let file = folder.path().join("model.safetensors");
    let served = load_with(&file, |config| config.model.precision = Precision::Q8_0).unwrap();
    assert_eq!(served.facts.architecture, "qwen3");
    assert_eq!(served.facts.precision, "q8_0");
}

#[test]
fn one_of_several_files_is_refused_for_their_folder() {
    let folder = folder("llama");
    let file = folder.path().join("model-00001-of-00002.safetensors");
    let message = load_with(&file, |_| {}).unwrap_err().to_string();
    assert!(message.contains("the path of their folder"), "{message}");
}

#[test]
fn quantising_makes_the_weights_smaller_in_memory() {
    let folder = folder("mistral");
    let bytes = |precision| {
        let served = load_with(folder.path(), |config| config.model.precision = precision);
        served.unwrap().facts.weights_bytes
    };
    assert!(bytes(Precision::Q8_0) * 3 < bytes(Precision::Auto) * 2);
}

#[test]
fn a_checksum_of_several_files_is_refused() {
    let folder = folder("llama");
    let refused = load_with(folder.path(), |config| {
        config.model.sha256 = Some("0".repeat(64));
    });
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("leave it out"), "{message}");
}

#[test]
fn a_folder_without_its_tokenizer_names_it() {
    let folder = folder("qwen2");
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let message = load_with(folder.path(), |_| {}).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json does not exist"),
        "{message}"
    );
}

#[test]
fn a_model_that_does_not_fit_is_refused_before_its_weights_are_read() {
    let file = random::llama(GgmlDType::F32, None);
    let refused = load_with(file.path(), |config| {
        config.engine.memory_limit = Some("64Mi".parse().unwrap());
    });
    assert!(matches!(refused, Err(LoadError::InsufficientMemory { .. })));
}

#[test]
fn reading_goes_on_where_quantising_ended() {
    let percent = |part, done| part_of_reading(&part, done).percent;
    assert_eq!(percent(0..100, 37), 37);
    assert_eq!(
        (percent(0..QUANTISED, 0), percent(0..QUANTISED, 100)),
        (0, 90)
    );
    assert_eq!(
        (percent(QUANTISED..100, 0), percent(QUANTISED..100, 100)),
        (90, 100)
    );
}
