//! The runs of a schedule: when one is due, what it is like, and which are kept.
use super::{
    decide::is_over,
    dereference::{Observed, Run},
};
use crate::children;
use candlepower_api::benchmark::{Baseline, LLMBenchmark, LLMBenchmarkSpec};
use croner::Cron;
use k8s_openapi::jiff::{Timestamp, Zoned, tz::TimeZone};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use std::{cmp::Reverse, str::FromStr};

/// What is to be done about a schedule now.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The run that is due.
    pub(super) run: Option<Box<LLMBenchmark>>,
    /// When the last run was due, made or not.
    pub(super) last_due: Option<Timestamp>,
    /// When the next one is.
    pub(super) next_due: Timestamp,
    /// Runs that stay.
    pub(super) kept: Vec<String>,
}

/// Plans the runs of `resource`; an error says what is wrong with `expression`.
pub(super) fn plan(
    resource: &LLMBenchmark,
    expression: &str,
    observed: &Observed,
    now: Timestamp,
) -> Result<Schedule, String> {
    let wrong = |error: &dyn std::fmt::Display| {
        format!("spec.schedule: {error}; write the five fields of cron, in UTC, such as 0 3 * * *")
    };
    let cron = Cron::from_str(expression).map_err(|error| wrong(&error))?;
    let here = now.to_zoned(TimeZone::UTC);
    let next: Zoned = cron
        .find_next_occurrence(&here, false)
        .map_err(|error| wrong(&error))?;
    let due = cron.find_previous_occurrence(&here, true).ok();
    let due = due.map(|due| due.timestamp());

    let before = handled(resource, observed);
    let is_due = due > before;
    // A run that takes longer than its schedule's step is not overtaken by the next one.
    let busy = observed.runs.iter().any(|run| !is_over(&run.benchmark));
    let run = due
        .filter(|_| is_due && !busy)
        .map(|due| Box::new(run(resource, due, &observed.runs)));
    Ok(Schedule {
        last_due: if is_due { due } else { last_due(observed) },
        next_due: next.timestamp(),
        kept: kept(resource, &observed.runs),
        run,
    })
}

fn last_due(observed: &Observed) -> Option<Timestamp> {
    let schedule = observed.previous.schedule.as_ref()?;
    schedule.last_due.as_ref()?.parse().ok()
}

/// Up to when nothing is due any more: what was missed before the schedule existed, or while nobody
/// looked, is not made up for but once.
fn handled(resource: &LLMBenchmark, observed: &Observed) -> Option<Timestamp> {
    let created = resource
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    last_due(observed).max(created)
}

/// The run that was due at `due`. Its name is made of the time, so that it is made once.
fn run(resource: &LLMBenchmark, due: Timestamp, runs: &[Run]) -> LLMBenchmark {
    let minutes = due.as_second() / 60;
    let previous = newest_first(runs)
        .into_iter()
        .find(|run| run.summary.is_some())
        .map(|run| Baseline {
            benchmark: run.benchmark.name_any(),
        });
    let mut run = LLMBenchmark::new(
        &format!("{}-{minutes}", resource.name_any()),
        LLMBenchmarkSpec {
            schedule: None,
            baseline: resource.spec.baseline.clone().or(previous),
            ..resource.spec.clone()
        },
    );
    run.metadata = ObjectMeta {
        namespace: resource.namespace(),
        owner_references: Some(children::owner_reference(resource).into_iter().collect()),
        ..run.metadata
    };
    run
}

/// The name of the schedule that `benchmark` is a run of.
pub(super) fn of_run(benchmark: &LLMBenchmark) -> Option<&str> {
    let kind = LLMBenchmark::kind(&());
    let mut owners = benchmark.metadata.owner_references.iter().flatten();
    let schedule = owners.find(|owner| owner.kind == kind)?;
    Some(&schedule.name)
}

/// The newest run first.
pub(super) fn newest_first(runs: &[Run]) -> Vec<&Run> {
    let mut sorted: Vec<_> = runs.iter().collect();
    sorted.sort_by_key(|run| {
        let created = run.benchmark.metadata.creation_timestamp.clone();
        Reverse((created, run.benchmark.name_any()))
    });
    sorted
}

/// How many runs with a result a comparison needs.
const COMPARED: usize = 2;

/// Runs that go on, the newest of those that are over, and those that are compared: however many runs fail, or
/// however few are to be kept, the next one finds a result before it.
fn kept(resource: &LLMBenchmark, runs: &[Run]) -> Vec<String> {
    let limit = usize::try_from(resource.spec.history_limit).unwrap_or(1);
    let (mut over, mut results) = (0, 0);
    let is_kept = |run: &&Run| {
        if !is_over(&run.benchmark) {
            return true;
        }
        over += 1;
        results += usize::from(run.summary.is_some());
        over <= limit || (run.summary.is_some() && results <= COMPARED)
    };
    newest_first(runs)
        .into_iter()
        .filter(is_kept)
        .map(|run| run.benchmark.name_any())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use candlepower_api::benchmark::{LLMBenchmarkStatus, job::Summary, status::ScheduleStatus};
    use serde_json::json;
    use std::sync::Arc;

    fn scheduled(expression: &str, created: &str) -> LLMBenchmark {
        keeping(2, expression, created)
    }

    fn keeping(limit: i32, expression: &str, created: &str) -> LLMBenchmark {
        let spec = json!({
            "target": {"deployment": "tiny"}, "schedule": expression, "historyLimit": limit,
        });
        testing::named("nightly", created, spec)
    }

    /// A run that has its result, or still goes on.
    fn finished(name: &str, created: &str, complete: bool) -> Run {
        let ended = complete.then_some("Complete");
        Run {
            summary: complete.then(Summary::default),
            ..run_with(name, created, ended)
        }
    }

    fn failed(name: &str, created: &str) -> Run {
        run_with(name, created, Some("Failed"))
    }

    fn run_with(name: &str, created: &str, condition: Option<&str>) -> Run {
        let spec = json!({"target": {"deployment": "tiny"}});
        let mut benchmark = testing::named(name, created, spec);
        let conditions = condition.map(|type_| testing::condition(type_, "True"));
        let conditions: Vec<_> = conditions.into_iter().collect();
        benchmark.status = serde_json::from_value(json!({"conditions": conditions})).unwrap();
        Run {
            benchmark: Arc::new(benchmark),
            summary: None,
        }
    }

    fn planned(resource: &LLMBenchmark, last_due: Option<&str>, runs: Vec<Run>) -> Schedule {
        let observed = Observed {
            previous: LLMBenchmarkStatus {
                schedule: Some(ScheduleStatus {
                    last_due: last_due.map(str::to_owned),
                    ..ScheduleStatus::default()
                }),
                ..LLMBenchmarkStatus::default()
            },
            runs,
            ..Observed::default()
        };
        let expression = resource.spec.schedule.clone().unwrap();
        plan(resource, &expression, &observed, testing::now()).unwrap()
    }

    #[test]
    fn nothing_is_due_before_the_schedule_existed() {
        let schedule = planned(
            &scheduled("0 3 * * *", "2026-01-01T11:00:00Z"),
            None,
            vec![],
        );
        assert!(schedule.run.is_none());
        assert_eq!(schedule.next_due.to_string(), "2026-01-02T03:00:00Z");
    }

    #[test]
    fn many_missed_times_make_one_run_whose_name_is_its_time() {
        let schedule = planned(
            &scheduled("0 * * * *", "2025-12-30T00:00:00Z"),
            None,
            vec![],
        );
        let run = schedule.run.unwrap();
        assert_eq!(run.name_any(), "nightly-29454480");
        assert_eq!(run.spec.schedule, None);
        assert_eq!(run.metadata.owner_references.unwrap()[0].uid, "uid-nightly");
        assert_eq!(schedule.last_due.unwrap().to_string(), testing::NOW);
    }

    #[test]
    fn a_time_is_due_once() {
        let resource = scheduled("0 * * * *", "2025-12-30T00:00:00Z");
        assert!(planned(&resource, Some(testing::NOW), vec![]).run.is_none());
    }

    #[test]
    fn a_run_that_goes_on_is_not_overtaken_and_a_finished_one_is_compared_with() {
        let resource = scheduled("0 * * * *", "2025-12-30T00:00:00Z");
        let going = finished("nightly-1", "2026-01-01T11:00:00Z", false);
        let skipped = planned(&resource, None, vec![going]);
        assert!(skipped.run.is_none());
        assert_eq!(skipped.last_due.unwrap().to_string(), testing::NOW);
        let done = finished("nightly-1", "2026-01-01T11:00:00Z", true);
        let run = planned(&resource, None, vec![done]).run.unwrap();
        assert_eq!(run.spec.baseline.unwrap().benchmark, "nightly-1");
    }

    /// What is kept of one run a day that each have a result (`+`), failed (`-`) or go on (`.`).
    fn kept_of(limit: i32, runs: &str) -> Vec<String> {
        let resource = keeping(limit, "0 3 * * *", "2025-12-30T00:00:00Z");
        let runs = (1..).zip(runs.chars()).map(|(day, what)| {
            let (name, created) = (
                format!("nightly-{day}"),
                format!("2025-12-0{day}T03:00:00Z"),
            );
            match what {
                '-' => failed(&name, &created),
                what => finished(&name, &created, what == '+'),
            }
        });
        planned(&resource, Some(testing::NOW), runs.collect()).kept
    }

    #[test]
    fn the_newest_runs_are_kept() {
        assert_eq!(kept_of(3, "+++++"), ["nightly-5", "nightly-4", "nightly-3"]);
    }

    #[test]
    fn two_results_are_kept_to_be_compared_although_one_run_is_to_be_kept() {
        assert_eq!(kept_of(1, "+++"), ["nightly-3", "nightly-2"]);
        // While the next one runs, too, of which nobody knows whether it will have a result.
        assert_eq!(kept_of(1, "++."), ["nightly-3", "nightly-2", "nightly-1"]);
    }

    #[test]
    fn runs_that_fail_do_not_push_out_the_last_results() {
        assert_eq!(
            kept_of(2, "+++---"),
            ["nightly-6", "nightly-5", "nightly-3", "nightly-2"]
        );
    }

    #[test]
    fn a_run_is_compared_with_the_last_result_and_not_with_a_failure() {
        let resource = scheduled("0 * * * *", "2025-12-30T00:00:00Z");
        let runs = vec![
            finished("nightly-1", "2026-01-01T09:00:00Z", true),
            failed("nightly-2", "2026-01-01T10:00:00Z"),
        ];
        let run = planned(&resource, None, runs).run.unwrap();
        assert_eq!(run.spec.baseline.as_ref().unwrap().benchmark, "nightly-1");
        assert_eq!(of_run(&run), Some("nightly"));
        assert_eq!(of_run(&resource), None);
    }

    #[test]
    fn an_expression_that_is_none_says_what_to_write() {
        let resource = scheduled("61 * * * *", testing::NOW);
        let wrong = plan(
            &resource,
            "61 * * * *",
            &Observed::default(),
            testing::now(),
        );
        assert!(wrong.unwrap_err().contains("such as 0 3 * * *"));
    }
}
