//! Who may send requests: the API keys of a folder, which may change while the server runs.
mod folder;
mod key;

use super::watch;
use candlepower_api::server_config::AccessConfig;
use key::{Key, Keys};
use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// There is no key at all, so that no request can have one.
    NoKeys,
    /// The request has no key.
    Missing,
    /// The request's key is none of ours.
    Wrong,
    /// The key has sent as many requests as it may; the next one may come after this time.
    TooMany(Duration),
}

/// The door. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Access(Option<Arc<Lock>>);

/// A door with a lock.
#[derive(Debug)]
struct Lock {
    folder: PathBuf,
    requests_per_minute: Option<NonZeroU32>,
    keys: RwLock<Arc<Keys>>,
}

impl Access {
    /// As `config` says; reads the keys. A folder that cannot be read is one without keys: it lets nobody in.
    pub fn new(config: &AccessConfig) -> Self {
        let Some(folder) = &config.api_keys else {
            return Self::default();
        };
        let lock = Lock {
            folder: folder.clone(),
            requests_per_minute: config.requests_per_minute,
            keys: RwLock::default(),
        };
        lock.read(true);
        Self(Some(Arc::new(lock)))
    }

    /// Whether any request can be let in.
    pub fn is_possible(&self) -> bool {
        self.0.as_ref().is_none_or(|lock| !lock.keys().is_empty())
    }

    /// Lets a request in that has `offered` as its key.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn admit(&self, offered: Option<&[u8]>) -> Result<(), Denial> {
        let Some(lock) = &self.0 else {
            return Ok(());
        };
        let keys = lock.keys();
        if keys.is_empty() {
            return Err(Denial::NoKeys);
        }
        let offered = offered.ok_or(Denial::Missing)?;
        keys.find(offered).ok_or(Denial::Wrong)?.admit()
    }

    /// Takes changes of the keys over, until it is dropped.
    pub async fn follow(self) {
        if let Some(lock) = self.0 {
            watch::follow(move || lock.read(false)).await;
        }
    }
}

impl Lock {
    fn keys(&self) -> Arc<Keys> {
        // Whoever panicked while it held the lock had nothing half written.
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the folder. What is unchanged is kept, with what each key has sent so far.
    fn read(&self, first: bool) {
        let found = folder::read(&self.folder);
        let before = self.keys();
        let keys: Keys = found
            .keys
            .iter()
            .map(|key| Key::new(key, self.requests_per_minute))
            .collect();
        if !first && keys.same_as(&before) {
            return;
        }
        for complaint in &found.complaints {
            tracing::warn!("{complaint}");
        }
        let folder = self.folder.display();
        if keys.is_empty() {
            tracing::error!(%folder, "there is no API key, so all requests are refused: put one into the Secret");
        } else {
            tracing::info!(%folder, keys = keys.len(), "requests need one of these API keys");
        }
        let keys = Arc::new(keys.keeping(&before));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn lock(folder: &Path, requests_per_minute: u32) -> Access {
        Access::new(&AccessConfig {
            api_keys: Some(folder.to_owned()),
            requests_per_minute: NonZeroU32::new(requests_per_minute),
        })
    }

    fn look_again(access: &Access) {
        access.0.as_ref().unwrap().read(false);
    }

    #[test]
    fn without_keys_in_the_configuration_everybody_is_let_in() {
        let open = Access::new(&AccessConfig::default());
        assert_eq!(open.admit(None), Ok(()));
        assert!(open.is_possible());
    }

    #[test]
    fn each_file_is_a_key_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "first\n").unwrap();
        fs::write(folder.path().join("b"), "second").unwrap();
        let access = lock(folder.path(), 0);
        for key in ["first", "second"] {
            assert_eq!(access.admit(Some(key.as_bytes())), Ok(()), "{key}");
        }
        for key in ["", "firs", "first\n", "firstsecond", "a"] {
            let denial = access.admit(Some(key.as_bytes()));
            assert_eq!(denial, Err(Denial::Wrong), "{key:?}");
        }
        assert_eq!(access.admit(None), Err(Denial::Missing));
    }

    #[test]
    fn no_key_at_all_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("empty"), "\n").unwrap();
        for folder in [folder.path(), &folder.path().join("missing")] {
            let access = lock(folder, 0);
            assert!(!access.is_possible());
            for offered in [None, Some(b"".as_slice()), Some(b"a")] {
                assert_eq!(access.admit(offered), Err(Denial::NoKeys));
            }
        }
    }

    #[test]
    fn keys_come_and_go_while_the_server_runs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "old").unwrap();
        let access = lock(folder.path(), 0);
        fs::write(folder.path().join("b"), "new").unwrap();
        look_again(&access);
        assert_eq!(access.admit(Some(b"old")), Ok(()));
        assert_eq!(access.admit(Some(b"new")), Ok(()));
        fs::remove_file(folder.path().join("a")).unwrap();
        look_again(&access);
        assert_eq!(access.admit(Some(b"old")), Err(Denial::Wrong));
        fs::remove_file(folder.path().join("b")).unwrap();
        look_again(&access);
        assert_eq!(access.admit(Some(b"new")), Err(Denial::NoKeys));
    }

    #[test]
    fn a_key_sends_no_more_than_it_may_also_when_another_one_comes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "one").unwrap();
        let access = lock(folder.path(), 2);
        for _ in 0..2 {
            assert_eq!(access.admit(Some(b"one")), Ok(()));
        }
        let Err(Denial::TooMany(wait)) = access.admit(Some(b"one")) else {
            panic!("a third request in a minute of two");
        };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(30));
        fs::write(folder.path().join("b"), "two").unwrap();
        look_again(&access);
        assert_eq!(access.admit(Some(b"two")), Ok(()));
        assert!(matches!(
            access.admit(Some(b"one")),
            Err(Denial::TooMany(_))
        ));
    }
}
