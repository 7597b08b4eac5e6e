//! Where the time of a model's last start went. Pure.
use super::span_tree::{Node, tree};
use crate::{evidence::trace::Trace, record::Run};
use candlepower_api::names::spans;
use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last time that a server of the target loaded its model.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelLoad {
    /// When it began (RFC 3339).
    pub started_at: String,
    /// Whether it had not ended when the run began.
    pub during_run: bool,
    /// Its spans.
    pub root: Node,
}

impl ModelLoad {
    /// Of its trace.
    pub fn of(trace: &Trace, run: &Run) -> Option<Self> {
        let root = trace.root()?;
        let micros = i64::try_from(root.start / 1000).ok()?;
        let started = Timestamp::from_microsecond(micros).ok()?;
        Some(Self {
            started_at: format!("{started:.0}"),
            during_run: root.end / 1000 > run.started_at,
            root: tree(trace)?,
        })
    }

    /// Its parts in words with their nanoseconds, which sum to the whole.
    pub fn parts(&self) -> Vec<(&str, u64)> {
        let all = self.root.flat().into_iter();
        let mut parts: Vec<_> = all
            .skip(1)
            .map(|(_, node)| (in_words(&node.name), node.self_time))
            .collect();
        parts.push(("in none of these", self.root.self_time));
        parts
    }
}

fn in_words(span: &str) -> &str {
    match span {
        spans::DOWNLOAD => "download",
        spans::READ_WEIGHTS => "reading the weights",
        spans::WARM_UP => "warm-up",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::testing::{Plant, model_load},
        evidence::trace::Span,
    };

    #[test]
    fn the_parts_of_a_start_sum_to_the_whole() {
        let (run, _) = Plant::run(&[Plant::default()]);
        let load = ModelLoad::of(&model_load(&run), &run).unwrap();
        let seconds: Vec<_> = load
            .parts()
            .into_iter()
            .map(|(name, nanos)| (name, nanos / 1_000_000_000))
            .collect();
        assert_eq!(
            seconds,
            [
                ("download", 6),
                ("reading the weights", 3),
                ("warm-up", 1),
                ("in none of these", 2)
            ]
        );
        assert!(!load.during_run);
        assert_eq!(load.started_at, "2025-11-24T15:59:00Z");
    }

    #[test]
    fn a_start_that_a_request_waited_for_is_one_during_the_run() {
        let (run, _) = Plant::run(&[Plant::default()]);
        let start = run.started_at * 1000;
        let trace = Trace {
            spans: vec![Span {
                id: "a".to_owned(),
                parent: None,
                name: "load_model".to_owned(),
                start,
                end: start + 5_000,
            }],
            ..Trace::default()
        };
        assert!(ModelLoad::of(&trace, &run).unwrap().during_run);
    }
}
