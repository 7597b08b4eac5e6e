//! A file on its way: it grows beside its name, survives a restart, and is renamed once it is whole.
use super::{error::FetchError, meter::Meter};
use crate::load::checksum::hexadecimal;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// How much of a file is in memory while it is read again.
const PIECE: usize = 1 << 20;

/// The beginning of a file.
pub(super) struct PartialFile {
    target: PathBuf,
    path: PathBuf,
    /// Holds the tag of the version that this is the beginning of.
    tag_path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
    /// The most that there ever was of it.
    furthest: u64,
    tag: Option<String>,
}

impl PartialFile {
    /// What there is of `target`. Without a tag it is only of use where `checked` is true, because a
    /// checksum will tell what is wrong.
    pub(super) fn open(
        target: &Path,
        checked: bool,
        meter: &Meter<'_>,
    ) -> Result<Self, FetchError> {
        let path = with_suffix(target, ".part");
        let tag_path = with_suffix(target, ".part.tag");
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(storage(folder))?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(storage(&path))?;
        let tag = fs::read_to_string(&tag_path)
            .ok()
            .filter(|tag| !tag.is_empty());
        let mut part = Self {
            target: target.to_owned(),
            path,
            tag_path,
            file,
            hasher: Sha256::new(),
            length: 0,
            furthest: 0,
            tag,
        };
        if part.tag.is_some() || checked {
            part.read_again(meter)?;
        } else {
            part.restart(meter)?;
        }
        Ok(part)
    }

    /// Bytes that are there.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The most bytes that ever were there.
    pub(super) const fn furthest(&self) -> u64 {
        self.furthest
    }

    /// The version that this is the beginning of.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Notes the version that the next bytes are the beginning of.
    pub(super) fn begin(&mut self, tag: Option<String>) -> Result<(), FetchError> {
        fs::write(&self.tag_path, tag.as_deref().unwrap_or_default())
            .map_err(storage(&self.tag_path))?;
        self.tag = tag;
        Ok(())
    }

    /// Adds what came.
    pub(super) fn append(&mut self, bytes: &[u8], meter: &Meter<'_>) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(storage(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        self.furthest = self.furthest.max(self.length);
        meter.came(bytes.len() as u64);
        Ok(())
    }

    /// Forgets what there is.
    pub(super) fn restart(&mut self, meter: &Meter<'_>) -> Result<(), FetchError> {
        let io = |part: &mut Self| {
            part.file.set_len(0)?;
            part.file.seek(SeekFrom::Start(0))
        };
        io(self).map_err(storage(&self.path))?;
        let _ = fs::remove_file(&self.tag_path);
        meter.lost(self.length);
        self.hasher = Sha256::new();
        self.length = 0;
        self.tag = None;
        Ok(())
    }

    /// The SHA-256 of what there is, in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        hexadecimal(&self.hasher.clone().finalize())
    }

    /// It is whole.
    pub(super) fn finish(self) -> Result<(), FetchError> {
        self.file.sync_data().map_err(storage(&self.path))?;
        fs::rename(&self.path, &self.target).map_err(storage(&self.target))?;
        let _ = fs::remove_file(&self.tag_path);
        Ok(())
    }

    fn read_again(&mut self, meter: &Meter<'_>) -> Result<(), FetchError> {
        let mut piece = vec![0; PIECE];
        loop {
            let count = self.file.read(&mut piece).map_err(storage(&self.path))?;
            let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            self.hasher.update(bytes);
            self.length += bytes.len() as u64;
            meter.has(bytes.len() as u64);
        }
        self.furthest = self.length;
        Ok(())
    }
}

/// What went wrong with this file or folder.
pub(super) fn storage(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |problem| FetchError::Storage { path, problem }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_with_a_tag_survives_a_restart_and_one_without_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("q4/a.gguf");
        let meter = Meter::new(&|_| {});
        let mut part = PartialFile::open(&target, false, &meter).unwrap();
        part.begin(Some("\"v1\"".into())).unwrap();
        part.append(b"abc", &meter).unwrap();
        drop(part);
        let mut part = PartialFile::open(&target, false, &meter).unwrap();
        assert_eq!((part.length(), part.tag()), (3, Some("\"v1\"")));
        part.append(b"def", &meter).unwrap();
        assert_eq!(part.sha256(), hexadecimal(&Sha256::digest(b"abcdef")));
        part.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcdef");
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);

        let mut part = PartialFile::open(&target, false, &meter).unwrap();
        part.begin(None).unwrap();
        part.append(b"abc", &meter).unwrap();
        drop(part);
        let part = PartialFile::open(&target, true, &meter).unwrap();
        assert_eq!(part.length(), 3, "a checksum will tell");
        drop(part);
        let part = PartialFile::open(&target, false, &meter).unwrap();
        assert_eq!(part.length(), 0);
    }
}
