//! How many pods the requests need that wait and run.
use super::pods;
use candlepower_api::deployment::{Autoscaling, LLMDeploymentSpec};

/// More pods than any limit allows: a bound, so that rubbish overflows nothing.
const MOST_PODS: f64 = 1e6;

/// What one pod said of its requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::deployment) struct PodLoad {
    pub(in crate::deployment) running: f64,
    pub(in crate::deployment) waiting: f64,
}

/// What all pods of a resource said in one round.
#[derive(Clone, Debug, Default)]
pub(in crate::deployment) struct Demand {
    /// The pods that answered.
    pub(in crate::deployment) pods: Vec<PodLoad>,
    /// Pods that may hold requests, but did not say how many: they serve and give no metrics, or they
    /// served before and are not ready now.
    pub(in crate::deployment) unread: usize,
    /// Whether requests were refused since the round before, because as many wait as may.
    pub(in crate::deployment) refused: bool,
}

impl Demand {
    /// The fewest pods that hold all requests; `None` where no pod answered.
    pub(super) fn needed(&self, spec: &LLMDeploymentSpec, limits: &Autoscaling) -> Option<i32> {
        if self.pods.is_empty() {
            return None;
        }
        let requests = self.sum(|pod| pod.running + pod.waiting);
        let needed = ceiling(requests / self.held_by_one(spec, limits));
        // Those that were refused are in no count.
        let answered = i32::try_from(self.pods.len()).unwrap_or(i32::MAX);
        Some(if self.refused {
            needed.max(answered.saturating_add(1))
        } else {
            needed
        })
    }

    /// The requests that one pod holds within both limits, if all pods share them evenly. Requests
    /// wait only where no more can run, so the limit on those that wait is reached after all places of
    /// the batch are taken, and never where fewer may run than there are places.
    pub(super) fn held_by_one(&self, spec: &LLMDeploymentSpec, limits: &Autoscaling) -> f64 {
        let places = f64::from(spec.engine.max_batch_size);
        let at_once = self.seen_at_once().map_or(places, |seen| seen.min(places));
        let may_run = limits
            .running_requests_per_replica
            .map_or(places, f64::from);
        if may_run < at_once {
            return may_run;
        }
        let may_wait = limits
            .waiting_requests_per_replica
            .min(spec.engine.max_queue_depth);
        at_once + f64::from(may_wait)
    }

    /// How many run in a pod where others wait: with long prompts, the KV cache is full before the
    /// batch is.
    fn seen_at_once(&self) -> Option<f64> {
        let full = self.pods.iter().filter(|pod| pod.waiting > 0.0);
        let (pods, running) = full.fold((0.0, 0.0), |(pods, running), pod| {
            (pods + 1.0, running + pod.running)
        });
        (pods > 0.0).then(|| (running / pods).max(1.0))
    }

    /// `3 requests wait and 1 runs on 1 pod`.
    pub(super) fn told(&self) -> String {
        let waiting = ceiling(self.sum(|pod| pod.waiting));
        let running = ceiling(self.sum(|pod| pod.running));
        let answered = i32::try_from(self.pods.len()).unwrap_or(i32::MAX);
        format!(
            "{waiting} {} and {running} {} on {}",
            if waiting == 1 {
                "request waits"
            } else {
                "requests wait"
            },
            if running == 1 { "runs" } else { "run" },
            pods(answered)
        )
    }

    fn sum(&self, of: impl Fn(&PodLoad) -> f64) -> f64 {
        self.pods.iter().map(of).sum()
    }
}

/// The next whole number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the value is bounded, and a conversion of floats has no other form"
)]
fn ceiling(value: f64) -> i32 {
    value.ceil().clamp(0.0, MOST_PODS) as i32
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better without a reference"
    )]
    use super::*;
    use crate::deployment::testing;
    use serde_json::{Value, json};

    /// How many pods are needed with this engine and these limits, when the pods have this many
    /// requests that run and wait.
    fn needed(engine: Value, limits: Value, pods: &[(f64, f64)]) -> Option<i32> {
        demand_of(pods, false, engine, limits)
    }

    fn demand_of(
        pods: &[(f64, f64)],
        refused: bool,
        engine: Value,
        mut limits: Value,
    ) -> Option<i32> {
        limits["maxReplicas"] = json!(100);
        let spec = testing::resource(json!({"engine": engine, "autoscaling": limits})).spec;
        let demand = Demand {
            pods: pods
                .iter()
                .map(|(running, waiting)| PodLoad {
                    running: *running,
                    waiting: *waiting,
                })
                .collect(),
            unread: 0,
            refused,
        };
        demand.needed(&spec, spec.autoscaling.as_ref()?)
    }

    #[test]
    fn a_pod_holds_a_full_batch_and_as_many_as_may_wait() {
        let of = |pods: &[(f64, f64)]| needed(json!({"maxBatchSize": 4}), json!({}), pods);
        assert_eq!(of(&[(0.0, 0.0)]), Some(0));
        assert_eq!(of(&[(4.0, 1.0)]), Some(1), "one may wait");
        assert_eq!(of(&[(4.0, 2.0)]), Some(2));
        assert_eq!(of(&[(4.0, 7.0)]), Some(3), "11 requests, 5 a pod");
        assert_eq!(of(&[(4.0, 1.0), (4.0, 1.0)]), Some(2));
        assert_eq!(
            of(&[(3.0, 0.0), (2.0, 0.0)]),
            Some(1),
            "one would hold them"
        );
    }

    #[test]
    fn fewer_that_may_run_bring_pods_before_requests_wait() {
        let limits = json!({"runningRequestsPerReplica": 2});
        let of = |pods: &[(f64, f64)]| needed(json!({"maxBatchSize": 8}), limits.clone(), pods);
        assert_eq!(of(&[(2.0, 0.0)]), Some(1));
        assert_eq!(of(&[(3.0, 0.0)]), Some(2));
        assert_eq!(of(&[(8.0, 1.0)]), Some(5));
    }

    #[test]
    fn where_requests_wait_a_pod_shows_how_many_it_can_run() {
        // The KV cache is full with two, of sixteen places.
        let of = |pods: &[(f64, f64)]| needed(json!({"maxBatchSize": 16}), json!({}), pods);
        assert_eq!(of(&[(2.0, 4.0)]), Some(2), "6 requests, 3 a pod");
        // The pod that still takes requests says nothing of that.
        assert_eq!(of(&[(2.0, 4.0), (9.0, 0.0)]), Some(5));
        // All have only just arrived.
        assert_eq!(of(&[(0.0, 4.0)]), Some(2));
    }

    #[test]
    fn a_queue_that_is_shorter_than_what_may_wait_counts_with_its_length() {
        let engine = json!({"maxBatchSize": 1, "maxQueueDepth": 1});
        let limits = json!({"waitingRequestsPerReplica": 100});
        let of =
            |refused, pods: &[(f64, f64)]| demand_of(pods, refused, engine.clone(), limits.clone());
        assert_eq!(of(false, &[(1.0, 1.0)]), Some(1));
        assert_eq!(of(true, &[(1.0, 1.0)]), Some(2), "others were refused");
        assert_eq!(of(true, &[(1.0, 1.0), (1.0, 1.0)]), Some(3));
    }

    #[test]
    fn without_an_answer_nothing_is_known() {
        assert_eq!(needed(json!({}), json!({}), &[]), None);
    }

    #[test]
    fn rubbish_overflows_nothing() {
        let huge = &[(f64::MAX, f64::MAX), (0.0, 0.0)];
        let pods = needed(json!({"maxBatchSize": 1}), json!({}), huge).unwrap();
        assert!(pods >= 1, "{pods}");
    }
}
