//! Whether this process may write: only while it holds the Lease, by its own clock.
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Refuses writes of a process that does not lead (any more). Every request passes it, so that a
/// reconcile which went on while nobody looked at the Lease cannot write either.
#[derive(Debug)]
pub(crate) struct Fence(Mutex<State>);

#[derive(Clone, Copy, Debug)]
enum State {
    /// There is no election.
    Open,
    Closed,
    OpenUntil(Instant),
}

/// This process does not hold the Lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this operator does not lead, so that it may not write")]
pub(crate) struct NotLeading;

impl Fence {
    /// For an operator without an election.
    pub(crate) fn open() -> Self {
        Self(Mutex::new(State::Open))
    }

    /// For one that does not lead yet.
    pub(crate) fn closed() -> Self {
        Self(Mutex::new(State::Closed))
    }

    /// Whether it may write at `now`.
    pub(crate) fn check(&self, now: Instant) -> Result<(), NotLeading> {
        match *self.state() {
            State::Open => Ok(()),
            State::OpenUntil(end) if now < end => Ok(()),
            State::OpenUntil(_) | State::Closed => Err(NotLeading),
        }
    }

    pub(super) fn open_until(&self, end: Instant) {
        *self.state() = State::OpenUntil(end);
    }

    /// From now on nothing may be written.
    pub(crate) fn close(&self) {
        *self.state() = State::Closed;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_is_open_while_the_lease_is_held_and_no_longer() {
        let (fence, now) = (Fence::closed(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(fence.check(now), Err(NotLeading));
        fence.open_until(now + second);
        assert_eq!(fence.check(now), Ok(()));
        assert_eq!(fence.check(now + second), Err(NotLeading));
        fence.open_until(now + 2 * second);
        assert_eq!(fence.check(now + second), Ok(()));
        fence.close();
        assert_eq!(fence.check(now), Err(NotLeading));
    }

    #[test]
    fn without_an_election_it_is_always_open() {
        assert_eq!(Fence::open().check(Instant::now()), Ok(()));
    }
}
