//! What is known of a scenario while it runs.
use crate::{
    figures::{Collected, Distribution, round, tpot, ttft},
    record::{ErrorClass, Outcome, RequestRecord},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How a scenario stands, about once a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The scenario's name.
    pub scenario: String,
    /// Its place, from 1.
    pub place: usize,
    /// How many scenarios there are; none during a search.
    pub of: Option<usize>,
    /// Since its start.
    pub elapsed: Duration,
    /// How long requests are sent.
    pub duration: Duration,
    /// Whether what happens now counts.
    pub phase: Phase,
    /// Users that have started.
    pub users: u32,
    /// Requests that wait for an answer.
    pub in_flight: u32,
    /// Whole answers so far.
    pub succeeded: u64,
    /// Failures so far, by class.
    pub errors: BTreeMap<ErrorClass, u64>,
    /// Output tokens per second since the last progress.
    pub tokens_per_second: f64,
    /// Ended requests per second since the last progress.
    pub requests_per_second: f64,
    /// Time to first token so far.
    pub ttft: Option<Distribution>,
    /// Time per output token so far.
    pub tpot: Option<Distribution>,
}

/// Where in a scenario a moment is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Phase {
    /// Before the window.
    #[default]
    WarmUp,
    /// Inside it.
    Measuring,
    /// After it.
    CoolDown,
}

/// Ends of requests before a share of failures means anything.
const ENOUGH: u64 = 20;

/// Counts of a scenario that runs; shared by all its tasks.
pub(super) struct Live {
    tokens: AtomicU64,
    users: AtomicU32,
    in_flight: AtomicU32,
    ended: Mutex<Ended>,
}

#[derive(Default)]
struct Ended {
    records: Vec<RequestRecord>,
    succeeded: u64,
    errors: BTreeMap<ErrorClass, u64>,
    ttft: Option<Collected>,
    tpot: Option<Collected>,
    /// Tokens and ends at the last progress.
    before: (u64, u64),
}

impl Ended {
    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            tokens: AtomicU64::new(0),
            users: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            ended: Mutex::new(Ended {
                ttft: Collected::new(),
                tpot: Collected::new(),
                ..Ended::default()
            }),
        }
    }

    pub(super) fn token(&self) {
        self.tokens(1);
    }

    pub(super) fn tokens(&self, count: u32) {
        self.tokens.fetch_add(u64::from(count), Relaxed);
    }

    pub(super) fn user_started(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    pub(super) fn request_began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn request_ended(&self, record: RequestRecord) {
        self.in_flight.fetch_sub(1, Relaxed);
        let mut ended = self.lock();
        match &record.outcome {
            Outcome::Success { .. } => {
                ended.succeeded += 1;
                let values = [ttft(&record, record.sent), tpot(&record).map(round)];
                let Ended {
                    ttft: first,
                    tpot: each,
                    ..
                } = &mut *ended;
                for (collected, value) in [first, each].into_iter().zip(values) {
                    if let (Some(collected), Some(value)) = (collected, value) {
                        collected.add(value);
                    }
                }
            }
            Outcome::Failed { class, .. } => *ended.errors.entry(*class).or_default() += 1,
            Outcome::Cancelled => {}
        }
        ended.records.push(record);
    }

    /// The share of failures, once enough requests have ended.
    pub(super) fn error_rate(&self) -> Option<f64> {
        let ended = self.lock();
        let (failed, all) = (ended.failed(), ended.failed() + ended.succeeded);
        (all >= ENOUGH).then(|| failed as f64 / all as f64)
    }

    /// Adds its figures to a progress; `since` is the time since the last one.
    pub(super) fn report(&self, progress: &mut Progress, since: Duration) {
        let tokens = self.tokens.load(Relaxed);
        progress.users = self.users.load(Relaxed);
        progress.in_flight = self.in_flight.load(Relaxed);
        let mut ended = self.lock();
        let ends = ended.succeeded + ended.failed();
        let (tokens_before, ends_before) = std::mem::replace(&mut ended.before, (tokens, ends));
        let rate = |count: u64| count as f64 / since.as_secs_f64().max(1e-3);
        progress.tokens_per_second = rate(tokens - tokens_before);
        progress.requests_per_second = rate(ends - ends_before);
        progress.succeeded = ended.succeeded;
        progress.errors.clone_from(&ended.errors);
        progress.ttft = ended.ttft.as_ref().and_then(Collected::distribution);
        progress.tpot = ended.tpot.as_ref().and_then(Collected::distribution);
    }

    /// All records, at the end.
    pub(super) fn take_records(&self) -> Vec<RequestRecord> {
        std::mem::take(&mut self.lock().records)
    }

    /// A task that panicked while it held the lock left whole records behind.
    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
