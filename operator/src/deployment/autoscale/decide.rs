//! The decision of one round.
use super::{Decision, Demand, pods, wishes::Wishes};
use candlepower_api::{
    deployment::{Autoscaling, LLMDeploymentSpec},
    names::scaling,
};
use std::time::Instant;

/// What a decision is made from.
pub(in crate::deployment) struct Seen<'a> {
    pub(in crate::deployment) demand: &'a Demand,
    /// The number of pods that the child Deployment asks for.
    pub(in crate::deployment) current: i32,
    /// What the status says.
    pub(in crate::deployment) told: Option<&'a Decision>,
    /// Whether a pod has given no metrics for some rounds.
    pub(in crate::deployment) lasts: bool,
}

/// What is remembered of one resource from round to round.
#[derive(Debug, Default)]
pub(in crate::deployment) struct Autoscaler {
    wishes: Option<Wishes>,
    last: Option<Decision>,
}

impl Autoscaler {
    /// Chooses at `now`, for a resource with this `spec` and these `limits`.
    pub(in crate::deployment) fn decide(
        &mut self,
        spec: &LLMDeploymentSpec,
        limits: &Autoscaling,
        seen: &Seen<'_>,
        now: Instant,
    ) -> Decision {
        let current = seen.current;
        let (lowest, highest) = self
            .wishes
            .get_or_insert_with(|| Wishes::starting(current, now))
            .push(
                wish(spec, limits, seen),
                now,
                limits.scale_up_stabilization.as_std(),
                limits.scale_down_stabilization.as_std(),
            );
        // What is there stays where it is neither too few for all of one window nor too many for all
        // of the other.
        let settled = if current < lowest {
            lowest
        } else {
            current.min(highest)
        };
        let target = limits.clamp(settled);
        let decision = if target == current {
            self.unchanged(target, highest, limits, seen)
        } else if target == limits.clamp(current) {
            Decision::limited(target, current, limits)
        } else if target > current {
            rise(target, spec, limits, seen)
        } else {
            fall(target, limits, seen)
        };
        self.last = Some(decision.clone());
        decision
    }

    /// The number stays. So does what was said of it, unless something stands in the way now, or did.
    fn unchanged(
        &self,
        replicas: i32,
        highest: i32,
        limits: &Autoscaling,
        seen: &Seen<'_>,
    ) -> Decision {
        if seen.lasts {
            let message = format!(
                "{} as before: a pod that serves gives no metrics; see ObservabilityReady",
                pods(replicas)
            );
            return Decision::new(replicas, scaling::FIGURES_MISSING, message);
        }
        if highest > limits.max_replicas {
            let message = format!(
                "{}, as maxReplicas allows: the requests of the last {} would have needed {highest}",
                pods(replicas),
                limits.scale_down_stabilization
            );
            return Decision::new(replicas, scaling::AT_MAXIMUM, message);
        }
        let holds = |said: &&Decision| {
            let passing = [scaling::FIGURES_MISSING, scaling::AT_MAXIMUM];
            said.replicas == replicas && !passing.contains(&said.reason.as_str())
        };
        let said = seen.told.filter(holds).or(self.last.as_ref().filter(holds));
        said.cloned().unwrap_or_else(|| Decision::enough(replicas))
    }
}

/// What is needed now. What is not known is taken to need the pods that are there.
fn wish(spec: &LLMDeploymentSpec, limits: &Autoscaling, seen: &Seen<'_>) -> i32 {
    match seen.demand.needed(spec, limits) {
        None => seen.current,
        Some(needed) if seen.demand.unread > 0 => needed.max(seen.current),
        Some(needed) => needed,
    }
}

fn rise(
    replicas: i32,
    spec: &LLMDeploymentSpec,
    limits: &Autoscaling,
    seen: &Seen<'_>,
) -> Decision {
    let held = (seen.demand.held_by_one(spec, limits) * 10.0).round() / 10.0;
    let refused = if seen.demand.refused {
        ", and others were refused because the queue is full"
    } else {
        ""
    };
    let message = format!(
        "{} instead of {}: {}, and a pod holds {held}{refused}",
        pods(replicas),
        seen.current,
        seen.demand.told()
    );
    Decision::new(replicas, scaling::LOAD_ROSE, message)
}

fn fall(replicas: i32, limits: &Autoscaling, seen: &Seen<'_>) -> Decision {
    let message = format!(
        "{} instead of {}: more were not needed in the last {}; {}",
        pods(replicas),
        seen.current,
        limits.scale_down_stabilization,
        seen.demand.told()
    );
    Decision::new(replicas, scaling::LOAD_FELL, message)
}
