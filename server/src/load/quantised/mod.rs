//! Weights that were quantised while a model was loaded, kept beside what was fetched of it, so that a
//! restart and a second replica read them as they are.
mod layout;
mod new_file;
mod seal;

use self::{
    layout::{Described, Layout},
    new_file::{NewFile, SUFFIX},
};
use super::{
    checksum::{hexadecimal, percent},
    error::LoadError,
    fetch::{FetchError, Kept},
    formats::{convert, format_name, is_float},
    gguf::GgufFile,
    lock,
    precision::FormatPlan,
    source::WeightSource,
};
use crate::model::{DecoderWeights, WeightTensor};
use candlepower_api::value::ByteSize;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// To be raised where the same weights become other bytes.
const VERSION: u32 = 1;
/// The pair of the header that says what the file is made of.
const KEY: &str = "candlepower.key";
/// Held by the process that quantises.
const LOCK: &str = "lock";
/// How often those who wait for it look.
const LOOK: Duration = Duration::from_millis(500);
/// How long another process may get no further until it is not waited for any more.
const STALLED: Duration = Duration::from_secs(60);

/// Why weights are not kept. The model is served without.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    /// The volume is too small for them, or cannot be asked.
    #[error(transparent)]
    Room(#[from] FetchError),
    /// The system refuses.
    #[error("{}: {problem}", path.display())]
    Storage { path: PathBuf, problem: io::Error },
    /// What is there cannot be read.
    #[error(transparent)]
    File(#[from] LoadError),
    /// What is there is damaged.
    #[error("{} is damaged or not what its name says", .0.display())]
    Damaged(PathBuf),
    /// Somebody else does it, and gets no further.
    #[error("another process quantises them, and gets no further")]
    Stalled,
}

/// Quantised weights out of the cache.
pub(super) struct QuantisedCopy {
    file: GgufFile,
    /// Keeps others from removing the file while it is read.
    _lock: File,
}

impl QuantisedCopy {
    /// Where the weights are stored, by the names that they have in the model's own files.
    pub(super) fn weights(&self) -> &dyn WeightSource {
        &self.file
    }
}

/// What `plan` makes of `weights`, out of the cache, where it is put if it is not there. Nothing where
/// the plan quantises nothing, or where that cannot be kept. `progress` is told the percentage done.
pub(super) fn copy_of(
    weights: &DecoderWeights<'_>,
    plan: FormatPlan,
    kept: &Kept,
    progress: &dyn Fn(u8),
) -> Option<QuantisedCopy> {
    let found = Wanted::new(weights, plan, kept).map(|wanted| wanted.find_or_make(progress))?;
    match found {
        Ok(copy) => Some(copy),
        Err(problem) => {
            tracing::warn!(%problem, "the quantised weights cannot be kept, and are quantised again at the next start");
            None
        }
    }
}

/// A file of quantised weights that is to be there.
struct Wanted<'a> {
    path: PathBuf,
    /// All that its content depends on.
    key: String,
    /// What the names of files of the same precision begin with.
    prefix: String,
    tensors: Vec<WeightTensor<'a>>,
    layout: Layout,
    kept: &'a Kept,
}

impl<'a> Wanted<'a> {
    fn new(weights: &DecoderWeights<'a>, plan: FormatPlan, kept: &'a Kept) -> Option<Self> {
        let FormatPlan::Into(format) = plan else {
            return None;
        };
        // Floats into floats is no work, and the result would be as long as what is there.
        if is_float(format) {
            return None;
        }
        let tensors = weights.tensors(plan).ok()?;
        let key = format!("{VERSION} {} {}", format_name(format), kept.digest);
        let described: Vec<_> = tensors.iter().map(described).collect();
        let architecture = weights.spec().architecture.as_str();
        let texts = [("general.architecture", architecture), (KEY, key.as_str())];
        let layout = Layout::new(&texts, &described)?;
        let prefix = format!("{}-", format_name(format));
        let digest = hexadecimal(&Sha256::digest(&key)[..8]);
        Some(Self {
            path: kept.made.join(format!("{prefix}{digest}.gguf")),
            key,
            prefix,
            tensors,
            layout,
            kept,
        })
    }

    fn find_or_make(&self, progress: &dyn Fn(u8)) -> Result<QuantisedCopy, CopyError> {
        let folder = &self.kept.made;
        fs::create_dir_all(folder).map_err(storage(folder))?;
        if let Some(copy) = self.find(progress) {
            return Ok(copy);
        }
        let lock = self.lock(progress)?;
        // Whoever held the lock before may have made it.
        if let Some(copy) = self.find(progress) {
            return Ok(copy);
        }
        // Without locks nobody knows what others write and read.
        if lock.is_some() {
            self.tidy();
        }
        self.make(progress)?;
        self.open()
    }

    /// What is there, where it is whole.
    fn find(&self, progress: &dyn Fn(u8)) -> Option<QuantisedCopy> {
        if !self.path.exists() {
            return None;
        }
        let found = self.open().and_then(|copy| {
            if seal::is_right(copy.file.bytes(), progress) {
                Ok(copy)
            } else {
                Err(CopyError::Damaged(self.path.clone()))
            }
        });
        match found {
            Ok(copy) => {
                tracing::info!(path = %self.path.display(), "the quantised weights come from the cache");
                Some(copy)
            }
            Err(problem) => {
                tracing::warn!(%problem, "the quantised weights in the cache are of no use, and are made anew");
                None
            }
        }
    }

    /// What is there, which may be damaged.
    fn open(&self) -> Result<QuantisedCopy, CopyError> {
        let lock = File::open(&self.path).map_err(storage(&self.path))?;
        if matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            // It is being removed.
            return Err(storage(&self.path)(io::ErrorKind::NotFound.into()));
        }
        // Says when it was used last.
        let _ = lock.set_modified(SystemTime::now());
        let file = GgufFile::open(&self.path)?;
        let mut is_wanted = file.metadata().text(KEY) == Some(self.key.as_str());
        for tensor in &self.tensors {
            let found = file.tensor(&tensor.name)?;
            is_wanted &= found.is_some_and(|found| {
                found.format == tensor.format && found.dimensions == tensor.stored.dimensions
            });
        }
        if is_wanted {
            Ok(QuantisedCopy { file, _lock: lock })
        } else {
            Err(CopyError::Damaged(self.path.clone()))
        }
    }

    /// Waits until no other process quantises the model. Nothing where the volume knows no locks.
    fn lock(&self, progress: &dyn Fn(u8)) -> Result<Option<File>, CopyError> {
        let path = self.kept.made.join(LOCK);
        let file = lock::open(&path).map_err(storage(&path))?;
        let mut furthest: Option<(u64, Instant)> = None;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => return Ok(None),
            }
            let there = self.on_its_way();
            if furthest.is_none() {
                tracing::info!("another process quantises the weights; waiting for it");
            }
            match furthest {
                Some((bytes, since)) if bytes == there => {
                    if since.elapsed() > STALLED {
                        return Err(CopyError::Stalled);
                    }
                }
                _ => furthest = Some((there, Instant::now())),
            }
            progress(percent(there, self.layout.bytes()));
            thread::sleep(LOOK);
        }
    }

    /// Bytes that another process has written.
    fn on_its_way(&self) -> u64 {
        files(&self.kept.made)
            .filter(|path| is_new(path))
            .filter_map(|path| fs::metadata(path).ok())
            .map(|found| found.len())
            .max()
            .unwrap_or_default()
    }

    /// Removes what processes that were stopped left, and what has become of no use: of other files, by
    /// an earlier version, or damaged.
    fn tidy(&self) {
        let is_outdated = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&self.prefix) && lock::if_unused(path).is_some()
        };
        for path in files(&self.kept.made) {
            if (is_new(&path) || is_outdated(&path)) && fs::remove_file(&path).is_ok() {
                tracing::info!(path = %path.display(), "quantised weights of no use are removed");
            }
        }
    }

    fn make(&self, progress: &dyn Fn(u8)) -> Result<(), CopyError> {
        let bytes = self.layout.bytes();
        self.kept.check_room(bytes)?;
        tracing::info!(
            path = %self.path.display(),
            size = ByteSize::new(bytes).human(),
            "the weights are quantised, and kept in the cache"
        );
        let total: u64 = self.tensors.iter().map(stored_bytes).sum();
        let mut done = 0;
        let tensors = self.tensors.iter().map(|tensor| {
            progress(percent(done, total));
            done += stored_bytes(tensor);
            let stored = &tensor.stored;
            convert(stored.bytes, stored.format, tensor.format).map_err(io::Error::other)
        });
        let written = NewFile::beside(&self.path).and_then(|mut file| {
            self.layout.write(&mut file, tensors)?;
            file.finish(&self.path)
        });
        written.map_err(storage(&self.path))
    }
}

fn described<'a>(tensor: &'a WeightTensor<'_>) -> Described<'a> {
    Described {
        name: &tensor.name,
        dimensions: tensor.stored.dimensions,
        format: tensor.format,
    }
}

const fn stored_bytes(tensor: &WeightTensor<'_>) -> u64 {
    tensor.stored.bytes.len() as u64
}

/// The files in a folder.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Whether it is a file on its way.
fn is_new(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == SUFFIX)
}

fn storage(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.to_owned();
    move |problem| CopyError::Storage { path, problem }
}

#[cfg(test)]
mod tests;
