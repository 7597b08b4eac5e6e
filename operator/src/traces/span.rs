//! Spans as they are recorded and sent.
use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

/// What an attribute says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
}

/// A part of a reconcile: what it was, when, and below what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Recorded {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    /// None for the root of a trace.
    pub(super) parent_id: Option<u64>,
    pub(super) name: &'static str,
    pub(super) start: SystemTime,
    /// Its start, until it ends.
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Why it failed, where it did.
    pub(super) error: Option<String>,
}

impl Recorded {
    pub(super) fn root(name: &'static str, trace_id: u128, span_id: u64) -> Self {
        let start = SystemTime::now();
        Self {
            trace_id,
            span_id,
            parent_id: None,
            name,
            start,
            end: start,
            attributes: Vec::new(),
            error: None,
        }
    }

    pub(super) fn child(&self, name: &'static str, span_id: u64) -> Self {
        Self {
            parent_id: Some(self.span_id),
            ..Self::root(name, self.trace_id, span_id)
        }
    }

    /// What is said twice of one attribute counts as it was said last.
    pub(super) fn set(&mut self, attribute: &'static str, value: Value) {
        match self.attributes.iter_mut().find(|it| it.0 == attribute) {
            Some(known) => known.1 = value,
            None => self.attributes.push((attribute, value)),
        }
    }
}

/// Ids of traces and spans: different in each process, and never 0, which would stand for none.
#[derive(Debug, Default)]
pub(super) struct Ids {
    // Seeded at random by the standard library, which spares a dependency.
    seed: RandomState,
    given: AtomicU64,
}

impl Ids {
    pub(super) fn span(&self) -> u64 {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        self.seed.hash_one(number).max(1)
    }

    pub(super) fn trace(&self) -> u128 {
        (u128::from(self.span()) << 64) | u128::from(self.span())
    }
}

/// Whether a trace is one of the share `ratio` (0 to 1) of all traces that are recorded.
pub(super) fn is_sampled(trace_id: u128, ratio: f64) -> bool {
    let drawn = u32::try_from(trace_id & u128::from(u32::MAX)).unwrap_or_default();
    f64::from(drawn) < ratio * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_different_from_each_other_and_in_each_process() {
        let ids = Ids::default();
        let given: BTreeSet<_> = (0..1000).map(|_| ids.span()).collect();
        assert_eq!(given.len(), 1000);
        assert_ne!(Ids::default().trace(), Ids::default().trace());
    }

    #[test]
    fn the_share_of_traces_is_the_one_asked_for() {
        let ids = Ids::default();
        let recorded = |ratio| {
            let drawn = (0..10_000).filter(|_| is_sampled(ids.trace(), ratio));
            drawn.count()
        };
        assert_eq!(recorded(0.0), 0);
        assert_eq!(recorded(1.0), 10_000);
        let some = recorded(0.1);
        assert!((800..1200).contains(&some), "{some} of 10,000");
        assert!(is_sampled(u128::MAX, 1.0));
    }
}
