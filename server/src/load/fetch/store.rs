//! The folder of fetched models: one entry for each source, whole or on its way, for all replicas.
use super::{
    download::Fetched,
    error::FetchError,
    evict,
    meter::Meter,
    part::{self, storage, with_suffix},
};
use crate::load::{checksum::hexadecimal, lock};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// Says that an entry is whole, and what it is.
pub(super) const RECORD: &str = "entry.json";
/// Says how much there will be, for those who wait.
pub(super) const PLAN: &str = "plan.json";
/// Held by the process that fetches.
pub(super) const LOCK: &str = "lock";
/// Held by every process that serves the model, and as old as its last use.
pub(super) const USE: &str = "use";
/// The model's files.
pub(super) const FILES: &str = "files";
/// What was made of them.
pub(super) const MADE: &str = "quantised";
/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(500);
/// Longest part of an entry's name that is for people.
const LONGEST: usize = 60;

/// What an entry is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Key {
    pub(super) source: String,
    pub(super) revision: Option<String>,
    /// The pattern, or the tokenizer alone.
    pub(super) part: Option<String>,
}

/// An entry that is whole.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Record {
    pub(super) key: Key,
    /// The commit or digest.
    pub(super) version: Option<String>,
    pub(super) files: Vec<Fetched>,
    /// What to open in the folder; empty for all of it.
    pub(super) open: String,
}

impl Record {
    /// The file of the weights, where there is only one.
    pub(super) fn opened(&self) -> Option<&Fetched> {
        self.files.iter().find(|file| file.name == self.open)
    }

    /// The SHA-256 of all that was fetched.
    pub(super) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for file in &self.files {
            hasher.update(format!("{} {}\n", file.sha256, file.name));
        }
        hexadecimal(&hasher.finalize())
    }
}

#[derive(Deserialize, Serialize)]
struct Plan {
    bytes: u64,
}

/// An entry's folder.
#[derive(Debug)]
pub(super) struct Entry {
    folder: PathBuf,
}

impl Entry {
    pub(super) fn new(cache: &Path, key: &Key) -> Self {
        Self {
            folder: cache.join(folder_name(key)),
        }
    }

    /// Where the files are.
    pub(super) fn files(&self) -> PathBuf {
        self.folder.join(FILES)
    }

    /// Where what is made of the files may be kept.
    pub(super) fn made(&self) -> PathBuf {
        self.folder.join(MADE)
    }

    /// Makes room for so many more bytes.
    pub(super) fn make_room(&self, needed: u64) -> Result<(), FetchError> {
        evict::make_room(&self.folder, needed)
    }

    /// What to open of a whole entry.
    pub(super) fn path(&self, record: &Record) -> PathBuf {
        let files = self.files();
        if record.open.is_empty() {
            files
        } else {
            files.join(&record.open)
        }
    }

    /// What is there, where it is whole.
    pub(super) fn record(&self) -> Option<Record> {
        let text = fs::read_to_string(self.folder.join(RECORD)).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        let is_whole = |file: &Fetched| {
            fs::metadata(self.files().join(&file.name))
                .is_ok_and(|found| found.is_file() && found.len() == file.size)
        };
        record.files.iter().all(is_whole).then_some(record)
    }

    /// Makes the folder, and waits until nobody else fetches into it.
    pub(super) async fn lock(&self, meter: &Meter<'_>) -> Result<Lock, FetchError> {
        let files = self.files();
        fs::create_dir_all(&files).map_err(storage(&files))?;
        let path = self.folder.join(LOCK);
        let file = lock::open(&path).map_err(storage(&path))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(Some(file))),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        %error,
                        "the volume knows no locks: replicas that start together fetch the model more than once"
                    );
                    return Ok(Lock(None));
                }
            }
            if !told {
                tracing::info!(folder = %self.folder.display(), "another process fetches the model; waiting for it");
                told = true;
            }
            self.follow(meter);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Keeps the entry from being removed for as long as what this gives lives, and notes that it is
    /// used. A volume that cannot be written or knows no locks loses nothing anyway.
    pub(super) async fn hold(&self) -> InUse {
        let Ok(file) = lock::open(&self.folder.join(USE)) else {
            return InUse::default();
        };
        loop {
            match file.try_lock_shared() {
                Ok(()) => break,
                // Whoever removes it is done soon.
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
                Err(TryLockError::Error(_)) => return InUse::default(),
            }
        }
        let _ = file.set_modified(SystemTime::now());
        InUse(vec![file])
    }

    /// Says how much there will be.
    pub(super) fn plan(&self, bytes: u64) -> Result<(), FetchError> {
        self.write(PLAN, &Plan { bytes })
    }

    /// Says that the entry is whole.
    pub(super) fn complete(&self, record: &Record) -> Result<(), FetchError> {
        self.write(RECORD, record)
    }

    /// Says that it is not whole any more.
    pub(super) fn forget(&self) {
        let _ = fs::remove_file(self.folder.join(RECORD));
    }

    /// Tells how far somebody else is.
    fn follow(&self, meter: &Meter<'_>) {
        let plan = fs::read_to_string(self.folder.join(PLAN)).ok();
        let plan: Option<Plan> = plan.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(plan) = plan {
            meter.follow(size(&self.files()), plan.bytes);
        }
    }

    /// Replaces a file at once, so that nobody reads half of it.
    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), FetchError> {
        let path = self.folder.join(name);
        let new = with_suffix(&path, ".new");
        let text = serde_json::to_vec(content).map_err(io::Error::from);
        text.and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(storage(&path))
    }
}

/// Held while fetching; a process that ends lets go of it.
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not used")] Option<File>);

/// Keeps entries of the folder from being removed while it lives.
#[derive(Debug, Default)]
pub struct InUse(Vec<File>);

impl InUse {
    /// What `other` keeps, too.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

/// Bytes that are there in a folder and its folders.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()),
        Ok(found) => {
            // It may be as long as the whole file and have gaps.
            part::target(&entry.path()).map_or(found.len(), |target| part::there(&target))
        }
        Err(_) => 0,
    });
    sizes.sum()
}

/// A name that people recognise, and that no other key has.
fn folder_name(key: &Key) -> String {
    let revision = key.revision.as_deref().unwrap_or_default();
    let part = key.part.as_deref().unwrap_or_default();
    let digest = Sha256::digest(format!("{}\n{revision}\n{part}", key.source));
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    // What stands behind `?` may be a signature.
    let source = key.source.split('?').next().unwrap_or_default();
    let readable: String = source
        .replace("://", "-")
        .chars()
        .map(|letter| if fits(letter) { letter } else { '-' })
        .take(LONGEST)
        .collect();
    format!("{readable}-{:016x}", u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(source: &str, revision: Option<&str>) -> Key {
        Key {
            source: source.into(),
            revision: revision.map(str::to_owned),
            part: None,
        }
    }

    #[test]
    fn entries_have_names_of_their_own_without_signatures() {
        let name = folder_name(&key("https://host/a b.gguf?signature=x", None));
        assert!(name.starts_with("https-host-a-b.gguf-"), "{name}");
        assert!(!name.contains("signature"), "{name}");
        assert_ne!(
            folder_name(&key("hf://a/b", None)),
            folder_name(&key("hf://a/b", Some("v1")))
        );
    }

    #[test]
    fn an_entry_is_whole_only_while_all_its_files_are() {
        let cache = tempfile::tempdir().unwrap();
        let key = key("hf://a/b", None);
        let entry = Entry::new(cache.path(), &key);
        fs::create_dir_all(entry.files()).unwrap();
        fs::write(entry.files().join("a.gguf"), b"abc").unwrap();
        let record = Record {
            key,
            version: None,
            files: vec![Fetched {
                name: "a.gguf".into(),
                size: 3,
                sha256: String::new(),
                tag: None,
            }],
            open: "a.gguf".into(),
        };
        assert_eq!(entry.record(), None);
        entry.complete(&record).unwrap();
        assert_eq!(entry.record(), Some(record));
        fs::write(entry.files().join("a.gguf"), b"ab").unwrap();
        assert_eq!(entry.record(), None);
    }
}
