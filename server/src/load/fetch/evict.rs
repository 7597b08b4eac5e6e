//! Makes room in the folder of fetched models: what no process uses goes, and what was not used for
//! longest goes first.
use super::{
    error::FetchError,
    space,
    store::{FILES, LOCK, MADE, PLAN, RECORD, USE},
};
use crate::load::lock;
use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The unit in which a file system counts what a file takes.
const SECTOR: u64 = 512;

/// Makes room for `needed` more bytes of the entry in the folder `own`, which keeps its files.
/// Nothing is removed where even all of it would not be enough.
pub(super) fn make_room(own: &Path, needed: u64) -> Result<(), FetchError> {
    make_room_in(own, needed, space::free(own)?)
}

fn make_room_in(own: &Path, needed: u64, free: u64) -> Result<(), FetchError> {
    if needed <= free {
        return Ok(());
    }
    let mut unused = unused(own);
    let removable: u64 = unused.iter().map(|unused| unused.bytes).sum();
    if needed > free.saturating_add(removable) {
        return space::check(own, needed, free);
    }
    // What can be made again from what is there goes before what would have to be fetched.
    unused.sort_by_key(|unused| (unused.is_model, unused.used));
    let mut room = free;
    for unused in unused {
        if needed <= room {
            break;
        }
        room = room.saturating_add(unused.remove());
    }
    space::check(own, needed, room)
}

/// What no process uses, and none can begin to use while this lives.
struct Unused {
    /// A whole entry, or a file that was made of one.
    is_model: bool,
    folder: PathBuf,
    parts: Vec<PathBuf>,
    bytes: u64,
    used: SystemTime,
    _locks: Vec<File>,
}

/// What could go, of all entries beside `own`, and what was made of any.
fn unused(own: &Path) -> Vec<Unused> {
    let mut unused = Vec::new();
    for folder in entries(own.parent().unwrap_or(own)) {
        let is_own = folder == own;
        if !is_own && !is_entry(&folder) {
            continue;
        }
        if let Some(model) = (!is_own).then(|| Unused::model(&folder)).flatten() {
            unused.push(model);
            continue;
        }
        // A model in use keeps its files, but not what was made of them for another precision.
        let made = entries(&folder.join(MADE));
        unused.extend(made.filter_map(|path| Unused::made(&folder, path)));
    }
    unused
}

impl Unused {
    fn model(folder: &Path) -> Option<Self> {
        let used = last_use(folder)?;
        let fetching = lock::if_unused(&folder.join(LOCK))?;
        // Entries of earlier versions have none.
        let using = lock::open(&folder.join(USE)).ok()?;
        using.try_lock().ok()?;
        let _ = using.set_modified(used);
        // In this order: what is removed by half is not whole.
        let parts: Vec<_> = [RECORD, PLAN, FILES, MADE]
            .map(|name| folder.join(name))
            .into();
        Some(Self {
            is_model: true,
            folder: folder.to_owned(),
            bytes: parts.iter().map(|part| taken(part)).sum(),
            parts,
            used,
            _locks: vec![fetching, using],
        })
    }

    fn made(folder: &Path, path: PathBuf) -> Option<Self> {
        let used = fs::metadata(&path).ok()?.modified().ok()?;
        if path.extension()? != "gguf" {
            return None;
        }
        let lock = lock::if_unused(&path)?;
        Some(Self {
            is_model: false,
            folder: folder.to_owned(),
            bytes: taken(&path),
            parts: vec![path],
            used,
            _locks: vec![lock],
        })
    }

    /// Removes it, and gives back how many bytes that brings.
    fn remove(self) -> u64 {
        let what = if self.is_model {
            "a fetched model"
        } else {
            "quantised weights"
        };
        let idle = self.used.elapsed().unwrap_or_default().as_secs();
        for part in &self.parts {
            if let Err(error) = remove(part) {
                tracing::warn!(path = %part.display(), %error, "what no process uses cannot be removed");
                return 0;
            }
        }
        tracing::info!(
            folder = %self.folder.display(),
            bytes = self.bytes,
            seconds_unused = idle,
            "{what} that no process uses is removed to make room"
        );
        self.bytes
    }
}

/// Only what a server made is touched: the volume may hold things of others.
fn is_entry(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    folder.join(FILES).is_dir() && has(LOCK) && (has(RECORD) || has(PLAN))
}

/// When a process last began to serve or fetch it.
fn last_use(folder: &Path) -> Option<SystemTime> {
    let found = [USE, RECORD, PLAN]
        .iter()
        .find_map(|name| fs::metadata(folder.join(name)).ok())?;
    found.modified().ok()
}

/// Everything in a folder, without what links lead to.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
}

/// What a file or folder takes on the volume; a file with gaps takes less than it is long.
fn taken(path: &Path) -> u64 {
    let own = fs::symlink_metadata(path);
    let own = own.as_ref().map_or(0, Metadata::blocks) * SECTOR;
    own + entries(path).map(|path| taken(&path)).sum::<u64>()
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const KIB: u64 = 1 << 10;
    /// The files of an entry.
    const LENGTH: u64 = 256 * KIB;

    /// A folder with entries.
    struct Cache(tempfile::TempDir);

    impl Cache {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn entry(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// An entry that was used so many hours ago.
        fn with(&self, name: &str, hours: u64) -> PathBuf {
            let folder = self.entry(name);
            fs::create_dir_all(folder.join(FILES)).unwrap();
            fs::write(folder.join(FILES).join("a.gguf"), content()).unwrap();
            for note in [LOCK, RECORD] {
                fs::write(folder.join(note), "{}").unwrap();
            }
            age(&folder.join(USE), hours);
            folder
        }

        fn make_room(&self, needed: u64, free: u64) -> Result<(), FetchError> {
            let own = self.entry("own");
            fs::create_dir_all(&own).unwrap();
            make_room_in(&own, needed, free)
        }
    }

    fn content() -> Vec<u8> {
        vec![7; usize::try_from(LENGTH).unwrap()]
    }

    /// Makes a file that was changed so many hours ago.
    fn age(path: &Path, hours: u64) {
        let file = File::options().create(true).append(true).open(path);
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.unwrap().set_modified(then).unwrap();
    }

    fn is_whole(folder: &Path) -> bool {
        folder.join(RECORD).is_file() && folder.join(FILES).join("a.gguf").is_file()
    }

    #[test]
    fn what_fits_removes_nothing() {
        let cache = Cache::new();
        let other = cache.with("other", 5);
        cache.make_room(KIB, KIB).unwrap();
        assert!(is_whole(&other));
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_no_more_than_is_needed() {
        let cache = Cache::new();
        let [newer, oldest, newest] =
            [("a", 5), ("b", 9), ("c", 1)].map(|(name, hours)| cache.with(name, hours));
        cache.make_room(LENGTH, 0).unwrap();
        assert!(!oldest.join(FILES).exists() && !oldest.join(RECORD).exists());
        assert!(is_whole(&newer) && is_whole(&newest));
        cache.make_room(2 * LENGTH, LENGTH).unwrap();
        assert!(!is_whole(&newer) && is_whole(&newest));
    }

    #[test]
    fn what_a_process_serves_or_fetches_stays() {
        let cache = Cache::new();
        let serves = cache.with("serves", 9);
        let fetches = cache.with("fetches", 8);
        let idle = cache.with("idle", 1);
        let using = File::open(serves.join(USE)).unwrap();
        using.try_lock_shared().unwrap();
        let fetching = File::open(fetches.join(LOCK)).unwrap();
        fetching.try_lock().unwrap();
        cache.make_room(LENGTH, 0).unwrap();
        assert!(is_whole(&serves) && is_whole(&fetches) && !is_whole(&idle));
        let refused = cache.make_room(LENGTH, 0).unwrap_err();
        assert!(matches!(refused, FetchError::NoRoom { .. }), "{refused}");
        drop(using);
        cache.make_room(LENGTH, 0).unwrap();
        assert!(!is_whole(&serves) && is_whole(&fetches));
    }

    #[test]
    fn nothing_goes_where_that_would_not_be_enough() {
        let cache = Cache::new();
        let other = cache.with("other", 5);
        let refused = cache.make_room(1 << 40, 2048 * KIB).unwrap_err();
        assert!(
            refused.to_string().contains("2.0 MiB are free"),
            "{refused}"
        );
        assert!(is_whole(&other));
    }

    #[test]
    fn of_a_model_in_use_only_what_was_made_of_it_goes() {
        let cache = Cache::new();
        let idle = cache.with("idle", 9);
        let serves = cache.with("serves", 5);
        fs::create_dir_all(serves.join(MADE)).unwrap();
        let made = ["q4_0.gguf", "q8_0.gguf"].map(|name| serves.join(MADE).join(name));
        for path in &made {
            fs::write(path, content()).unwrap();
        }
        let using = File::open(serves.join(USE)).unwrap();
        using.try_lock_shared().unwrap();
        let reading = File::open(&made[1]).unwrap();
        reading.try_lock_shared().unwrap();
        cache.make_room(LENGTH, 0).unwrap();
        assert!(is_whole(&serves) && is_whole(&idle));
        assert!(!made[0].exists() && made[1].exists());
    }

    #[test]
    fn what_is_fetched_anew_keeps_its_files_and_not_what_was_made_of_them() {
        let cache = Cache::new();
        let own = cache.with("own", 5);
        fs::create_dir_all(own.join(MADE)).unwrap();
        fs::write(own.join(MADE).join("q4_0.gguf"), content()).unwrap();
        cache.make_room(LENGTH, 0).unwrap();
        assert!(is_whole(&own) && !own.join(MADE).join("q4_0.gguf").exists());
    }

    #[test]
    fn folders_of_others_and_links_are_not_touched() {
        let cache = Cache::new();
        let elsewhere = Cache::new();
        let linked = elsewhere.with("linked", 99);
        std::os::unix::fs::symlink(&linked, cache.entry("link")).unwrap();
        let foreign = cache.entry("dataset");
        fs::create_dir_all(foreign.join(FILES)).unwrap();
        fs::write(foreign.join(FILES).join("a.gguf"), content()).unwrap();
        cache.make_room(LENGTH, 0).unwrap_err();
        assert!(is_whole(&linked));
        assert!(foreign.join(FILES).join("a.gguf").is_file());
    }

    #[test]
    fn looking_at_an_entry_does_not_make_it_newer() {
        let cache = Cache::new();
        let other = cache.with("other", 5);
        let before = last_use(&other).unwrap();
        cache.make_room(1 << 40, 0).unwrap_err();
        assert_eq!(last_use(&other).unwrap(), before);
    }
}
