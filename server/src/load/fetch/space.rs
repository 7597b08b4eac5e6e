//! Whether a volume has room for what is to come.
use super::{error::FetchError, part::storage};
use candlepower_api::value::ByteSize;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Bytes that are free in `folder`. Some network file systems do not tell, and count as endless.
pub(super) fn free(folder: &Path) -> Result<u64, FetchError> {
    let found = statvfs(folder).map_err(|error| storage(folder)(error.into()))?;
    if found.blocks() == 0 {
        return Ok(u64::MAX);
    }
    let free = found.blocks_available();
    Ok(free.saturating_mul(found.fragment_size()))
}

/// Fails where `free` bytes in `folder` are fewer than are needed.
pub(super) fn check(folder: &Path, needed: u64, free: u64) -> Result<(), FetchError> {
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
        let free = free(folder.path()).unwrap();
        check(folder.path(), 1, free).unwrap();
        let error = check(folder.path(), 1 << 60, free).unwrap_err().to_string();
        assert!(error.contains("spec.cache.size"), "{error}");
    }
}
