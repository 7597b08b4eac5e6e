//! SHA-256 of a model file, against the one in the resource.
use super::error::LoadError;
use sha2::{Digest, Sha256};
use std::{fmt::Write, path::Path};

/// Bytes between two reports of progress.
const CHUNK: usize = 8 << 20;

/// Checks that `bytes`, the contents of `path`, have the checksum `expected`. `progress` is told
/// the percentage done.
pub fn verify(
    path: &Path,
    bytes: &[u8],
    expected: &str,
    progress: &dyn Fn(u8),
) -> Result<(), LoadError> {
    let mut hasher = Sha256::new();
    let mut done = 0;
    for chunk in bytes.chunks(CHUNK) {
        hasher.update(chunk);
        done += chunk.len();
        progress(percent(done as u64, bytes.len() as u64));
    }
    let actual = hexadecimal(&hasher.finalize());
    if actual.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(LoadError::ChecksumMismatch {
        path: path.to_owned(),
        expected: expected.to_owned(),
        actual,
    })
}

/// Bytes as people write them.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `done` of `total` as a whole percentage.
pub(super) fn percent(done: u64, total: u64) -> u8 {
    u8::try_from(done.saturating_mul(100) / total.max(1))
        .unwrap_or(100)
        .min(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_right_checksum_passes_in_either_case() {
        let seen = RefCell::new(Vec::new());
        verify(Path::new("f"), b"abc", OF_ABC, &|percent| {
            seen.borrow_mut().push(percent);
        })
        .unwrap();
        verify(Path::new("f"), b"abc", &OF_ABC.to_uppercase(), &|_| {}).unwrap();
        assert_eq!(*seen.borrow(), [100]);
    }

    #[test]
    fn a_wrong_checksum_names_both() {
        let error = verify(Path::new("f"), b"abd", OF_ABC, &|_| {})
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(OF_ABC) && error.contains("download the file again"),
            "{error}"
        );
    }
}
