//! Opens a model's files, with errors that say what is wrong with the path.
use super::error::LoadError;
use candlepower_kernels::MappedFile;
use std::path::Path;

/// Larger files of settings are damage.
const MOST_BYTES: u64 = 32 << 20;

/// The text of the file of settings at `path`.
pub(super) fn text(path: &Path) -> Result<String, LoadError> {
    let io = |error| LoadError::from_io(path, error);
    if std::fs::metadata(path).map_err(io)?.len() > MOST_BYTES {
        return Err(LoadError::corrupt(path, "it is far too long"));
    }
    std::fs::read_to_string(path).map_err(io)
}

/// Maps the file at `path`, which is neither a folder nor empty.
pub(super) fn map(path: &Path) -> Result<MappedFile, LoadError> {
    let found = std::fs::metadata(path).map_err(|error| LoadError::from_io(path, error))?;
    if !found.is_file() {
        return Err(LoadError::InvalidConfiguration(format!(
            "{} is not a file: write the path of a GGUF file, a safetensors file or a model's folder into model.source",
            path.display()
        )));
    }
    if found.len() == 0 {
        return Err(LoadError::corrupt(path, "it is empty"));
    }
    MappedFile::open(path).map_err(|error| LoadError::from_io(path, error))
}
