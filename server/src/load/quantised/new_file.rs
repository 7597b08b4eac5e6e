//! A file that is seen by its name once it is whole, and leaves nothing where it does not become so.
use super::seal;
use candlepower_kernels::MappedFile;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Stands behind the name of a file that is not whole yet.
pub(super) const SUFFIX: &str = "new";
/// Bytes that may wait to be written to the disk: they count as the container's memory.
const WAITING: usize = 64 << 20;

/// A file on its way, beside the place where it belongs.
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    waiting: usize,
}

impl NewFile {
    /// Begins what will be `target`. No other process writes to the same file.
    pub(super) fn beside(target: &Path) -> io::Result<Self> {
        let path = target.with_extension(format!("{}.{SUFFIX}", Uuid::new_v4().simple()));
        Ok(Self {
            file: File::create_new(&path)?,
            path,
            waiting: 0,
        })
    }

    /// Seals it, and gives it its name once all of it is on the disk.
    pub(super) fn finish(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_data()?;
        let seal = seal::of(&MappedFile::open(&self.path)?, &|_| {});
        self.file.write_all(&seal)?;
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        // So that the name is on the disk, too. Not every file system knows that.
        if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(&bytes[..bytes.len().min(WAITING)])?;
        self.waiting += written;
        if self.waiting >= WAITING {
            self.file.sync_data()?;
            self.waiting = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // A finished one has no file of this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_finished_file_is_sealed_and_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        let mut file = NewFile::beside(&target).unwrap();
        file.write_all(b"weights").unwrap();
        assert!(!target.exists());
        file.finish(&target).unwrap();
        assert_eq!(names(folder.path()), ["a.gguf"]);
        let content = fs::read(&target).unwrap();
        assert!(content.starts_with(b"weights") && seal::is_right(&content, &|_| {}));
    }

    #[test]
    fn what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        let mut file = NewFile::beside(&target).unwrap();
        file.write_all(b"weights").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn two_that_will_be_the_same_file_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        let mut one = NewFile::beside(&target).unwrap();
        let mut other = NewFile::beside(&target).unwrap();
        one.write_all(b"one").unwrap();
        other.write_all(b"another").unwrap();
        one.finish(&target).unwrap();
        other.finish(&target).unwrap();
        assert!(fs::read(&target).unwrap().starts_with(b"another"));
        assert_eq!(names(folder.path()), ["a.gguf"]);
    }
}
