//! How long the engine has been computing: a clock that also runs within a step, so that a scrape
//! during a long step sees it advance.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time in which at least one request was being computed.
#[derive(Debug, Default)]
pub struct BusyClock(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Periods that have ended.
    past: Duration,
    /// When the current one began.
    since: Option<Instant>,
}

impl BusyClock {
    /// Something is being computed from `now` on; nothing new while the clock runs.
    pub fn begin(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.since.get_or_insert(now);
    }

    /// Nothing is being computed from `now` on.
    pub fn end(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = state.since.take() {
            state.past += now.saturating_duration_since(since);
        }
    }

    /// All of it until `now`.
    pub fn total(&self, now: Instant) -> Duration {
        let state = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = state
            .since
            .map(|since| now.saturating_duration_since(since));
        state.past + current.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_within_a_step_and_stands_between_requests() {
        let clock = BusyClock::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        clock.begin(at(1));
        assert_eq!(clock.total(at(4)), Duration::from_secs(3), "within a step");
        clock.begin(at(5));
        clock.end(at(6));
        assert_eq!(clock.total(at(60)), Duration::from_secs(5));
        clock.begin(at(61));
        assert_eq!(clock.total(at(62)), Duration::from_secs(6));
    }
}
