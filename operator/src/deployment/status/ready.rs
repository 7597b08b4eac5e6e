//! `Ready`, `Scheduled` and `ModelLoaded`.
use super::{
    super::{
        apply::{Applied, Outcome},
        dereference::ObservedPod,
    },
    conditions::{Truth, Verdict},
    pods::{self, Diagnosis},
    words,
};
use crate::children::REPLICA_FAILURE;
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentStatus},
    names::{conditions, reasons::LoadFailure},
    server_config::LoadStage,
};
use k8s_openapi::api::apps::v1::DeploymentStatus;

/// Whether every wanted pod is up to date and serves, and if not, why.
pub(super) fn ready(
    resource: &LLMDeployment,
    outcome: &Outcome,
    diagnoses: &[Diagnosis],
    workload: &DeploymentStatus,
) -> Verdict {
    let not = |reason: &str, message: String| {
        Verdict::new(conditions::READY, Truth::False, reason, message)
    };
    let applied = match outcome {
        Outcome::Rejected(rejection) => return not(rejection.reason, rejection.message.clone()),
        Outcome::Refused(refusal) => return not(conditions::CHILD_REFUSED, refusal.to_string()),
        Outcome::Applied(applied) => applied,
    };
    let desired = desired(resource, outcome);
    if desired == 0 {
        return not(
            conditions::SCALED_TO_ZERO,
            "spec.replicas is 0, so nothing is served: set it to 1 or more".to_owned(),
        );
    }
    let serving = diagnoses
        .iter()
        .filter(|diagnosis| **diagnosis == Diagnosis::Ready)
        .count();
    if serving >= desired && is_rolled_out(applied, desired) {
        let verb = if desired == 1 { "serves" } else { "serve" };
        let message = format!("{} {verb}", words::pods(desired));
        return Verdict::new(
            conditions::READY,
            Truth::True,
            conditions::ALL_PODS_READY,
            message,
        );
    }
    let (reason, message) = why_not(diagnoses, workload, serving, desired);
    let still = match usize::try_from(workload.ready_replicas.unwrap_or_default()) {
        Ok(count) if count > 0 => format!(" ({} of {desired} ready)", count.min(desired)),
        _ => String::new(),
    };
    not(reason, format!("{message}{still}"))
}

/// The number of pods that are wanted: what was applied, which an autoscaler may have chosen.
fn desired(resource: &LLMDeployment, outcome: &Outcome) -> usize {
    let replicas = match outcome {
        Outcome::Applied(applied) => applied.deployment.workload().replicas,
        Outcome::Rejected(_) | Outcome::Refused(_) => None,
    };
    usize::try_from(replicas.unwrap_or_else(|| resource.wanted_replicas())).unwrap_or_default()
}

/// Whether the Deployment has the wanted pods, all of the newest form, and no others.
fn is_rolled_out(applied: &Applied, desired: usize) -> bool {
    let workload = applied.deployment.workload();
    let status = &workload.status;
    let counts = |number: Option<i32>| usize::try_from(number.unwrap_or_default()) == Ok(desired);
    status.observed_generation >= applied.deployment.identity.generation
        && counts(status.replicas)
        && counts(status.updated_replicas)
        && counts(status.ready_replicas)
}

/// The most helpful reason: what needs help before what needs time.
fn why_not(
    diagnoses: &[Diagnosis],
    workload: &DeploymentStatus,
    serving: usize,
    desired: usize,
) -> (&'static str, String) {
    let refused = workload
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == REPLICA_FAILURE && condition.status == "True");
    if let Some(refused) = refused {
        let message = refused.message.as_deref().unwrap_or("no reason was given");
        let cure = if message.contains("PodSecurity") {
            "; use pvc:// instead of file://, or a namespace with another Pod Security level"
        } else if message.contains("quota") {
            "; raise the quota, or lower spec.resources"
        } else {
            ""
        };
        return (
            conditions::REPLICA_FAILURE,
            format!("pods may not be created: {message}{cure}"),
        );
    }
    let failing = diagnoses.iter().find_map(|diagnosis| match diagnosis {
        Diagnosis::Failing(reason, message) => Some((*reason, message.clone())),
        Diagnosis::Progress(..) | Diagnosis::Ready => None,
    });
    let progress = diagnoses.iter().find_map(|diagnosis| match diagnosis {
        Diagnosis::Progress(reason, message) => Some((*reason, message.clone())),
        Diagnosis::Failing(..) | Diagnosis::Ready => None,
    });
    failing
        .or(progress)
        .unwrap_or_else(|| waiting_for_the_workload(diagnoses.len(), workload, serving, desired))
}

/// Kubernetes counts a moment later than the pods change.
pub(super) const ABOUT_TO_SERVE: &str = "the model is loaded and is about to serve";

/// All pods that exist are well, but they are not yet the ones that are wanted.
fn waiting_for_the_workload(
    existing: usize,
    workload: &DeploymentStatus,
    serving: usize,
    desired: usize,
) -> (&'static str, String) {
    if existing == 0 {
        let message = format!("{} to be created", words::pods(desired));
        return (conditions::PODS_PENDING, message);
    }
    if serving < desired {
        let message = format!("{} more to be created", words::pods(desired - serving));
        return (conditions::ROLLOUT_IN_PROGRESS, message);
    }
    let ready = usize::try_from(workload.ready_replicas.unwrap_or_default()).unwrap_or_default();
    if ready < desired && workload.updated_replicas == workload.replicas {
        return (conditions::LOADING, ABOUT_TO_SERVE.to_owned());
    }
    let message = "pods of an earlier form, or too many, are being stopped".to_owned();
    (conditions::ROLLOUT_IN_PROGRESS, message)
}

/// Whether every pod has a node.
pub(super) fn scheduled(
    resource: &LLMDeployment,
    outcome: &Outcome,
    pods: &[&ObservedPod],
) -> Verdict {
    let verdict = |truth, reason: &str, message: &str| {
        Verdict::new(conditions::SCHEDULED, truth, reason, message)
    };
    if let Some(message) = pods.iter().find_map(|pod| pods::unschedulable(&pod.pod)) {
        return verdict(Truth::False, conditions::UNSCHEDULABLE, &message);
    }
    if let Some(reason) = without_pods(resource, outcome, pods) {
        return verdict(Truth::Unknown, reason, "there are no pods; see Ready");
    }
    let waits = pods.iter().any(|pod| !pod.pod.is_scheduled());
    if waits {
        return verdict(
            Truth::Unknown,
            conditions::PODS_PENDING,
            "a pod waits for the scheduler",
        );
    }
    verdict(
        Truth::True,
        conditions::ALL_PODS_SCHEDULED,
        "every pod has a node",
    )
}

fn without_pods(
    resource: &LLMDeployment,
    outcome: &Outcome,
    pods: &[&ObservedPod],
) -> Option<&'static str> {
    match outcome {
        Outcome::Applied(_) if desired(resource, outcome) == 0 => Some(conditions::SCALED_TO_ZERO),
        _ if !pods.is_empty() => None,
        Outcome::Applied(_) => Some(conditions::PODS_PENDING),
        Outcome::Rejected(rejection) => Some(rejection.reason),
        Outcome::Refused(_) => Some(conditions::CHILD_REFUSED),
    }
}

/// Whether the model is in memory in every wanted pod.
pub(super) fn model_loaded(
    resource: &LLMDeployment,
    outcome: &Outcome,
    pods: &[&ObservedPod],
    diagnoses: &[Diagnosis],
    previous: &LLMDeploymentStatus,
) -> Verdict {
    let verdict = |truth, reason: &str, message: &str| {
        Verdict::new(conditions::MODEL_LOADED, truth, reason, message)
    };
    if let Some(reason) = without_pods(resource, outcome, pods) {
        return verdict(Truth::False, reason, "no server runs; see Ready");
    }
    let failure = diagnoses.iter().find_map(|diagnosis| match diagnosis {
        Diagnosis::Failing(reason, message) if concerns_loading(reason) => Some((reason, message)),
        _ => None,
    });
    if let Some((reason, message)) = failure {
        return verdict(Truth::False, reason, message);
    }
    let was_loaded = previous
        .conditions
        .iter()
        .any(|condition| condition.type_ == conditions::MODEL_LOADED && condition.status == "True");
    let loaded = pods
        .iter()
        .filter(|pod| has_loaded(pod, resource.spec.preload || was_loaded))
        .count();
    if loaded >= desired(resource, outcome).max(1) {
        return verdict(
            Truth::True,
            conditions::LOADED,
            "the model is in memory in every pod",
        );
    }
    let least = pods
        .iter()
        .filter_map(|pod| pod.report.as_ref())
        .min_by_key(|report| (report.stage, report.percent));
    match least {
        Some(report) if report.stage == LoadStage::Waiting => verdict(
            Truth::False,
            conditions::WAITING_FOR_REQUEST,
            "spec.preload is false: the first request loads the model, and waits for it",
        ),
        Some(report) if report.stage != LoadStage::Loaded => {
            verdict(Truth::False, conditions::LOADING, &pods::progress(report))
        }
        Some(_) => verdict(
            Truth::False,
            conditions::LOADING,
            &format!(
                "{loaded} of {} have loaded it",
                words::pods(desired(resource, outcome))
            ),
        ),
        None => verdict(
            Truth::False,
            conditions::SERVER_NOT_STARTED,
            "no server has answered yet; see Ready",
        ),
    }
}

/// A pod that is not asked counts as loaded where being ready implies it.
fn has_loaded(pod: &ObservedPod, ready_implies_loaded: bool) -> bool {
    match &pod.report {
        Some(report) => report.stage == LoadStage::Loaded,
        None => ready_implies_loaded && pod.pod.is_ready(),
    }
}

fn concerns_loading(reason: &str) -> bool {
    let is_failure = serde_json::from_value::<LoadFailure>(reason.into()).is_ok();
    is_failure || matches!(reason, conditions::OOM_KILLED | conditions::CRASH_LOOP)
}
