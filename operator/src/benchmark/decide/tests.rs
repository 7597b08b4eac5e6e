//! Whose turn it is.
use super::*;
use crate::benchmark::testing::{self, now};
use serde_json::{Value, json};
use std::sync::Arc;

const CREATED: &str = "2026-01-01T10:00:00Z";

fn of_tiny(name: &str, baseline: Option<&str>) -> LLMBenchmark {
    let mut spec = json!({"target": {"deployment": "tiny"}});
    if let Some(baseline) = baseline {
        spec["baseline"] = json!({"benchmark": baseline});
    }
    testing::named(name, CREATED, spec)
}

/// The reason why `resource` waits beside `others`, of which these have no result to be compared with.
fn waits(
    resource: &LLMBenchmark,
    others: &[&LLMBenchmark],
    without_baseline: &[&str],
) -> Option<&'static str> {
    let observed = Observed {
        target: Some(Arc::new(testing::served("tiny"))),
        others: others.iter().map(|one| Arc::new((*one).clone())).collect(),
        others_without_baseline: without_baseline.iter().map(|one| (*one).into()).collect(),
        ..Observed::default()
    };
    match decide(resource, &observed, now()) {
        Decision::Wait(obstacle) => Some(obstacle.reason),
        Decision::Run(_) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_waits_for_its_baseline_does_not_hold_up_the_baseline() {
    // Created in the same second, so that the name decides who comes first.
    let (before, after) = (of_tiny("before", None), of_tiny("after", Some("before")));
    assert_eq!(
        waits(&after, &[&before], &[]),
        Some(conditions::BASELINE_NOT_READY)
    );
    assert_eq!(waits(&before, &[&after], &["after"]), None);
}

#[test]
fn a_baseline_that_never_comes_holds_up_nobody_else() {
    let hopeless = of_tiny("a", Some("no-such-benchmark"));
    assert_eq!(waits(&of_tiny("b", None), &[&hopeless], &["a"]), None);
}

#[test]
fn one_whose_baseline_has_a_result_has_its_place_in_the_queue() {
    let older = of_tiny("a", Some("done"));
    assert_eq!(
        waits(&of_tiny("b", None), &[&older], &[]),
        Some(conditions::QUEUED)
    );
}

#[test]
fn one_that_runs_is_not_disturbed_although_its_baseline_was_deleted() {
    let mut runs = of_tiny("a", Some("deleted"));
    let status: Value = json!({"startedAt": testing::NOW});
    runs.status = serde_json::from_value(status).unwrap();
    assert_eq!(
        waits(&of_tiny("b", None), &[&runs], &["a"]),
        Some(conditions::QUEUED)
    );
}
