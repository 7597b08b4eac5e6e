//! What is to be done about a benchmark now, as a pure function of what was observed.
use super::{
    dereference::Observed,
    pod::{JobEnd, job_end},
    schedule::{self, Schedule},
    served,
};
use crate::{events::find, start_failure::preparing_since};
use candlepower_api::{
    benchmark::{
        ConcurrencyPolicy, LLMBenchmark,
        job::{Served, Summary},
    },
    deployment::LLMDeployment,
    names::conditions,
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use std::{cmp::Reverse, time::Duration};

/// What is to be done now.
#[derive(Debug)]
pub(super) enum Decision {
    /// Its runs are resources of their own.
    Schedule(Box<Schedule>),
    /// Something else has to happen first.
    Wait(Obstacle),
    /// The job is to be there.
    Run(Box<Served>),
    /// It is over; what it had borrowed is given back.
    End(Box<End>),
    /// It has been over for long.
    Ended,
}

/// Why a benchmark does not run yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Obstacle {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// How a benchmark ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Complete(Summary),
    Failed(Obstacle),
}

/// Whether a benchmark has ended, by its status.
pub(super) fn is_over(resource: &LLMBenchmark) -> bool {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| {
        condition.status == "True"
            && matches!(
                condition.type_.as_str(),
                conditions::COMPLETE | conditions::FAILED
            )
    })
}

/// Decides about `resource` at the time `now`.
pub(super) fn decide(resource: &LLMBenchmark, observed: &Observed, now: Timestamp) -> Decision {
    if let Some(expression) = &resource.spec.schedule {
        return match schedule::plan(resource, expression, observed, now) {
            Ok(schedule) => Decision::Schedule(Box::new(schedule)),
            Err(message) => wait(conditions::INVALID_SPEC, message),
        };
    }
    let holds = |type_| {
        find(&observed.previous.conditions, type_).is_some_and(|found| found.status == "True")
    };
    if holds(conditions::COMPLETE) || holds(conditions::FAILED) {
        return Decision::Ended;
    }
    if let Some(end) = end(observed) {
        return Decision::End(Box::new(end));
    }
    let served = match served::target(resource, observed) {
        Ok(served) => served,
        // A target that goes away under load is for the job to see and to report.
        Err(_) if observed.job.is_some() => {
            return Decision::Run(Box::new(served::last_known(resource, observed)));
        }
        Err(obstacle) => return Decision::Wait(obstacle),
    };
    if observed.job.is_some() {
        return Decision::Run(Box::new(served));
    }
    match obstacle(resource, observed) {
        Some(obstacle) => Decision::Wait(obstacle),
        None => Decision::Run(Box::new(served)),
    }
}

fn wait(reason: &'static str, message: String) -> Decision {
    Decision::Wait(Obstacle { reason, message })
}

/// How the job ended, where it has.
fn end(observed: &Observed) -> Option<End> {
    let started = observed.previous.started_at.is_some();
    let ended = match &observed.job {
        Some(job) => job_end(job)?,
        None if started => JobEnd::Deleted,
        None => return None,
    };
    // A report that is complete counts, whatever became of the job afterwards.
    if let Some(summary) = &observed.mailbox.summary {
        return Some(End::Complete(summary.clone()));
    }
    Some(End::Failed(super::pod::failure(&ended, &observed.pods)))
}

fn obstacle(resource: &LLMBenchmark, observed: &Observed) -> Option<Obstacle> {
    if let Some(baseline) = &resource.spec.baseline
        && observed.baseline.is_none()
    {
        return Some(Obstacle {
            reason: conditions::BASELINE_NOT_READY,
            message: format!(
                "the benchmark {} has no result in this namespace; this one waits for it, or delete it and leave out spec.baseline",
                baseline.benchmark
            ),
        });
    }
    let first = first_in_queue(resource, observed)?;
    let stage = first
        .status
        .as_ref()
        .and_then(|status| status.stage.clone());
    Some(Obstacle {
        reason: conditions::QUEUED,
        message: format!(
            "the benchmark {} of the same target comes first (it is: {}); set spec.concurrencyPolicy to Allow to run beside it",
            first.name_any(),
            stage.as_deref().unwrap_or("new")
        ),
    })
}

/// The benchmark of the same target that runs, or else the oldest one; `None` where nothing is before
/// this one.
fn first_in_queue<'a>(resource: &LLMBenchmark, observed: &'a Observed) -> Option<&'a LLMBenchmark> {
    if resource.spec.concurrency_policy == ConcurrencyPolicy::Allow {
        return None;
    }
    let started = |one: &LLMBenchmark| {
        let status = one.status.as_ref();
        status.is_some_and(|status| status.started_at.is_some())
    };
    let order = |one: &LLMBenchmark| {
        (
            Reverse(started(one)),
            one.metadata.creation_timestamp.clone(),
            one.name_any(),
        )
    };
    let mine = order(resource);
    // It may wait for this very benchmark, or for one that never comes.
    let waits_for_baseline = |one: &LLMBenchmark| {
        !started(one) && observed.others_without_baseline.contains(&one.name_any())
    };
    let competing = observed.others.iter().filter(|other| {
        other.spec.schedule.is_none()
            && other.metadata.deletion_timestamp.is_none()
            && other.spec.target.display() == resource.spec.target.display()
            && !is_over(other)
            && !waits_for_baseline(other)
    });
    let first = competing.min_by_key(|other| order(other))?;
    (order(first) < mine).then_some(&**first)
}

/// Why a deployment cannot be measured now.
pub(super) fn not_ready(target: &LLMDeployment) -> Option<Obstacle> {
    let conditions = target.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions.into_iter().find(|condition| {
        condition.type_ == conditions::READY
            && condition.observed_generation == target.metadata.generation
    });
    let obstacle = |message| {
        Some(Obstacle {
            reason: conditions::TARGET_NOT_READY,
            message,
        })
    };
    let name = target.name_any();
    if target.metadata.deletion_timestamp.is_some() {
        return obstacle(format!("the LLMDeployment {name} is being deleted"));
    }
    match ready {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => obstacle(format!(
            "the LLMDeployment {name} is not ready ({}): {}",
            ready.reason, ready.message
        )),
        None => obstacle(format!(
            "the LLMDeployment {name} has not been looked at yet"
        )),
    }
}

/// How often a node that prepares the job's pod is asked what it waits for: nothing else tells.
const WHILE_PREPARING: Duration = Duration::from_secs(5);
/// Clocks may be set, so that no wait is longer.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// When to look again without being told of a change. `None`: only then.
pub(super) fn next_look(
    decision: &Decision,
    observed: &Observed,
    now: Timestamp,
) -> Option<Duration> {
    let schedule = match decision {
        Decision::Schedule(schedule) => schedule,
        Decision::Run(_) => {
            let mut pods = observed.pods.iter();
            let prepared = pods.any(|pod| preparing_since(pod).is_some());
            return prepared.then_some(WHILE_PREPARING);
        }
        Decision::Wait(_) | Decision::End(_) | Decision::Ended => return None,
    };
    let left = schedule
        .next_due
        .duration_since(now)
        .clamp(SignedDuration::from_secs(1), LONGEST_WAIT);
    Some(left.unsigned_abs())
}

#[cfg(test)]
mod tests;
