//! Injected faults, so that alerts can be tried out: delays, errors, memory, a panic. Only where
//! the configuration allows them; elsewhere there is nothing of this in a request's way.
use crate::engine::{StepObserver, StepSummary};
use candlepower_api::{
    names::paths,
    server_config::InjectedFaults,
    value::{ByteSize, Percentage},
};
use std::{
    collections::TryReserveError,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The faults that are injected now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    injected: InjectedFaults,
    /// Errors that are due, as a fraction: a request fails whenever it reaches 1.
    due: f64,
    ballast: Vec<u8>,
}

/// Memory that cannot be held.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes cannot be held: {problem}; ask for less")]
pub struct TooMuchMemory {
    /// What was asked for.
    bytes: u64,
    /// What the allocator says.
    problem: TryReserveError,
}

impl Faults {
    /// None yet; says in the log that anybody may change that.
    pub fn allowed() -> Self {
        tracing::warn!(
            path = paths::DEBUG_FAULTS,
            "fault injection is allowed: whoever reaches this server can slow it down and make it fail"
        );
        Self::default()
    }

    /// What is injected now.
    pub fn injected(&self) -> InjectedFaults {
        self.lock().injected.clone()
    }

    /// Injects `faults` from now on instead. Blocks while it fills memory.
    pub fn inject(&self, faults: InjectedFaults) -> Result<(), TooMuchMemory> {
        let bytes = faults.memory.map_or(0, ByteSize::bytes);
        // What was held goes first: the old and the new may not fit side by side.
        self.lock().ballast = Vec::new();
        let ballast = ballast(bytes)?;
        *self.lock() = State {
            injected: faults,
            due: 0.0,
            ballast,
        };
        Ok(())
    }

    /// Whether the next generation request is to fail. The failures are spread evenly.
    pub fn next_fails(&self) -> bool {
        let mut state = self.lock();
        let rate = state.injected.error_rate.map_or(0.0, Percentage::fraction);
        state.due += rate;
        // Ten times a tenth is a little less than 1.
        let fails = state.due > 1.0 - 1e-9;
        if fails {
            state.due -= 1.0;
        }
        fails
    }

    /// By how much the encoding of a prompt takes longer.
    pub fn tokenize_delay(&self) -> Duration {
        self.lock().injected.tokenize_delay.as_std()
    }

    /// What a request waits for before it enters the queue.
    pub fn first_token_delay(&self) -> Duration {
        self.lock().injected.first_token_delay.as_std()
    }

    fn step_delay(&self) -> Duration {
        self.lock().injected.step_delay.as_std()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory that is really there: every page is written to.
fn ballast(bytes: u64) -> Result<Vec<u8>, TooMuchMemory> {
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX))
        .map_err(|problem| TooMuchMemory { bytes, problem })?;
    memory.resize(memory.capacity(), 1);
    Ok(memory)
}

/// `inner`, or what also slows the engine down where `faults` are allowed.
pub fn observer(inner: Arc<dyn StepObserver>, faults: Option<&Faults>) -> Arc<dyn StepObserver> {
    match faults {
        None => inner,
        Some(faults) => Arc::new(FaultySteps {
            inner,
            faults: faults.clone(),
        }),
    }
}

/// Makes the engine's own thread wait, so that a step really takes longer, or panic.
struct FaultySteps {
    inner: Arc<dyn StepObserver>,
    faults: Faults,
}

impl StepObserver for FaultySteps {
    fn before_step(&self) {
        self.inner.before_step();
        let delay = self.faults.step_delay();
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        if self.faults.injected().engine_panic {
            injected_panic();
        }
    }

    fn admitted(&self, summary: &StepSummary) {
        self.inner.admitted(summary);
    }

    fn step(&self, summary: &StepSummary) {
        self.inner.step(summary);
    }
}

#[expect(clippy::panic, reason = "what was asked for")]
fn injected_panic() {
    panic!("an injected fault; see {}", paths::DEBUG_FAULTS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_spread_evenly() {
        let faults = Faults::default();
        assert!(!faults.next_fails());
        let injected = InjectedFaults {
            error_rate: Some(Percentage::of_hundred(10.0)),
            ..InjectedFaults::default()
        };
        faults.inject(injected).unwrap();
        let failed: Vec<_> = (1..=30).filter(|_| faults.next_fails()).collect();
        assert_eq!(failed, [10, 20, 30]);
    }

    #[test]
    fn memory_is_held_until_it_is_taken_back() {
        let faults = Faults::default();
        let injected = InjectedFaults {
            memory: Some(ByteSize::mebibytes(3)),
            ..InjectedFaults::default()
        };
        faults.inject(injected.clone()).unwrap();
        assert_eq!(faults.lock().ballast.len(), 3 << 20);
        assert_eq!(faults.injected(), injected);
        faults.inject(InjectedFaults::default()).unwrap();
        assert_eq!(faults.lock().ballast.capacity(), 0);
    }

    #[test]
    fn memory_that_does_not_exist_is_refused() {
        let injected = InjectedFaults {
            memory: Some(ByteSize::new(u64::MAX)),
            ..InjectedFaults::default()
        };
        let message = Faults::default().inject(injected).unwrap_err().to_string();
        assert!(message.ends_with("ask for less"), "{message}");
    }
}
