//! Gathers what the pods said in a round, and lets the autoscaler of each resource that has one
//! decide.
use super::{Key, Reading, snapshot::Snapshot, unread::Unreads};
use crate::{
    children::Cached,
    deployment::{
        Guarded,
        autoscale::{Autoscaler, Decision, Demand, PodLoad, Seen},
    },
    watches::Cache,
};
use candlepower_api::deployment::LLMDeployment;
use kube::ResourceExt;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

/// The autoscalers of all resources.
#[derive(Default)]
pub(super) struct Scaling {
    /// What the pods said in this round.
    demands: HashMap<Key, Demand>,
    /// By the resource's uid.
    autoscalers: HashMap<String, Autoscaler>,
}

impl Scaling {
    /// A round begins.
    pub(super) fn begin(&mut self) {
        self.demands.clear();
    }

    /// Takes in what a pod said now and the time before; `None` where it said nothing.
    pub(super) fn take(
        &mut self,
        resource: &Key,
        now: Option<&Snapshot>,
        before: Option<&Snapshot>,
    ) {
        let demand = self.demands.entry(resource.clone()).or_default();
        let Some(now) = now else {
            demand.unread += 1;
            return;
        };
        demand.pods.push(PodLoad {
            running: now.running,
            waiting: now.waiting,
        });
        // A server that was started again counts from nothing.
        demand.refused |=
            before.is_some_and(|before| before.counters.queue_full < now.counters.queue_full);
    }

    /// Forgets the resources that are gone.
    pub(super) fn retain(&mut self, uids: &HashSet<String>) {
        self.autoscalers.retain(|uid, _| uids.contains(uid));
    }

    /// Puts into each reading, which stands beside what the status says, the number of pods that is
    /// to be.
    pub(super) fn decide(
        &mut self,
        resources: &HashMap<Key, Arc<Guarded>>,
        readings: &mut HashMap<Key, (Reading, Reading)>,
        deployments: &Cache<Cached>,
    ) {
        let now = Instant::now();
        for (key, (reading, told)) in readings {
            let resource = resources.get(key).and_then(|one| one.0.as_ref().ok());
            reading.scale = resource.and_then(|resource| {
                let current = current(deployments, key)?;
                let lasts = reading.unread != Unreads::default();
                self.of(resource, key, current, told.scale.as_ref(), lasts, now)
            });
        }
    }

    fn of(
        &mut self,
        resource: &LLMDeployment,
        key: &Key,
        current: i32,
        told: Option<&Decision>,
        lasts: bool,
        now: Instant,
    ) -> Option<Decision> {
        let uid = resource.uid()?;
        let Some(limits) = &resource.spec.autoscaling else {
            self.autoscalers.remove(&uid);
            return None;
        };
        let nothing = Demand::default();
        let seen = Seen {
            demand: self.demands.get(key).unwrap_or(&nothing),
            current,
            told,
            lasts,
        };
        let autoscaler = self.autoscalers.entry(uid).or_default();
        Some(autoscaler.decide(&resource.spec, limits, &seen, now))
    }
}

/// The number of pods that the resource's Deployment asks for, once there is one.
fn current(deployments: &Cache<Cached>, (namespace, name): &Key) -> Option<i32> {
    deployments.get(namespace, name)?.workload().replicas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{figures::snapshot::Counters, testing};
    use crate::watches::holding;
    use serde_json::json;

    fn key() -> Key {
        ("team".to_owned(), "tiny".to_owned())
    }

    fn said(running: f64, waiting: f64, queue_full: f64) -> Snapshot {
        Snapshot {
            counters: Counters {
                queue_full,
                ..Counters::zero()
            },
            running,
            waiting,
            ..Snapshot::empty()
        }
    }

    fn deployments(replicas: i32) -> Cache<Cached> {
        let deployment = json!({
            "metadata": {"name": "tiny", "namespace": "team"},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
        });
        holding([serde_json::from_value(deployment).unwrap()])
    }

    /// What is chosen for a resource with one pod, of this specification.
    fn chosen(scaling: &mut Scaling, spec: serde_json::Value) -> Option<Decision> {
        let resource = serde_json::to_value(testing::resource(spec)).unwrap();
        let resource: Guarded = serde_json::from_value(resource).unwrap();
        let resources = HashMap::from([(key(), Arc::new(resource))]);
        let mut readings = HashMap::from([(key(), (Reading::default(), Reading::default()))]);
        scaling.decide(&resources, &mut readings, &deployments(1));
        readings.remove(&key())?.0.scale
    }

    fn limits() -> serde_json::Value {
        json!({
            "engine": {"maxBatchSize": 1, "maxQueueDepth": 1},
            "autoscaling": {"minReplicas": 1, "maxReplicas": 4},
        })
    }

    #[test]
    fn what_all_pods_said_in_one_round_counts_together_and_no_longer() {
        let mut scaling = Scaling::default();
        scaling.begin();
        for _ in 0..3 {
            scaling.take(&key(), Some(&said(1.0, 1.0, 0.0)), None);
        }
        assert_eq!(chosen(&mut scaling, limits()).unwrap().replicas, 3);
        scaling.begin();
        let decision = chosen(&mut scaling, limits()).unwrap();
        assert_eq!(decision.replicas, 1, "nobody answered: what is there stays");
    }

    #[test]
    fn requests_that_are_newly_refused_call_for_another_pod() {
        let mut scaling = Scaling::default();
        let full = said(1.0, 1.0, 7.0);
        for (before, replicas) in [(None, 1), (Some(7.0), 1), (Some(6.0), 2), (Some(9.0), 1)] {
            scaling.begin();
            let before = before.map(|refused| said(1.0, 1.0, refused));
            scaling.take(&key(), Some(&full), before.as_ref());
            let decision = chosen(&mut scaling, limits()).unwrap();
            assert_eq!(decision.replicas, replicas, "{before:?}");
        }
    }

    #[test]
    fn without_autoscaling_nothing_is_chosen_or_remembered() {
        let mut scaling = Scaling::default();
        assert!(chosen(&mut scaling, limits()).is_some());
        assert_eq!(scaling.autoscalers.len(), 1);
        assert_eq!(chosen(&mut scaling, json!({"replicas": 2})), None);
        assert!(scaling.autoscalers.is_empty());
    }
}
