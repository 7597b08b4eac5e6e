//! Model files on disk, opened as the server opens them before it reads weights.
use crate::text;
use candle_core::Device;
use candlepower_api::{Precision, memory::Needs, value::ByteSize};
use candlepower_server::{
    load::{
        ModelFiles,
        memory::{self, Room},
        precision,
    },
    model::{Backend, DecoderWeights},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};
use tempfile::TempDir;

/// Good files that belong to the safetensors file.
const BESIDE: [(&str, &str); 2] = [
    ("config.json", include_str!("../model/config.json")),
    ("tokenizer.json", include_str!("../model/tokenizer.json")),
];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder for files");
    for (name, text) in BESIDE {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
});

/// Writes a file and returns its path.
pub fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

/// Decides all that is decided before weights are read, and uses the tokenizer and the template.
pub fn open_model(path: &Path) {
    let Ok(files) = ModelFiles::open(path) else {
        return;
    };
    if let Ok(weights) = DecoderWeights::find(files.description(), files.weights()) {
        plan(&weights);
    }
    let Ok(tokenizer) = files.tokenizer(None) else {
        return;
    };
    text::tokenise(&tokenizer);
    if let Ok(Some(template)) = files.chat_template(&tokenizer) {
        text::converse(&template);
    }
}

fn plan(weights: &DecoderWeights) {
    let backend = Backend::choose(weights.spec(), &Device::Cpu);
    let kv_bytes_per_token = backend.kv_bytes_per_token(weights.spec());
    let room = Room::Process(ByteSize::gibibytes(16));
    let needs = |weights| Needs {
        weights,
        kv_bytes_per_token,
        context_length: 4096,
        max_batch_size: 16,
        overhead: room.overhead(),
    };
    let fits = |weights: u64| memory::kv_cache_tokens(&needs(weights), None, room).is_ok();
    for wanted in [Precision::Auto, Precision::Q8_0] {
        let _ = precision::choose(weights, wanted, backend, &fits);
    }
}
