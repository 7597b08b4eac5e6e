//! A file's bytes without a copy, for reading weights.
use memmap2::Mmap;
use std::{fs::File, io, ops::Deref, path::Path};

/// A file mapped read-only into memory. Its pages come from the page cache and can be dropped by
/// the kernel at any time, so they do not add to what the process holds.
#[derive(Debug)]
pub struct MappedFile(Mmap);

impl MappedFile {
    /// Maps the whole file at `path`.
    ///
    /// The file must not be truncated while it is mapped: reading past its new end would end the
    /// process by SIGBUS. Model files are replaced by renaming, never rewritten in place.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is private and read-only, so this process cannot change it; that
        // nobody else rewrites the file is the caller's part of the contract above.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self(map))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_bytes_are_the_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"weights").unwrap();
        assert_eq!(&*MappedFile::open(file.path()).unwrap(), b"weights");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert_eq!(
            MappedFile::open(Path::new("/no/such/file"))
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
    }
}
