//! What people read of a benchmark, by what the cluster looks like.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "what is planted reads better as the fields take it"
)]
use super::*;
use crate::watches::{Job, Pod};
use crate::{
    benchmark::{
        decide,
        dereference::Run,
        mailbox::Mailbox,
        testing::{self, now},
    },
    events::find,
};
use candlepower_api::benchmark::job::{self, Figures, ScenarioSummary, VariantSummary};
use serde_json::{Value, json};
use std::sync::Arc;

const APPLIED: Outcome = Outcome::Applied { run: None };

fn resource() -> LLMBenchmark {
    testing::benchmark(json!({"target": {"deployment": "tiny"}}))
}

fn derived(resource: &LLMBenchmark, observed: &Observed) -> LLMBenchmarkStatus {
    let decision = decide::decide(resource, observed, now());
    derive(resource, observed, &decision, &APPLIED, now())
}

/// `Complete`'s status and reason.
fn complete(status: &LLMBenchmarkStatus) -> (&str, &str) {
    let found = find(&status.conditions, "Complete").unwrap();
    (&found.status, &found.reason)
}

fn ready() -> Observed {
    Observed {
        target: Some(Arc::new(testing::served("tiny"))),
        ..Observed::default()
    }
}

fn job(conditions: Value) -> Option<Arc<Job>> {
    let job = json!({"metadata": {}, "status": {"conditions": conditions}});
    Some(Arc::new(serde_json::from_value(job).unwrap()))
}

fn running_pod() -> Arc<Pod> {
    let pod = json!({"metadata": {"name": "nightly-bench-x"}, "status": {
        "phase": "Running",
        "containerStatuses": [{
            "name": "bench", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {}},
        }],
    }});
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn started() -> Observed {
    Observed {
        previous: LLMBenchmarkStatus {
            started_at: Some("2026-01-01T11:50:00Z".into()),
            report_ref: Some("nightly-report".into()),
            ..LLMBenchmarkStatus::default()
        },
        job: job(json!([])),
        pods: vec![running_pod()],
        ..ready()
    }
}

#[test]
fn a_target_that_is_not_there_or_not_ready_is_waited_for_with_its_reason() {
    let status = derived(&resource(), &Observed::default());
    assert_eq!(complete(&status), ("False", "TargetNotFound"));
    assert_eq!(status.stage.as_deref(), Some("Waiting"));
    assert_eq!(status.target.as_deref(), Some("tiny"));
    let loading = Observed {
        target: Some(Arc::new(testing::unready("tiny", "Loading", "43%"))),
        ..Observed::default()
    };
    let status = derived(&resource(), &loading);
    assert_eq!(complete(&status), ("False", "TargetNotReady"));
    let message = &find(&status.conditions, "Complete").unwrap().message;
    assert!(
        message.contains("Loading") && message.contains("43%"),
        "{message}"
    );
    assert_eq!(status.started_at, None);
}

#[test]
fn benchmarks_of_one_target_take_turns_and_the_one_that_waits_names_the_other() {
    let older = testing::named(
        "a",
        "2026-01-01T10:00:00Z",
        json!({"target": {"deployment": "tiny"}}),
    );
    let elsewhere = testing::named(
        "b",
        "2026-01-01T10:00:00Z",
        json!({"target": {"deployment": "other"}}),
    );
    let with = |others: &[&LLMBenchmark]| Observed {
        others: others.iter().map(|one| Arc::new((*one).clone())).collect(),
        ..ready()
    };
    let waits = derived(&resource(), &with(&[&older, &elsewhere]));
    assert_eq!(complete(&waits), ("False", "Queued"));
    assert!(
        find(&waits.conditions, "Complete")
            .unwrap()
            .message
            .contains("benchmark a ")
    );
    // Alone with those of other targets, or younger ones, it starts.
    assert_eq!(
        complete(&derived(&resource(), &with(&[&elsewhere]))).1,
        "JobPending"
    );
    let younger = testing::named(
        "c",
        "2026-01-01T13:00:00Z",
        json!({"target": {"deployment": "tiny"}}),
    );
    assert_eq!(
        complete(&derived(&resource(), &with(&[&younger]))).1,
        "JobPending"
    );
    // A younger one that runs already is not disturbed.
    let mut runs = younger;
    runs.status = serde_json::from_value(json!({"startedAt": testing::NOW})).unwrap();
    assert_eq!(complete(&derived(&resource(), &with(&[&runs]))).1, "Queued");
    // One that is over does not count.
    runs.status = serde_json::from_value(json!({"startedAt": testing::NOW, "conditions": [{
        "type": "Failed", "status": "True", "reason": "JobFailed", "message": "",
        "lastTransitionTime": testing::NOW,
    }]}))
    .unwrap();
    assert_eq!(
        complete(&derived(&resource(), &with(&[&runs]))).1,
        "JobPending"
    );
}

#[test]
fn one_that_is_allowed_to_runs_beside_the_others() {
    let resource = testing::benchmark(json!({
        "target": {"deployment": "tiny"}, "concurrencyPolicy": "Allow",
    }));
    let older = testing::named(
        "a",
        "2026-01-01T10:00:00Z",
        json!({"target": {"deployment": "tiny"}}),
    );
    let observed = Observed {
        others: vec![Arc::new(older)],
        ..ready()
    };
    assert_eq!(complete(&derived(&resource, &observed)).1, "JobPending");
}

#[test]
fn the_jobs_progress_is_shown_with_its_live_figures() {
    let observed = Observed {
        mailbox: Mailbox {
            progress: Some(Progress {
                stage: "Measuring".into(),
                variant: Some("int8".into()),
                scenario: Some("high".into()),
                elapsed: candlepower_api::value::Duration::from_secs(42),
                users: 50,
                figures: Figures {
                    ttft_p95: Some(0.3),
                    ..Figures::default()
                },
            }),
            ..Mailbox::default()
        },
        ..started()
    };
    let status = derived(&resource(), &observed);
    assert_eq!(complete(&status), ("False", "Running"));
    assert_eq!(status.stage.as_deref(), Some("Measuring"));
    let scenario = status.scenario.unwrap();
    assert_eq!((scenario.name.as_str(), scenario.users), ("high", 50));
    assert_eq!(status.summary.unwrap().ttft_p95.as_deref(), Some("300ms"));
    assert_eq!(status.started_at.as_deref(), Some("2026-01-01T11:50:00Z"));
}

fn summary() -> Summary {
    let scenario = |name: &str, users, ttft_p95| ScenarioSummary {
        name: name.into(),
        load: format!("{users} users"),
        users,
        met: Some(users < 50),
        figures: Figures {
            ttft_p95: Some(ttft_p95),
            tokens_per_second: Some(812.4),
            requests: 100,
            ..Figures::default()
        },
        ..ScenarioSummary::default()
    };
    Summary {
        scenarios: vec![scenario("baseline", 10, 0.1), scenario("stress", 100, 2.5)],
        variants: vec![VariantSummary {
            name: "int8".into(),
            scenarios: Vec::new(),
            result: "the copy did not serve".into(),
        }],
        verdict: job::Verdict::Missed,
        breaking_point: Some("100 users".into()),
        primary_bottleneck: Some("compute".into()),
        workload: "w".into(),
        shortened: None,
    }
}

#[test]
fn a_missing_certificate_is_named_and_asked_for_again_until_the_pod_runs() {
    let resource = testing::benchmark(json!({"target": {
        "url": "https://a", "model": "m", "ca": {"secretRef": {"name": "corporate"}},
    }}));
    let prepared = json!({"metadata": {"name": "nightly-bench-x"}, "status": {
        "phase": "Pending", "startTime": testing::NOW,
    }});
    let missing = Observed {
        pods: vec![Arc::new(serde_json::from_value(prepared).unwrap())],
        start_failure: Some(
            "MountVolume.SetUp failed for volume \"target-ca\" : secret \"corporate\" not found"
                .into(),
        ),
        target: None,
        ..started()
    };
    let next_look = |observed: &Observed| {
        let decision = decide::decide(&resource, observed, now());
        decide::next_look(&decision, observed, now())
    };
    let status = derived(&resource, &missing);
    assert_eq!(complete(&status), ("False", "VolumeNotReady"));
    let message = &find(&status.conditions, "Complete").unwrap().message;
    assert!(message.contains("\"corporate\" not found"), "{message}");
    assert!(next_look(&missing).is_some());
    let runs = Observed {
        target: None,
        ..started()
    };
    assert_eq!(complete(&derived(&resource, &runs)).1, "Running");
    assert_eq!(next_look(&runs), None);
}

#[test]
fn a_report_that_is_written_is_the_result() {
    let observed = Observed {
        job: job(json!([{"type": "Complete", "status": "True"}])),
        mailbox: Mailbox {
            summary: Some(summary()),
            ..Mailbox::default()
        },
        ..started()
    };
    let status = derived(&resource(), &observed);
    insta::assert_yaml_snapshot!("complete", status);
    // From then on nothing changes, whatever happens to the target or the job.
    let later = Observed {
        previous: status.clone(),
        ..Observed::default()
    };
    assert_eq!(derived(&resource(), &later), status);
}

#[test]
fn a_job_that_ends_without_a_report_has_failed_for_good() {
    let observed = Observed {
        job: job(json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}])),
        ..started()
    };
    let status = derived(&resource(), &observed);
    assert_eq!(complete(&status), ("False", "DeadlineExceeded"));
    assert_eq!(find(&status.conditions, "Failed").unwrap().status, "True");
    assert_eq!(status.stage.as_deref(), Some("Failed"));
    assert!(status.completed_at.is_some());
}

#[test]
fn a_job_that_somebody_deleted_is_not_made_again() {
    let observed = Observed {
        job: None,
        ..started()
    };
    assert_eq!(
        complete(&derived(&resource(), &observed)),
        ("False", "JobDeleted")
    );
}

#[test]
fn a_target_that_goes_away_under_load_is_the_jobs_to_report() {
    let observed = Observed {
        target: None,
        ..started()
    };
    assert_eq!(complete(&derived(&resource(), &observed)).1, "Running");
}

#[test]
fn a_comparison_waits_for_the_run_to_compare_with() {
    let resource = testing::benchmark(json!({
        "target": {"deployment": "tiny"}, "baseline": {"benchmark": "before"},
    }));
    assert_eq!(
        complete(&derived(&resource, &ready())).1,
        "BaselineNotReady"
    );
    let observed = Observed {
        baseline: Some(summary()),
        ..ready()
    };
    assert_eq!(complete(&derived(&resource, &observed)).1, "JobPending");
}

#[test]
fn a_schedule_says_when_it_runs_next_and_whether_it_got_worse() {
    let resource = testing::named(
        "nightly",
        testing::NOW,
        json!({"target": {"deployment": "tiny"}, "schedule": "0 3 * * *"}),
    );
    let status = derived(&resource, &Observed::default());
    assert_eq!(complete(&status), ("False", "ScheduleActive"));
    let schedule = status.schedule.unwrap();
    assert_eq!(schedule.next_due.as_deref(), Some("2026-01-02T03:00:00Z"));
    let regressed = find(&status.conditions, "Regressed").unwrap();
    assert_eq!(
        (regressed.status.as_str(), regressed.reason.as_str()),
        ("Unknown", "NothingToCompare")
    );
}

/// `Regressed` of a schedule with these TTFT-P95 of its runs, in seconds and within a hundredth; `None`: it failed.
fn regressed(runs: &[Option<f64>]) -> (String, String) {
    let spec = json!({"target": {"deployment": "tiny"}, "schedule": "0 3 * * *"});
    let resource = testing::named("nightly", testing::NOW, spec);
    let runs = runs.iter().zip(1..).map(|(ttft_p95, day)| {
        let (name, created) = (
            format!("nightly-{day}"),
            format!("2025-12-0{day}T03:00:00Z"),
        );
        let target = json!({"target": {"deployment": "tiny"}});
        Run {
            benchmark: Arc::new(testing::named(&name, &created, target)),
            summary: ttft_p95.map(|ttft_p95| {
                let mut summary = summary();
                summary.scenarios[0].figures.ttft_p95 = Some(ttft_p95);
                summary.scenarios[0].intervals.ttft_p95 = Some(job::Range {
                    low: ttft_p95 * 0.99,
                    high: Some(ttft_p95 * 1.01),
                });
                summary
            }),
        }
    });
    let observed = Observed {
        runs: runs.collect(),
        ..Observed::default()
    };
    let status = derived(&resource, &observed);
    let found = find(&status.conditions, "Regressed").unwrap();
    (found.status.clone(), found.message.clone())
}

#[test]
fn a_schedule_has_got_worse_where_its_last_run_is_worse_than_the_one_before() {
    let (status, message) = regressed(&[Some(0.1), Some(0.2)]);
    assert_eq!(status, "True");
    assert!(
        message.contains("nightly-2 is worse than nightly-1")
            && message.contains("TTFT-P95 rose from 100 ms to 200 ms"),
        "{message}"
    );
    // The night after is as the bad one, or as the good one before it: both are no news.
    assert_eq!(regressed(&[Some(0.1), Some(0.2), Some(0.2)]).0, "False");
    assert_eq!(regressed(&[Some(0.1), Some(0.2), Some(0.1)]).0, "False");
}

#[test]
fn a_schedule_is_judged_by_results_and_not_by_failures() {
    assert_eq!(regressed(&[Some(0.1), None]).0, "Unknown");
    let (status, message) = regressed(&[Some(0.1), None, Some(0.2), None]);
    assert_eq!(status, "True");
    assert!(
        message.contains("nightly-3 is worse than nightly-1"),
        "{message}"
    );
}

#[test]
fn each_transition_is_told_once() {
    let observed = ready();
    let first = derived(&resource(), &observed);
    let told = events::transitions(&observed.previous, &first);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].reason, "JobPending");
    assert!(events::transitions(&first, &first).is_empty());
}
