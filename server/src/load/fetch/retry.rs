//! Trying again: longer after each failure, never all replicas at once, and for as long as it takes.
use super::{
    error::{Failure, FetchError},
    meter::Meter,
};
use candlepower_api::names::reasons::LoadFailure;
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// How long to wait, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the second attempt.
    pub(super) first: Duration,
    /// For any attempt.
    pub(super) longest: Duration,
    /// For the next byte.
    pub(super) silence: Duration,
    /// Failures in a row until they are worth telling people. A full volume always is.
    pub(super) told_after: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(60),
            silence: Duration::from_secs(60),
            told_after: 3,
        }
    }
}

impl Patience {
    /// The pause after this many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let longest = self
            .first
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.longest);
        // Seeded at random by the standard library, which spares a dependency.
        let random = RandomState::new().hash_one(failures) >> 32;
        let fraction = f64::from(u32::try_from(random).unwrap_or_default()) / f64::from(u32::MAX);
        longest.mul_f64(0.5 + 0.5 * fraction)
    }

    /// Attempts until one succeeds, or fails for good.
    pub(super) async fn persist<T>(
        &self,
        meter: &Meter<'_>,
        mut attempt: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, FetchError> {
        let mut failures = 0_u32;
        loop {
            let (reason, problem, pause, progressed) = match attempt().await {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing {
                    reason,
                    problem,
                    pause,
                    progressed,
                }) => (reason, problem, pause, progressed),
            };
            failures = if progressed {
                1
            } else {
                failures.saturating_add(1)
            };
            let pause = pause
                .unwrap_or_else(|| self.pause(failures))
                .min(self.longest);
            tracing::warn!(
                problem,
                failures,
                seconds = pause.as_secs_f64(),
                "fetching broke off; it is tried again"
            );
            if failures >= self.told_after || reason == LoadFailure::InsufficientDisk {
                meter.trouble(reason, &problem);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ() {
        let patience = Patience::default();
        for failures in 1..40 {
            let most = patience
                .first
                .saturating_mul(1 << (failures - 1).min(16))
                .min(patience.longest);
            let pause = patience.pause(failures);
            assert!(pause <= most && pause >= most / 2, "{failures}: {pause:?}");
        }
        assert_ne!(patience.pause(9), patience.pause(9));
    }
}
