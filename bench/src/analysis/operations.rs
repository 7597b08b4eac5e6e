//! The slowest operations over many traces, ranked by critical-path self time.
use super::critical_path::critical_path;
use crate::evidence::trace::Trace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one operation cost, over all traces.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The span's name.
    pub name: String,
    /// Share of all roots' durations, 0 to 1.
    pub share: f64,
    /// Mean self time of a call, in nanoseconds.
    pub mean: u64,
    /// Median self time of a call, in nanoseconds.
    pub p50: u64,
    /// 95th percentile of a call's self time, in nanoseconds.
    pub p95: u64,
    /// Largest self time of a call, in nanoseconds.
    pub max: u64,
    /// Number of spans.
    pub calls: usize,
}

/// All operations; their shares and [`Ranking::unattributed`] sum to 1.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ranking {
    /// Operations, the slowest first.
    pub operations: Vec<Operation>,
    /// Share of the time that no operation can be named for, 0 to 1.
    pub unattributed: f64,
    /// Number of traces.
    pub traces: usize,
}

/// Ranks all operations of `traces`.
pub fn rank<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> Ranking {
    let mut calls: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let (mut total, mut unattributed, mut count) = (0, 0, 0);
    for trace in traces {
        count += 1;
        let path = critical_path(trace);
        total += path.total;
        unattributed += path.unattributed;
        for (span, own) in trace.spans.iter().zip(path.self_time) {
            calls.entry(&span.name).or_default().push(own);
        }
    }
    let share = |part: u64| {
        if total == 0 {
            0.0
        } else {
            part as f64 / total as f64
        }
    };
    let mut operations: Vec<_> = calls
        .into_iter()
        .map(|(name, mut own)| {
            own.sort_unstable();
            let sum: u64 = own.iter().sum();
            Operation {
                name: name.to_owned(),
                share: share(sum),
                mean: sum / own.len() as u64,
                p50: percentile(&own, 50),
                p95: percentile(&own, 95),
                max: own.last().copied().unwrap_or_default(),
                calls: own.len(),
            }
        })
        .collect();
    operations.sort_by(|a, b| b.share.total_cmp(&a.share));
    Ranking {
        operations,
        unattributed: share(unattributed),
        traces: count,
    }
}

/// The nearest-rank percentile of sorted values: always one that was measured.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::trace::Span;

    fn trace(prefill: u64, decode: u64) -> Trace {
        let span = |id: &str, parent: Option<&str>, start, end| Span {
            id: id.to_owned(),
            parent: parent.map(ToOwned::to_owned),
            name: id.to_owned(),
            start,
            end,
        };
        Trace {
            spans: vec![
                span("request", None, 0, prefill + decode),
                span("prefill", Some("request"), 0, prefill),
                span("decode", Some("request"), prefill, prefill + decode),
            ],
            ..Trace::default()
        }
    }

    #[test]
    fn the_operation_with_most_self_time_comes_first_and_shares_sum_to_one() {
        let ranking = rank(&[trace(10, 30), trace(20, 40)]);
        let names: Vec<_> = ranking.operations.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names, ["decode", "prefill", "request"]);
        let shares: Vec<_> = ranking.operations.iter().map(|o| o.share).collect();
        assert_eq!(shares, [0.7, 0.3, 0.0]);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let traces: Vec<_> = (1..=100).map(|own| trace(own, 1000)).collect();
        let ranking = rank(&traces);
        let prefill = &ranking.operations[1];
        assert_eq!((prefill.p50, prefill.p95, prefill.calls), (50, 95, 100));
    }

    #[test]
    fn no_traces_rank_nothing() {
        let ranking = rank([]);
        assert_eq!((ranking.operations.len(), ranking.unattributed), (0, 0.0));
    }
}
