//! What was compared last with what it should be. Most looks at a resource follow a change of its pods, and its children
//! are still as they were found right: to build them anew would be most of the work.
use super::{apply::Applied, dereference::Observed, monitoring::Plan, validate::Valid};
use crate::children::Cached;
use candlepower_api::deployment::LLMDeployment;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What nobody has looked at for so long is compared anew.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// Everything that the children of a resource are made of and look like, as a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fingerprint(u64);

/// The resources whose children were right, by uid.
#[derive(Debug, Default)]
pub(super) struct Compared(Mutex<HashMap<String, Right>>);

#[derive(Debug)]
struct Right {
    fingerprint: Fingerprint,
    config_hash: String,
    seen: Instant,
}

impl Compared {
    /// What the cluster holds, where it was compared already.
    pub(super) fn applied(
        &self,
        fingerprint: Fingerprint,
        valid: &Valid<'_>,
        observed: &Observed,
    ) -> Option<Applied> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let right = known
            .get_mut(&valid.owner.uid)
            .filter(|right| right.fingerprint == fingerprint)?;
        right.seen = Instant::now();
        Some(Applied {
            deployment: Cached::clone(observed.deployments.first()?),
            config_hash: right.config_hash.clone(),
            image: valid.server.image.clone(),
            monitoring_failure: None,
            is_partial: false,
        })
    }

    /// Notes that nothing had to be written.
    pub(super) fn note(&self, fingerprint: Fingerprint, uid: &str, config_hash: &str) {
        let now = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, right| now.duration_since(right.seen) < FORGOTTEN);
        let right = Right {
            fingerprint,
            config_hash: config_hash.to_owned(),
            seen: now,
        };
        known.insert(uid.to_owned(), right);
    }
}

impl Fingerprint {
    /// Of what `resource` asks for, by the `plan`, and of the children that there are.
    pub(super) fn of(
        resource: &LLMDeployment,
        valid: &Valid<'_>,
        plan: &Plan<'_>,
        observed: &Observed,
    ) -> Self {
        let mut state = DefaultHasher::new();
        let metadata = &resource.metadata;
        (
            &metadata.generation,
            &metadata.labels,
            &metadata.annotations,
        )
            .hash(&mut state);
        let Plan {
            choice,
            settings: _, // the process' own flags
            prometheus,
            jaeger,
        } = plan;
        let server = &valid.server;
        format!("{server:?} {choice:?} {prometheus:?} {jaeger:?}").hash(&mut state);
        valid.replicas.hash(&mut state);
        for children in [
            &observed.config_maps,
            &observed.services,
            &observed.claims,
            &observed.deployments,
            &observed.network_policies,
            &observed.disruption_budgets,
            &observed.pod_monitors,
            &observed.prometheus_rules,
        ] {
            children.len().hash(&mut state);
            for child in children {
                child.digest().hash(&mut state);
            }
        }
        Self(state.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{
        monitoring::Choice,
        testing::{self, settings},
    };
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn fingerprint(resource: &LLMDeployment, deployment: Value, config_map: Value) -> Fingerprint {
        let observed = Observed {
            deployments: vec![Arc::new(serde_json::from_value(deployment).unwrap())],
            config_maps: vec![Arc::new(serde_json::from_value(config_map).unwrap())],
            ..Observed::default()
        };
        let settings = settings(&[]);
        let plan = Plan::new(Choice::default(), &settings, &observed);
        Fingerprint::of(resource, &testing::valid(resource), &plan, &observed)
    }

    #[test]
    fn a_status_is_no_difference_and_whatever_somebody_writes_is() {
        let resource = testing::resource(json!({}));
        let deployment = |version: &str, replicas: i64, label: &str| {
            json!({"metadata": {"uid": "d", "resourceVersion": version, "labels": {"a": label}},
                   "spec": {"replicas": replicas, "template": {}}, "status": {"version": version}})
        };
        let config_map = |text: &str| json!({"metadata": {"uid": "c"}, "data": {"a": text}});
        let first = fingerprint(&resource, deployment("1", 1, "a"), config_map("1"));
        let status = fingerprint(&resource, deployment("2", 1, "a"), config_map("1"));
        assert_eq!(first, status);
        for other in [
            fingerprint(&resource, deployment("2", 2, "a"), config_map("1")),
            fingerprint(&resource, deployment("2", 1, "b"), config_map("1")),
            fingerprint(&resource, deployment("1", 1, "a"), config_map("2")),
        ] {
            assert_ne!(first, other);
        }
        let mut changed = resource;
        changed.metadata.generation = Some(4);
        assert_ne!(
            first,
            fingerprint(&changed, deployment("1", 1, "a"), config_map("1"))
        );
    }

    #[test]
    fn only_the_very_same_children_were_compared() {
        let resource = testing::resource(json!({}));
        let valid = testing::valid(&resource);
        let observed = Observed {
            deployments: vec![Arc::default()],
            ..Observed::default()
        };
        let compared = Compared::default();
        compared.note(Fingerprint(1), &valid.owner.uid, "hash");
        assert!(
            compared
                .applied(Fingerprint(2), &valid, &observed)
                .is_none()
        );
        let applied = compared.applied(Fingerprint(1), &valid, &observed).unwrap();
        assert_eq!(applied.config_hash, "hash");
    }
}
