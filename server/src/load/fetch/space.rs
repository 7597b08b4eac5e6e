//! Whether a volume has room for what is to come.
use super::{error::FetchError, part::storage};
use candlepower_api::value::ByteSize;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Fails where fewer than `needed` bytes are free in `folder`.
pub(super) fn check(folder: &Path, needed: u64) -> Result<(), FetchError> {
    let found = statvfs(folder).map_err(|error| storage(folder)(error.into()))?;
    // Some network file systems do not tell.
    if found.blocks() == 0 {
        return Ok(());
    }
    let free = found
        .blocks_available()
        .saturating_mul(found.fragment_size());
    if needed <= free {
        return Ok(());
    }
    Err(FetchError::NoRoom {
        folder: folder.to_owned(),
        needed: ByteSize::new(needed),
        free: ByteSize::new(free),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_with_the_figures() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), 1).unwrap();
        let error = check(folder.path(), 1 << 60).unwrap_err().to_string();
        assert!(error.contains("spec.cache.size"), "{error}");
    }
}
