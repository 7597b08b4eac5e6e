//! The status, as a pure function of what was decided and observed; writing it is the only request
//! made here.
mod events;
mod figures;
mod regressed;
#[cfg(test)]
mod tests;

use super::{
    apply::Outcome,
    build::names,
    context::Context,
    decide::{Decision, End, Obstacle},
    dereference::Observed,
    pod,
    schedule::Schedule,
};
use crate::{
    conditions::{Conditions, Truth, Verdict},
    error::Error,
    events::publish,
    status::write,
};
use candlepower_api::{
    benchmark::{
        LLMBenchmark, LLMBenchmarkStatus,
        job::{Progress, Summary},
        status::{ScenarioProgress, ScheduleStatus},
    },
    names::conditions,
};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

/// What `resource` is like at the time `now`.
pub(super) fn derive(
    resource: &LLMBenchmark,
    observed: &Observed,
    decision: &Decision,
    outcome: &Outcome,
    now: Timestamp,
) -> LLMBenchmarkStatus {
    let previous = &observed.previous;
    if matches!(decision, Decision::Ended) {
        return previous.clone();
    }
    let mut status = LLMBenchmarkStatus {
        observed_generation: resource.metadata.generation,
        target: Some(resource.spec.target.display().to_owned()),
        conditions: Vec::new(),
        ..previous.clone()
    };
    let mut set = Conditions::new(&previous.conditions, resource.metadata.generation, now);
    match (outcome, decision) {
        (Outcome::Refused(refusal), _) => {
            status.stage = Some("Waiting".to_owned());
            set.set(incomplete(conditions::CHILD_REFUSED, refusal.to_string()));
        }
        (_, Decision::Schedule(schedule)) => {
            status.stage = Some("Scheduled".to_owned());
            status.schedule = Some(scheduled(schedule, outcome, observed));
            set.set(incomplete(
                conditions::SCHEDULE_ACTIVE,
                format!("the next run is due at {}", schedule.next_due),
            ));
            set.set(regressed::verdict(resource, &observed.runs));
        }
        (_, Decision::Wait(obstacle)) => {
            status.stage = Some("Waiting".to_owned());
            set.set(incomplete(obstacle.reason, obstacle.message.clone()));
        }
        (_, Decision::Run(_)) => {
            let started = previous.started_at.clone().unwrap_or_else(|| moment(now));
            status.started_at = Some(started);
            status.report_ref = Some(names::report(&resource.name_any()));
            set.set(running(observed, &mut status));
        }
        (_, Decision::End(end)) => {
            status.completed_at = Some(moment(now));
            for verdict in over(end, &mut status) {
                set.set(verdict);
            }
            if let End::Complete(summary) = &**end {
                let baseline = observed.baseline.as_ref();
                let verdict = regressed::against_baseline(resource, baseline, summary);
                if let Some(verdict) = verdict {
                    set.set(verdict);
                }
            }
        }
        (_, Decision::Ended) => {}
    }
    status.conditions = set.into_list();
    status
}

/// Kubernetes writes whole seconds.
fn moment(now: Timestamp) -> String {
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    seconds.to_string()
}

fn incomplete(reason: &'static str, message: String) -> Verdict {
    Verdict::new(conditions::COMPLETE, Truth::False, reason, message)
}

/// Takes over how far the job is.
fn running(observed: &Observed, status: &mut LLMBenchmarkStatus) -> Verdict {
    let progress = observed.mailbox.progress.as_ref();
    if let Some(obstacle) = pod::pending(&observed.pods, observed.start_failure.as_deref()) {
        // What an earlier pod of the job had told is over.
        status.stage = Some("Starting".to_owned());
        let Obstacle { reason, message } = obstacle;
        return incomplete(reason, message);
    }
    let Some(progress) = progress else {
        status.stage = Some("Starting".to_owned());
        return incomplete(conditions::RUNNING, "the load generator starts".to_owned());
    };
    status.stage = Some(progress.stage.clone());
    if let Some(scenario) = scenario(progress) {
        status.scenario = Some(scenario);
        status.summary = Some(figures::text(&progress.figures));
    }
    incomplete(conditions::RUNNING, what_runs(progress))
}

fn scenario(progress: &Progress) -> Option<ScenarioProgress> {
    Some(ScenarioProgress {
        name: progress.scenario.clone()?,
        variant: progress.variant.clone(),
        elapsed: progress.elapsed,
        users: progress.users,
    })
}

/// Without figures, because a message that changes all the time tells nothing.
fn what_runs(progress: &Progress) -> String {
    let of = match &progress.variant {
        Some(variant) => format!(" of the variant {variant}"),
        None => String::new(),
    };
    match &progress.scenario {
        Some(scenario) => format!("the scenario {scenario}{of} runs"),
        None => format!("{}{of}", progress.stage),
    }
}

/// Takes over the result, or why there is none.
fn over(end: &End, status: &mut LLMBenchmarkStatus) -> Vec<Verdict> {
    match end {
        End::Complete(summary) => {
            complete(summary, status);
            let report = status.report_ref.as_deref().unwrap_or_default();
            vec![Verdict::new(
                conditions::COMPLETE,
                Truth::True,
                conditions::REPORT_WRITTEN,
                format!("the report is in the ConfigMap {report}"),
            )]
        }
        End::Failed(Obstacle { reason, message }) => {
            status.stage = Some("Failed".to_owned());
            vec![
                incomplete(reason, message.clone()),
                Verdict::new(conditions::FAILED, Truth::True, *reason, message.clone()),
            ]
        }
    }
}

fn complete(summary: &Summary, status: &mut LLMBenchmarkStatus) {
    status.stage = Some("Complete".to_owned());
    // The highest load is what a model is known by.
    if let Some(last) = summary.scenarios.last() {
        status.summary = Some(figures::text(&last.figures));
        let elapsed = status.scenario.as_ref().map(|scenario| scenario.elapsed);
        status.scenario = Some(ScenarioProgress {
            name: last.name.clone(),
            variant: None,
            elapsed: elapsed.unwrap_or_default(),
            users: last.users,
        });
    }
    status.scenarios = summary.scenarios.iter().map(figures::scenario).collect();
    status.variants = summary.variants.iter().map(figures::variant).collect();
    status.breaking_point.clone_from(&summary.breaking_point);
    status
        .primary_bottleneck
        .clone_from(&summary.primary_bottleneck);
    status.verdict = Some(summary.verdict.as_str().to_owned());
}

fn scheduled(schedule: &Schedule, outcome: &Outcome, observed: &Observed) -> ScheduleStatus {
    let before = observed.previous.schedule.as_ref();
    let made = match outcome {
        Outcome::Applied { run } => run.clone(),
        Outcome::Refused(_) => None,
    };
    ScheduleStatus {
        last_run: made.or_else(|| before.and_then(|before| before.last_run.clone())),
        last_due: schedule.last_due.map(moment),
        next_due: Some(moment(schedule.next_due)),
    }
}

/// Writes `status` if it says something new, and publishes what changed.
pub(super) async fn update(
    resource: &LLMBenchmark,
    observed: &Observed,
    status: &LLMBenchmarkStatus,
    context: &Context,
) -> Result<(), Error> {
    let Context {
        client,
        metrics,
        written,
        ..
    } = context;
    let previous = &observed.previous;
    if !write(resource, previous, status, client, metrics, written).await? {
        return Ok(());
    }
    let events = events::transitions(previous, status);
    let about = resource.object_ref(&());
    publish(&context.publisher, metrics, &events, &about).await;
    Ok(())
}
