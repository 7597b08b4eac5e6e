//! A histogram that remembers, for each bucket, a request whose trace can be looked at.
use prometheus::{Histogram, core::Collector, proto::MetricFamily};
use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// A request that fell into a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Its trace's id, in hexadecimal.
    pub trace_id: String,
    /// What was measured, in the histogram's unit.
    pub value: f64,
    /// When.
    pub at: SystemTime,
}

/// A histogram with the newest exemplar of each bucket.
#[derive(Debug)]
pub struct TracedHistogram {
    histogram: Histogram,
    edges: &'static [f64],
    /// One more than there are edges: the last bucket has none.
    newest: Mutex<Vec<Option<Exemplar>>>,
}

impl TracedHistogram {
    /// `histogram` has the buckets `edges`.
    pub fn new(histogram: Histogram, edges: &'static [f64]) -> Self {
        Self {
            histogram,
            edges,
            newest: Mutex::new(vec![None; edges.len() + 1]),
        }
    }

    /// Counts `value` of a request; `trace_id` only where its trace is exported.
    pub fn observe(&self, value: f64, trace_id: Option<&str>) {
        self.histogram.observe(value);
        let Some(trace_id) = trace_id else { return };
        let bucket = self.edges.partition_point(|edge| *edge < value);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest[bucket] = Some(Exemplar {
            trace_id: trace_id.to_owned(),
            value,
            at: SystemTime::now(),
        });
    }

    /// Its name, and the newest exemplar of each bucket.
    pub fn exemplars(&self) -> (String, Vec<Option<Exemplar>>) {
        let name = self
            .histogram
            .desc()
            .first()
            .map(|desc| desc.fq_name.clone());
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        (name.unwrap_or_default(), newest.clone())
    }

    /// The sum of all values.
    pub fn get_sample_sum(&self) -> f64 {
        self.histogram.get_sample_sum()
    }

    /// The histogram's series.
    pub fn collect(&self) -> Vec<MetricFamily> {
        self.histogram.collect()
    }
}
