//! The condition `Regressed` of a schedule.
use crate::{
    benchmark::{
        dereference::Run,
        regression::{Comparison, compare},
        schedule::newest_first,
    },
    conditions::{Truth, Verdict},
};
use candlepower_api::{
    benchmark::{LLMBenchmark, job::Summary},
    names::conditions,
};
use kube::ResourceExt;

/// Compares the two newest runs that have results.
pub(super) fn verdict(resource: &LLMBenchmark, runs: &[Run]) -> Verdict {
    let mut finished = newest_first(runs)
        .into_iter()
        .filter_map(|run| Some((run.benchmark.name_any(), run.summary.as_ref()?)));
    let (Some((name, now)), Some((former, before))) = (finished.next(), finished.next()) else {
        return regressed(
            Truth::Unknown,
            conditions::NOTHING_TO_COMPARE,
            "two runs have to finish first".to_owned(),
        );
    };
    judge(resource, (&former, before), (&name, now))
}

/// Compares a benchmark with the one that it names as its baseline.
pub(super) fn against_baseline(
    resource: &LLMBenchmark,
    baseline: Option<&Summary>,
    now: &Summary,
) -> Option<Verdict> {
    let former = &resource.spec.baseline.as_ref()?.benchmark;
    let name = resource.name_any();
    Some(judge(resource, (former, baseline?), (&name, now)))
}

fn judge(
    resource: &LLMBenchmark,
    (former, before): (&str, &Summary),
    (name, now): (&str, &Summary),
) -> Verdict {
    let tolerance = resource.spec.regression_tolerance;
    match compare(before, now, tolerance.fraction()) {
        Comparison::Unlike => regressed(
            Truth::Unknown,
            conditions::NOTHING_TO_COMPARE,
            format!("{name} and {former} did not do the same work"),
        ),
        Comparison::TooFew => regressed(
            Truth::Unknown,
            conditions::NOTHING_TO_COMPARE,
            format!("no scenario of {former} had the 20 requests that a comparison needs"),
        ),
        Comparison::AsBefore(perhaps) => regressed(
            Truth::False,
            conditions::AS_BEFORE,
            as_before((former, name), &tolerance.to_string(), &perhaps),
        ),
        Comparison::Worse(what) => regressed(
            Truth::True,
            conditions::WORSE_THAN_BEFORE,
            format!("{name} is worse than {former}: {}", what.join("; ")),
        ),
    }
}

fn as_before((former, name): (&str, &str), tolerance: &str, perhaps: &[String]) -> String {
    if perhaps.is_empty() {
        return format!("{name} is as good as {former}, within {tolerance}");
    }
    format!(
        "{name} is not for certain worse than {former}, within {tolerance}: {}, but confidence intervals overlap, or there were too few requests for one",
        perhaps.join("; ")
    )
}

fn regressed(truth: Truth, reason: &'static str, message: String) -> Verdict {
    Verdict::new(conditions::REGRESSED, truth, reason, message)
}
