//! The tiny models of `tests/models`, with the logits that Transformers computes for them.
use crate::load::ModelFiles;
use serde::Deserialize;
use std::{fs, path::PathBuf};

/// All of them.
pub(crate) const NAMES: [&str; 7] = [
    "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3",
];

/// One prompt.
#[derive(Deserialize)]
pub(crate) struct Case {
    /// Longest sequence of the engine.
    pub(crate) context: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) rows: Vec<Row>,
}

/// The logits after one of its tokens.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) position: usize,
    pub(crate) logits: Vec<f32>,
}

pub(crate) fn folder(name: &str) -> PathBuf {
    // Tests run in their package's folder.
    ["tests", "models", name].iter().collect()
}

pub(crate) fn files(name: &str) -> ModelFiles {
    ModelFiles::open(&folder(name)).unwrap()
}

pub(crate) fn cases(name: &str) -> Vec<Case> {
    let text = fs::read_to_string(folder(name).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
