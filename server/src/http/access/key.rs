//! One API key, known by its digest alone, and what it may send.
use super::Denial;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use sha2::{Digest, Sha256};
use std::{num::NonZeroU32, sync::Arc, time::Instant};
use subtle::{ConditionallySelectable, ConstantTimeEq};

type Limiter = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<Instant>>;

/// A key. Its text is not kept.
#[derive(Clone, Debug)]
pub(super) struct Key {
    digest: [u8; 32],
    limiter: Option<Arc<Limiter>>,
}

impl Key {
    pub(super) fn new(text: &str, requests_per_minute: Option<NonZeroU32>) -> Self {
        Self {
            digest: Sha256::digest(text).into(),
            limiter: requests_per_minute.map(|number| {
                let quota = Quota::per_minute(number);
                Arc::new(RateLimiter::direct_with_clock(quota, MonotonicClock))
            }),
        }
    }

    /// Counts a request.
    pub(super) fn admit(&self) -> Result<(), Denial> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter
            .check()
            .map_err(|until| Denial::TooMany(until.wait_time_from(MonotonicClock.now())))
    }
}

/// All keys, in the order of their digests.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<Key>);

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable_by_key(|key| key.digest);
        keys.dedup_by_key(|key| key.digest);
        Self(keys)
    }
}

impl Keys {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn same_as(&self, other: &Self) -> bool {
        let digests = |keys: &Self| keys.0.iter().map(|key| key.digest).collect::<Vec<_>>();
        digests(self) == digests(other)
    }

    /// These keys, those that `before` has, too, as they are there.
    pub(super) fn keeping(self, before: &Self) -> Self {
        let old = |key: &Key| {
            before
                .0
                .iter()
                .find(|old| old.digest == key.digest)
                .cloned()
        };
        self.0
            .into_iter()
            .map(|key| old(&key).unwrap_or(key))
            .collect()
    }

    /// The key that was offered, if it is one. How long that takes tells nothing about the keys: digests are compared,
    /// each one whole, and all of them.
    pub(super) fn find(&self, offered: &[u8]) -> Option<&Key> {
        let digest: [u8; 32] = Sha256::digest(offered).into();
        let mut found = 0_u64;
        for (place, key) in (1_u64..).zip(&self.0) {
            found.conditional_assign(&place, digest.ct_eq(&key.digest));
        }
        let place = usize::try_from(found).ok()?.checked_sub(1)?;
        self.0.get(place)
    }
}
