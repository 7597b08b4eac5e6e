//! A file on its way: it grows beside its name, survives a restart, and is renamed once it is whole.
use super::{error::FetchError, meter::Meter, pieces::Pieces};
use crate::load::checksum::hexadecimal;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How much of a file is in memory while it is read again.
const BUFFER: usize = 1 << 20;
/// Stands behind the name of a file that is not whole yet.
const PART: &str = ".part";
/// The same, of the version that it is of.
const TAG: &str = ".part.tag";
/// The same, of what there is of its pieces.
const PIECES: &str = ".part.pieces";

/// What there is of a file: its beginning, or pieces of it.
pub(super) struct PartialFile {
    target: PathBuf,
    path: PathBuf,
    /// Holds the tag of the version that this is a part of.
    tag_path: PathBuf,
    /// Says what there is of the pieces. Without it all of the file that is there is its beginning.
    pieces_path: PathBuf,
    file: File,
    hasher: Sha256,
    /// Bytes from the beginning on that the hasher knows.
    hashed: u64,
    /// What comes at the same time; nothing while the file grows from its beginning.
    pieces: Option<Pieces>,
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
        let path = with_suffix(target, PART);
        let tag_path = with_suffix(target, TAG);
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
            pieces_path: with_suffix(target, PIECES),
            file,
            hasher: Sha256::new(),
            hashed: 0,
            pieces: None,
            furthest: 0,
            tag,
        };
        let is_of_use = part.tag.is_some() || checked;
        if !is_of_use || !part.take_up(meter)? {
            part.restart(meter)?;
        }
        Ok(part)
    }

    /// Bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.pieces.as_ref().map_or(self.hashed, Pieces::there)
    }

    /// The most bytes that ever were there.
    pub(super) const fn furthest(&self) -> u64 {
        self.furthest
    }

    /// The version that this is a part of.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// What comes at the same time, where the file is taken apart.
    pub(super) const fn pieces(&self) -> Option<&Pieces> {
        self.pieces.as_ref()
    }

    /// Bytes that are there of a piece and before it.
    pub(super) fn length_of(&self, index: usize) -> u64 {
        self.pieces
            .as_ref()
            .map_or(self.hashed, |pieces| pieces.rest(index).start)
    }

    /// Notes the version that the next bytes are the beginning of.
    pub(super) fn begin(&mut self, tag: Option<String>) -> Result<(), FetchError> {
        fs::write(&self.tag_path, tag.as_deref().unwrap_or_default())
            .map_err(storage(&self.tag_path))?;
        self.tag = tag;
        Ok(())
    }

    /// Adds what came to the beginning.
    pub(super) fn append(&mut self, bytes: &[u8], meter: &Meter<'_>) -> Result<(), FetchError> {
        self.file
            .write_all_at(bytes, self.hashed)
            .map_err(storage(&self.path))?;
        self.hasher.update(bytes);
        self.hashed += bytes.len() as u64;
        self.came(bytes, meter);
        Ok(())
    }

    /// Takes the file apart, which will have `total` bytes: what is missing comes in pieces of `size`.
    pub(super) fn split(&mut self, total: u64, size: u64) -> Result<(), FetchError> {
        self.pieces = Some(Pieces::new(self.hashed, total, size));
        // In this order: the file may have gaps only where there is a note of them.
        self.note()?;
        self.file.set_len(total).map_err(storage(&self.path))
    }

    /// Adds what came of a piece, as much as belongs to it. Says whether the piece is whole.
    pub(super) fn fill(
        &mut self,
        index: usize,
        bytes: &[u8],
        meter: &Meter<'_>,
    ) -> Result<bool, FetchError> {
        let Some(pieces) = &mut self.pieces else {
            return Ok(true);
        };
        let Range { start, end } = pieces.rest(index);
        let most = usize::try_from(end - start).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(most)];
        self.file
            .write_all_at(bytes, start)
            .map_err(storage(&self.path))?;
        pieces.came(index, bytes.len() as u64);
        let is_whole = bytes.len() == most;
        let front = pieces.front();
        self.came(bytes, meter);
        if is_whole {
            self.note()?;
            self.hash(front, |_| {})?;
        }
        Ok(is_whole)
    }

    /// Puts the pieces together, where all are there.
    pub(super) fn join(&mut self) -> Result<(), FetchError> {
        let Some(pieces) = &self.pieces else {
            return Ok(());
        };
        let total = pieces.total();
        if pieces.front() < total {
            return Ok(());
        }
        self.hash(total, |_| {})?;
        self.file.sync_data().map_err(storage(&self.path))?;
        fs::remove_file(&self.pieces_path).map_err(storage(&self.pieces_path))?;
        self.pieces = None;
        Ok(())
    }

    /// Keeps of the pieces what goes on from the beginning without a gap.
    pub(super) fn unsplit(&mut self, meter: &Meter<'_>) -> Result<(), FetchError> {
        let Some(pieces) = &self.pieces else {
            return Ok(());
        };
        let (front, there) = (pieces.front(), pieces.there());
        self.hash(front, |_| {})?;
        // In this order, as above.
        self.file.set_len(front).map_err(storage(&self.path))?;
        fs::remove_file(&self.pieces_path).map_err(storage(&self.pieces_path))?;
        self.pieces = None;
        meter.lost(there - front);
        Ok(())
    }

    /// Forgets what there is.
    pub(super) fn restart(&mut self, meter: &Meter<'_>) -> Result<(), FetchError> {
        meter.lost(self.length());
        self.file.set_len(0).map_err(storage(&self.path))?;
        let _ = fs::remove_file(&self.pieces_path);
        let _ = fs::remove_file(&self.tag_path);
        self.hasher = Sha256::new();
        self.hashed = 0;
        self.pieces = None;
        self.tag = None;
        Ok(())
    }

    /// The SHA-256 of the beginning, in hexadecimal.
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

    /// Notes what there is of the pieces, once it is on the disk.
    fn note(&self) -> Result<(), FetchError> {
        self.file.sync_data().map_err(storage(&self.path))?;
        let new = with_suffix(&self.pieces_path, ".new");
        let text = serde_json::to_vec(&self.pieces).map_err(io::Error::from);
        text.and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &self.pieces_path))
            .map_err(storage(&self.pieces_path))
    }

    /// Goes on with what an earlier process left. Says no where that makes no sense.
    fn take_up(&mut self, meter: &Meter<'_>) -> Result<bool, FetchError> {
        let found = self.file.metadata().map_err(storage(&self.path))?.len();
        let has = |bytes| meter.has(bytes);
        match fs::read(&self.pieces_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.hash(found, has)?,
            Err(_) => return Ok(false),
            Ok(text) => {
                let Some(pieces) = Pieces::parse(&text).filter(|pieces| pieces.total() == found)
                else {
                    return Ok(false);
                };
                self.hash(pieces.front(), has)?;
                meter.has(pieces.there() - self.hashed);
                self.pieces = Some(pieces);
                self.join()?;
            }
        }
        self.furthest = self.length();
        Ok(true)
    }

    /// Reads what is there up to `end` for the checksum, and tells `read` how much that is.
    fn hash(&mut self, end: u64, read: impl Fn(u64)) -> Result<(), FetchError> {
        let mut buffer = vec![0; BUFFER];
        while self.hashed < end {
            let most = usize::try_from(end - self.hashed).map_or(BUFFER, |left| left.min(BUFFER));
            let count = self
                .file
                .read_at(&mut buffer[..most], self.hashed)
                .map_err(storage(&self.path))?;
            if count == 0 {
                let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(storage(&self.path)(error));
            }
            self.hasher.update(&buffer[..count]);
            self.hashed += count as u64;
            read(count as u64);
        }
        Ok(())
    }

    fn came(&mut self, bytes: &[u8], meter: &Meter<'_>) {
        self.furthest = self.furthest.max(self.length());
        meter.came(bytes.len() as u64);
    }
}

/// Bytes that are there of `target`, which is not whole yet.
pub(super) fn there(target: &Path) -> u64 {
    let pieces = fs::read(with_suffix(target, PIECES)).ok();
    if let Some(pieces) = pieces.and_then(|text| Pieces::parse(&text)) {
        return pieces.there();
    }
    fs::metadata(with_suffix(target, PART)).map_or(0, |found| found.len())
}

/// The file that `path` is on its way to.
pub(super) fn target(path: &Path) -> Option<PathBuf> {
    path.to_str()?.strip_suffix(PART).map(PathBuf::from)
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

    /// `abcd`, taken apart behind `ab`, with the last of three pieces and a part of the first.
    fn apart(target: &Path, meter: &Meter<'_>) -> PartialFile {
        let mut part = PartialFile::open(target, false, meter).unwrap();
        part.begin(Some("\"v1\"".into())).unwrap();
        part.append(b"ab", meter).unwrap();
        part.split(13, 4).unwrap();
        assert!(!part.fill(0, b"cd", meter).unwrap());
        assert!(part.fill(2, b"klm, and more", meter).unwrap());
        part
    }

    #[test]
    fn pieces_survive_a_restart_and_become_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        let meter = Meter::new(&|_| {});
        drop(apart(&target, &meter));
        assert_eq!(there(&target), 7, "and not what the file is long");
        let mut part = PartialFile::open(&target, false, &meter).unwrap();
        assert_eq!((part.length(), part.tag()), (7, Some("\"v1\"")));
        assert_eq!(part.pieces().unwrap().missing(), [0, 1]);
        part.fill(1, b"ghij", &meter).unwrap();
        part.fill(0, b"ef", &meter).unwrap();
        part.join().unwrap();
        assert!(part.pieces().is_none());
        assert_eq!(
            part.sha256(),
            hexadecimal(&Sha256::digest(b"abcdefghijklm"))
        );
        part.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"abcdefghijklm");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn of_pieces_that_cannot_be_had_the_beginning_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        let meter = Meter::new(&|_| {});
        let mut part = apart(&target, &meter);
        part.unsplit(&meter).unwrap();
        assert_eq!((part.length(), there(&target)), (4, 4));
        part.append(b"efghijklm", &meter).unwrap();
        assert_eq!(
            part.sha256(),
            hexadecimal(&Sha256::digest(b"abcdefghijklm"))
        );
    }

    #[test]
    fn a_file_with_gaps_is_of_no_use_without_a_note_that_fits_it() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.gguf");
        let meter = Meter::new(&|_| {});
        for damage in ["{", r#"{"from":2,"total":14,"size":4,"filled":[4,4,4]}"#] {
            drop(apart(&target, &meter));
            fs::write(with_suffix(&target, PIECES), damage).unwrap();
            let part = PartialFile::open(&target, true, &meter).unwrap();
            assert_eq!((part.length(), part.tag()), (0, None), "{damage}");
        }
    }
}
