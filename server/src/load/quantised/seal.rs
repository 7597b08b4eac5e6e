//! The last bytes of a file, which say what all bytes before them are.
use crate::load::checksum::percent;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Bytes of a seal.
const LENGTH: usize = 32;
/// Bytes that one thread digests at a time.
const CHUNK: usize = 4 << 20;
/// Chunks between two reports of progress.
const CHUNKS: usize = 16;

/// The SHA-256 of the SHA-256 of each chunk, which all cores compute together. `progress` is told the
/// percentage done.
pub(super) fn of(bytes: &[u8], progress: &dyn Fn(u8)) -> [u8; LENGTH] {
    let mut whole = Sha256::new();
    let mut done = 0;
    for group in bytes.chunks(CHUNK * CHUNKS) {
        let digests: Vec<_> = group.par_chunks(CHUNK).map(Sha256::digest).collect();
        for digest in digests {
            whole.update(digest);
        }
        done += group.len() as u64;
        progress(percent(done, bytes.len() as u64));
    }
    whole.finalize().into()
}

/// Whether `sealed` ends with the seal of what is before it.
pub(super) fn is_right(sealed: &[u8], progress: &dyn Fn(u8)) -> bool {
    let parts = sealed.split_last_chunk::<LENGTH>();
    parts.is_some_and(|(bytes, seal)| of(bytes, progress) == *seal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_length_are_sealed() {
        let mut sealed: Vec<u8> = (0..=250).cycle().take(2 * CHUNK + 1).collect();
        sealed.extend(of(&sealed, &|_| {}));
        assert!(is_right(&sealed, &|_| {}));
        for position in [0, CHUNK - 1, CHUNK, 2 * CHUNK, 2 * CHUNK + 1] {
            sealed[position] ^= 1;
            assert!(!is_right(&sealed, &|_| {}), "changed at {position}");
            sealed[position] ^= 1;
        }
        for length in [0, LENGTH - 1, LENGTH, CHUNK, sealed.len() - 1] {
            assert!(!is_right(&sealed[..length], &|_| {}), "cut at {length}");
        }
    }
}
