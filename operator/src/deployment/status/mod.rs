//! The status, as a pure function of what was applied and observed; writing it is the only
//! request made here.
mod devices;
mod fits;
pub(super) mod observability;
mod pods;
mod ready;
mod startup;
mod supported;
pub(super) mod words;

use super::{
    apply::Outcome,
    autoscale,
    build::{self, labels},
    context::Context,
    dereference::{Observed, ObservedPod},
    devices::{Serving, WHILE_ABSENT},
    error::Error,
    events,
    figures::{self, Reading},
    fits::{Fit, NODES_LIFETIME},
};
use crate::{
    conditions::{self, Conditions},
    events::find,
    status::write,
};
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentStatus, status::Load},
    names::conditions as names,
    server_config::{LoadReport, LoadStage},
};
use k8s_openapi::{
    api::apps::v1::DeploymentStatus,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;
use std::time::Duration;

/// Loading is followed this closely.
const WHILE_LOADING: Duration = Duration::from_secs(1);
/// Kubernetes counts a pod that has become ready well within this time, which is told in whole seconds.
const MOMENT: SignedDuration = SignedDuration::from_secs(3);
/// How soon a status that is for a moment only is looked at again, where nothing happens before.
pub(super) const WITHIN_A_MOMENT: Duration = Duration::from_secs(1);
/// A node that prepares a pod is looked at again, in case it cannot.
const WHILE_STARTING: Duration = Duration::from_secs(10);
/// A model that waits for its first request is looked at this rarely.
const WHILE_WAITING: Duration = Duration::from_secs(15);
/// A server that serves but does not answer the operator (a network policy) is rarely asked again.
const WHILE_UNREACHABLE: Duration = Duration::from_secs(300);
/// Steps in which progress is written: each one is a request to the API server.
const PERCENT_STEP: u8 = 5;

/// What `resource` is like at the time `now`.
pub(super) fn derive(
    resource: &LLMDeployment,
    observed: &Observed,
    outcome: &Outcome,
    now: Timestamp,
) -> LLMDeploymentStatus {
    let previous = &observed.previous;
    let name = resource.name_any();
    let pods = pods::current(observed, outcome);
    let loaded_since = previous
        .conditions
        .iter()
        .find(|condition| condition.type_ == names::MODEL_LOADED && condition.status == "True")
        .map(|condition| condition.last_transition_time.0);
    let diagnoses = pods::diagnose_all(&pods, resource, loaded_since, now);
    let workload = workload(observed, outcome);

    let mut conditions = Conditions::new(&previous.conditions, resource.metadata.generation, now);
    conditions.set(ready::ready(resource, outcome, &diagnoses, &workload));
    conditions.set(ready::scheduled(resource, outcome, &pods));
    conditions.set(ready::model_loaded(
        resource, outcome, &pods, &diagnoses, previous,
    ));
    let model = pods
        .iter()
        .find_map(|pod| pod.report.as_ref()?.model.clone())
        .or_else(|| previous.model.clone());
    let is_loaded = conditions.is_true(names::MODEL_LOADED);
    let loaded = model.as_ref().filter(|_| is_loaded);
    conditions.set(fits::fits_memory(
        &resource.spec,
        observed,
        outcome,
        &diagnoses,
        loaded,
    ));
    conditions.set(supported::spec_supported(&resource.spec));
    conditions.set(observability::observability_ready(
        resource, observed, outcome, &pods,
    ));

    let reading = reading(observed);
    let (image, image_device, applied) = match outcome {
        Outcome::Applied(applied) => {
            let device = resource.spec.resources.device();
            (Some(applied.image.clone()), device, true)
        }
        Outcome::Rejected(_) | Outcome::Refused(_) => {
            (previous.image.clone(), previous.image_device, false)
        }
    };
    let has_children = applied || !observed.services.is_empty();
    LLMDeploymentStatus {
        observed_generation: resource.metadata.generation,
        load: load(&pods, previous, is_loaded),
        model,
        startup: startup::startup(resource, previous, conditions.is_true(names::READY), now),
        conditions: conditions.into_list(),
        replicas: workload.replicas.unwrap_or_default(),
        ready_replicas: workload.ready_replicas.unwrap_or_default(),
        autoscaling: if applied {
            autoscale::status(resource, observed, now)
        } else {
            previous.autoscaling.clone()
        },
        selector: Some(labels::selector_text(&name)),
        url: has_children.then(|| {
            let namespace = resource.namespace().unwrap_or_default();
            build::url(&name, &namespace, &resource.spec.access)
        }),
        image,
        image_device,
        performance: reading.performance,
        alerts: reading.alerts,
        observability: observability::status(resource, observed, outcome),
    }
}

/// Figures and alerts. Those of before stay where nothing was asked yet, and where nothing but the
/// time would change.
fn reading(observed: &Observed) -> Reading {
    let before = Reading::told(Some(&observed.previous));
    match &observed.reading {
        Some(reading) if !figures::says_the_same(reading, &before) => reading.clone(),
        _ => before,
    }
}

/// What the child Deployment counts, where there is one.
fn workload(observed: &Observed, outcome: &Outcome) -> DeploymentStatus {
    let deployment = match outcome {
        Outcome::Applied(applied) => Some(&applied.deployment),
        Outcome::Rejected(_) | Outcome::Refused(_) => observed.deployments.first().map(|it| &**it),
    };
    deployment.map_or_else(DeploymentStatus::default, |deployment| {
        deployment.workload().into_owned().status
    })
}

/// How far the pod is that is furthest behind.
fn load(pods: &[&ObservedPod], previous: &LLMDeploymentStatus, loaded: bool) -> Option<Load> {
    let report = pods
        .iter()
        .filter_map(|pod| pod.report.as_ref())
        .min_by_key(|report| (report.stage, report.percent));
    match report {
        Some(report) if report.stage == LoadStage::Loaded => Some(Load {
            stage: LoadStage::Loaded,
            percent: 100,
            remaining: None,
        }),
        Some(report) => Some(Load {
            stage: report.stage,
            percent: i32::from(rounded(report.percent)),
            remaining: remaining(report),
        }),
        // Nobody is asked once everything has settled.
        None if loaded && !pods.is_empty() => previous.load.clone(),
        None => None,
    }
}

/// Progress in steps, so that each one is worth its request.
fn rounded(percent: u8) -> u8 {
    percent.min(100) / PERCENT_STEP * PERCENT_STEP
}

/// The time that is left in steps, so that each one is worth its request.
fn remaining(report: &LoadReport) -> Option<candlepower_api::value::Duration> {
    let seconds = report.remaining?.as_std().as_secs();
    let step = match seconds {
        0..60 => 10,
        60..600 => 30,
        600..3600 => 300,
        _ => 1800,
    };
    let rounded = seconds.div_ceil(step).saturating_mul(step);
    Some(candlepower_api::value::Duration::from_secs(rounded))
}

/// Whether the last status already says everything that a pod could be asked for.
pub(super) fn is_settled(resource: &LLMDeployment, previous: &LLMDeploymentStatus) -> bool {
    let holds = |type_: &str| {
        previous
            .conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    previous.observed_generation == resource.metadata.generation
        && previous.model.is_some()
        && holds(names::READY)
        && holds(names::MODEL_LOADED)
}

/// When to look again without being told of a change. `None`: only then.
pub(super) fn next_look(
    observed: &Observed,
    outcome: &Outcome,
    status: &LLMDeploymentStatus,
) -> Option<Duration> {
    let Outcome::Applied(_) = outcome else {
        // Only a change of the resource helps, unless that of something else can.
        return match observed.fit {
            Fit::NoGpu(_) => Some(NODES_LIFETIME),
            _ if observed.device_claims == Serving::Absent => Some(WHILE_ABSENT),
            _ => None,
        };
    };
    let condition = |type_: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_)
            .map(|condition| (condition.status.as_str(), condition.reason.as_str()))
    };
    let answered = observed.pods.iter().any(|pod| pod.report.is_some());
    match (condition(names::READY), condition(names::MODEL_LOADED)) {
        (Some(("True", _)), Some(("True", _))) if status.model.is_some() => None,
        (Some(("True", _)), _) if answered => Some(WHILE_WAITING),
        (Some(("True", _)), _) => Some(WHILE_UNREACHABLE),
        (Some((_, names::CONTAINER_STARTING)), _) => Some(WHILE_STARTING),
        _ if observed
            .pods
            .iter()
            .any(|pod| pods::is_running(&pod.pod) && !pod.pod.is_ready()) =>
        {
            Some(WHILE_LOADING)
        }
        (Some((_, names::VOLUME_NOT_READY)), _) => Some(WHILE_STARTING),
        _ => None,
    }
}

/// Whether the status says no more than that Kubernetes has not counted a new pod yet, for no longer than that usually takes:
/// the status after it says all that it does.
pub(super) fn is_for_a_moment(
    status: &LLMDeploymentStatus,
    observed: &Observed,
    now: Timestamp,
) -> bool {
    let ready = find(&status.conditions, names::READY);
    let is_new = |pod: &ObservedPod| {
        let since = pod.pod.ready_since();
        since.is_some_and(|since| now.duration_since(since) < MOMENT)
    };
    ready.is_some_and(|ready| ready.message.starts_with(ready::ABOUT_TO_SERVE))
        && observed.pods.iter().any(is_new)
}

/// Whether a reason why something is not ready is only a matter of time.
pub(super) fn is_progress(reason: &str) -> bool {
    matches!(
        reason,
        names::PODS_PENDING
            | names::CONTAINER_STARTING
            | names::LOADING
            | names::ROLLOUT_IN_PROGRESS
            | names::SCALED_TO_ZERO
    )
}

/// Writes `status` if it says something new, and publishes what changed.
pub(super) async fn update(
    resource: &LLMDeployment,
    observed: &Observed,
    status: &LLMDeploymentStatus,
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
    events::publish_transitions(resource, previous, status, context).await;
    Ok(())
}

#[cfg(test)]
mod tests;
