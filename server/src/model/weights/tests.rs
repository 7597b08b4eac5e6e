//! Files whose weights are not those of their architecture.
use super::*;
use crate::{
    load::ModelFiles,
    model::testing::{fixture, gguf, random},
};
use std::{fs, path::Path, sync::Mutex};

fn refusal(files: &ModelFiles) -> String {
    match DecoderWeights::find(files.description(), files.weights()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    }
}

/// The Qwen 3 fixture with `from` in its description changed to `to`.
fn changed(from: &str, to: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(
            fixture::folder("qwen3").join(name),
            folder.path().join(name),
        )
        .unwrap();
    }
    let config = folder.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(&config, text.replace(from, to)).unwrap();
    refusal(&ModelFiles::open(folder.path()).unwrap())
}

#[test]
fn a_tensor_that_nothing_reads_is_refused_by_name() {
    for surplus in [
        "blk.0.attn_q.bias",
        "blk.0.ffn_gate_inp.weight",
        "blk.2.attn_norm.weight",
    ] {
        let file = random::llama(GgmlDType::F32, Some(surplus));
        let message = refusal(&ModelFiles::open(file.path()).unwrap());
        let named = format!("llama with the tensor {surplus}");
        assert!(message.contains(&named), "{message}");
    }
}

#[test]
fn a_tensor_that_is_missing_is_named() {
    let message = changed("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(message.contains("model.layers.2."), "{message}");
    assert!(message.contains("is missing"), "{message}");
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let message = changed("\"vocab_size\": 96", "\"vocab_size\": 97");
    assert!(
        message.contains("[96, 64], where 97 × 64 belong"),
        "{message}"
    );
}

#[test]
fn norms_are_what_rows_are_multiplied_by() {
    let first = |name: &str| {
        let files = fixture::files(name);
        let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
        let stored = files
            .weights()
            .tensor("model.norm.weight")
            .unwrap()
            .unwrap();
        let stored = widen(stored.bytes, stored.format);
        let norm = weights.vector(Weight::FinalNorm).unwrap();
        norm[0] - stored[0]
    };
    assert!(first("llama").abs() < 1e-6);
    assert!((first("gemma2") - 1.0).abs() < 1e-6);
}

#[test]
fn reading_everything_ends_at_a_hundred_percent() {
    let files = fixture::files("gemma3");
    let seen = Mutex::new(Vec::new());
    let progress = |percent| seen.lock().unwrap().push(percent);
    let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
    let weights = weights.reading(FormatPlan::AsStored, &progress);
    for weight in weights.list() {
        if weights.role(weight) == Role::Vector {
            let (_, count) = weights.shape(weight);
            assert_eq!(weights.vector(weight).unwrap().len(), count);
        } else {
            let matrix = weights.matrix(weight).unwrap();
            assert_eq!((matrix.rows, matrix.columns), weights.shape(weight));
        }
    }
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&100));
}

/// Opens the file and reads everything in it, if it can be read.
fn read(path: &Path) -> Result<(), LoadError> {
    let files = ModelFiles::open(path)?;
    let weights = DecoderWeights::find(files.description(), files.weights())?;
    let weights = weights.reading(FormatPlan::Into(GgmlDType::Q8_0), &|_| {});
    for weight in weights.list() {
        if weights.role(weight) == Role::Vector {
            weights.vector(weight)?;
        } else {
            weights.matrix(weight)?;
        }
    }
    Ok(())
}

/// Changes the bytes of the header one by one: whatever they say, nothing panics, and most of it
/// is refused.
fn damage(path: &Path, header: usize) {
    let whole = fs::read(path).unwrap();
    read(path).unwrap();
    let mut refused = 0;
    let positions = (0..header).step_by(3);
    let count = positions.len();
    for position in positions {
        let mut damaged = whole.clone();
        damaged[position] ^= if position % 2 == 0 { 0xFF } else { 0x01 };
        fs::write(path, &damaged).unwrap();
        refused += usize::from(read(path).is_err());
    }
    assert!(refused > count / 2, "{refused} of {count}");
}

#[test]
fn damaged_headers_are_errors_or_harmless() {
    let file = gguf::write_fixture("phi3");
    let whole = fs::read(file.path()).unwrap();
    // Tensors are described after all else; names of layers are in nothing but descriptions.
    let last = whole.windows(4).rposition(|part| part == b"blk.").unwrap();
    damage(file.path(), last + 64);

    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixture::folder("phi3").join(name), folder.path().join(name)).unwrap();
    }
    let file = folder.path().join("model.safetensors");
    let length = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(length[..8].try_into().unwrap());
    damage(&file, 8 + usize::try_from(length).unwrap());
}
