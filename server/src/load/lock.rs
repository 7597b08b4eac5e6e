//! Locks on files, by which processes that share a volume leave each other's files alone.
use std::{fs::File, io, path::Path};

/// Opens the file at `path`, which is there to be locked, and makes it where it is missing.
pub(super) fn open(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Locks the file at `path`, so that no other process begins to use it. Nothing where one does, or
/// where nobody can know because the volume knows no locks.
pub(super) fn if_unused(path: &Path) -> Option<File> {
    // Some network file systems lock only what may be written.
    let file = File::options().read(true).write(true).open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_used_is_not_locked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let using = File::open(file.path()).unwrap();
        using.lock_shared().unwrap();
        assert!(if_unused(file.path()).is_none());
        drop(using);
        assert!(if_unused(file.path()).is_some());
    }
}
