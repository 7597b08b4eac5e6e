//! How many pods a resource with `spec.autoscaling` gets: pure functions of what its pods said.
//!
//! [`demand`] tells how many pods the requests need → [`wishes`] keeps what was needed in the last
//! minutes → [`decide`] chooses. The scraper asks for a decision in each round, and a reconcile takes
//! the last one. The number that is there already is the child Deployment's own, so that a new
//! operator goes on where the one before it stopped. `spec.replicas` is never written: it belongs to
//! users, and to autoscalers of others.
mod decide;
mod demand;
#[cfg(test)]
mod tests;
mod wishes;

pub(super) use decide::{Autoscaler, Seen};
pub(super) use demand::{Demand, PodLoad};

use super::{dereference::Observed, status::words};
use candlepower_api::{
    deployment::{Autoscaling, AutoscalingStatus, LLMDeployment, LLMDeploymentStatus},
    names::scaling,
};
use k8s_openapi::jiff::{Timestamp, Unit};

/// A number of pods, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Decision {
    pub(super) replicas: i32,
    /// One of [`scaling`]'s, or one that another version wrote.
    pub(super) reason: String,
    pub(super) message: String,
}

impl Decision {
    fn new(replicas: i32, reason: &str, message: String) -> Self {
        Self {
            replicas,
            reason: reason.to_owned(),
            message,
        }
    }

    /// What a status says already.
    pub(super) fn told(status: &LLMDeploymentStatus) -> Option<Self> {
        let told = status.autoscaling.as_ref()?;
        Some(Self::new(
            told.desired_replicas,
            &told.reason,
            told.message.clone(),
        ))
    }

    /// Whether only the figures in the message differ, which change all the time.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        (self.replicas, &self.reason) == (other.replicas, &other.reason)
    }

    fn enough(replicas: i32) -> Self {
        let verb = if replicas == 1 { "holds" } else { "hold" };
        let message = format!("{} {verb} the requests", pods(replicas));
        Self::new(replicas, scaling::ENOUGH, message)
    }

    fn limited(replicas: i32, before: i32, limits: &Autoscaling) -> Self {
        let message = format!(
            "{} instead of {before}: minReplicas is {} and maxReplicas is {}",
            pods(replicas),
            limits.min_replicas,
            limits.max_replicas
        );
        Self::new(replicas, scaling::LIMITS_CHANGED, message)
    }
}

/// The number of pods that `resource` is to have now.
pub(super) fn replicas(resource: &LLMDeployment, observed: &Observed) -> i32 {
    chosen(resource, observed).map_or_else(
        || resource.spec.desired_replicas(),
        |decision| decision.replicas,
    )
}

/// What the operator chooses for `resource`; `None` where it has no say. Limits act at once, and not
/// only when the pods are asked the next time.
fn chosen(resource: &LLMDeployment, observed: &Observed) -> Option<Decision> {
    let limits = resource.spec.autoscaling.as_ref()?;
    let decided = observed.reading.as_ref().and_then(|r| r.scale.clone());
    let told = Decision::told(&observed.previous);
    let deployment = observed.deployments.first();
    let before = [
        decided.as_ref().map(|decision| decision.replicas),
        deployment.and_then(|deployment| deployment.workload().replicas),
        told.as_ref().map(|told| told.replicas),
    ];
    let before = before.into_iter().flatten().next();
    let replicas = limits.clamp(before.unwrap_or(limits.min_replicas));
    let mut known = [decided, told].into_iter().flatten();
    Some(match (known.find(|one| one.replicas == replicas), before) {
        (Some(known), _) => known,
        (None, Some(before)) if before != replicas => Decision::limited(replicas, before, limits),
        (None, _) => Decision::enough(replicas),
    })
}

/// `status.autoscaling` of a resource that has what was chosen for it. Figures in its message are
/// those of the moment in which number or reason changed, so that a steady load writes nothing.
pub(super) fn status(
    resource: &LLMDeployment,
    observed: &Observed,
    now: Timestamp,
) -> Option<AutoscalingStatus> {
    let chosen = chosen(resource, observed)?;
    let before = observed.previous.autoscaling.as_ref();
    let told = Decision::told(&observed.previous);
    if let (Some(before), Some(told)) = (before, told)
        && told.says_the_same(&chosen)
    {
        return Some(before.clone());
    }
    let moved = before.is_some_and(|before| before.desired_replicas != chosen.replicas);
    let now = now.round(Unit::Second).unwrap_or(now).to_string();
    Some(AutoscalingStatus {
        desired_replicas: chosen.replicas,
        reason: chosen.reason,
        message: chosen.message,
        last_scale_time: if moved {
            Some(now)
        } else {
            before.and_then(|before| before.last_scale_time.clone())
        },
    })
}

fn pods(count: i32) -> String {
    words::pods(usize::try_from(count).unwrap_or_default())
}
