//! Writes the children by server-side apply: only those that differ, the workload last, and
//! never over an object that somebody else made.
use super::{
    build::Children,
    caches::as_cached,
    context::Context,
    dereference::{Observed, is_controlled_by},
    error::Error,
    validate::{Rejection, Valid},
};
use candlepower_api::names::labels;
use k8s_openapi::{NamespaceResourceScope, api::apps::v1::Deployment};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{fmt::Debug, sync::Arc};

/// How a resource's wishes fared.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The resource cannot be served; what exists is left alone.
    Rejected(Rejection),
    /// The API server did not accept a child.
    Refused(Refusal),
    /// The cluster holds what was asked for.
    Applied(Box<Applied>),
}

/// What the cluster holds now: the status is derived from nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    /// As the API server last showed it, with its status.
    pub(super) deployment: Deployment,
    /// Pods with another configuration are on their way out.
    pub(super) config_hash: String,
    /// The server's image.
    pub(super) image: String,
    /// Why PodMonitor or PrometheusRule is not as it should be: no reason for the model to stand
    /// still.
    pub(super) monitoring_failure: Option<String>,
}

/// A child that the API server did not accept.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {kind} {name} was refused: {message}")]
pub(super) struct Refusal {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) message: String,
}

/// Why one child could not be written.
enum Failure {
    Refused(Refusal),
    Error(Error),
}

/// Makes the cluster hold `children` and no others.
pub(super) async fn apply(
    valid: &Valid<'_>,
    children: Children,
    observed: &Observed,
    context: &Context,
) -> Result<Outcome, Error> {
    match apply_all(valid, children, observed, context).await {
        Ok(applied) => Ok(Outcome::Applied(Box::new(applied))),
        Err(Failure::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        Err(Failure::Error(error)) => Err(error),
    }
}

async fn apply_all(
    valid: &Valid<'_>,
    children: Children,
    observed: &Observed,
    context: &Context,
) -> Result<Applied, Failure> {
    let writer = Writer { valid, context };
    writer
        .apply(&children.config_map, &observed.config_maps)
        .await?;
    for config_map in children.collectors.iter().chain(&children.dashboards) {
        writer.apply(config_map, &observed.config_maps).await?;
    }
    writer.apply(&children.service, &observed.services).await?;
    // Last, so that pods find everything that they need.
    let deployment = writer
        .apply(&children.deployment, &observed.deployments)
        .await?;
    let config_maps: Vec<_> = [&children.config_map]
        .into_iter()
        .chain(&children.collectors)
        .chain(&children.dashboards)
        .map(ResourceExt::name_any)
        .collect();
    let own_name = [valid.name.clone()];
    writer
        .delete_orphans(&observed.config_maps, &config_maps)
        .await?;
    writer.delete_orphans(&observed.services, &own_name).await?;
    writer
        .delete_orphans(&observed.deployments, &own_name)
        .await?;
    let monitoring = [
        writer
            .apply_optional(children.pod_monitor.as_ref(), &observed.pod_monitors)
            .await,
        writer
            .apply_optional(
                children.prometheus_rule.as_ref(),
                &observed.prometheus_rules,
            )
            .await,
    ];
    Ok(Applied {
        deployment,
        config_hash: children.config_hash,
        image: valid.server.image.clone(),
        monitoring_failure: monitoring.into_iter().find_map(|result| match result {
            Ok(()) => None,
            Err(Failure::Refused(refusal)) => Some(refusal.to_string()),
            Err(Failure::Error(error)) => Some(error.to_string()),
        }),
    })
}

struct Writer<'a> {
    valid: &'a Valid<'a>,
    context: &'a Context,
}

impl Writer<'_> {
    /// Writes `desired` unless the cluster holds it already.
    async fn apply<K>(&self, desired: &K, observed: &[Arc<K>]) -> Result<K, Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let name = desired.name_any();
        let live = observed.iter().find(|live| live.name_any() == name);
        let mut wanted = json(desired)?;
        let hash = hash(&wanted);
        if let Some(live) = live {
            self.is_ours(&**live, &name)?;
            let unchanged = live.annotations().get(labels::APPLIED_HASH) == Some(&hash);
            if unchanged && contains(&json(&**live)?, &as_cached(&wanted)) {
                return Ok(K::clone(live));
            }
        } else {
            self.is_free::<K>(&name).await?;
        }
        wanted["metadata"]["annotations"][labels::APPLIED_HASH] = hash.into();
        let params = PatchParams::apply(labels::OPERATOR_NAME).force();
        let written = self
            .api::<K>()
            .patch(&name, &params, &Patch::Apply(&wanted))
            .await
            .map_err(|error| failure::<K>("applying", &name, error))?;
        self.context.metrics.wrote(&K::kind(&()));
        Ok(written)
    }

    /// Writes `desired` where it is wanted, and deletes what is there where it is not.
    async fn apply_optional<K>(
        &self,
        desired: Option<&K>,
        observed: &[Arc<K>],
    ) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        if let Some(desired) = desired {
            self.apply(desired, observed).await?;
        }
        let wanted: Vec<_> = desired.map(ResourceExt::name_any).into_iter().collect();
        self.delete_orphans(observed, &wanted).await
    }

    /// An apply would take over an object of the same name that somebody else made, and the
    /// garbage collector would delete it with the resource. One that is missing in the cache, for
    /// want of our label, is therefore asked for by name first.
    async fn is_free<K>(&self, name: &str) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        let existing = self
            .api::<K>()
            .get_metadata_opt(name)
            .await
            .map_err(|error| failure::<K>("reading", name, error))?;
        existing.map_or(Ok(()), |existing| self.is_ours(&existing, name))
    }

    fn is_ours<K: Resource<DynamicType = ()>>(
        &self,
        existing: &K,
        name: &str,
    ) -> Result<(), Failure> {
        if is_controlled_by(existing, &self.valid.owner.uid) {
            return Ok(());
        }
        Err(Failure::Refused(Refusal {
            kind: K::kind(&()).into_owned(),
            name: name.to_owned(),
            message: "an object of this name exists already and does not belong to this resource: delete it, or give the LLMDeployment another name".to_owned(),
        }))
    }

    /// Deletes children that carry the resource's label but are no longer asked for.
    async fn delete_orphans<K>(&self, observed: &[Arc<K>], wanted: &[String]) -> Result<(), Failure>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned,
    {
        let valid = self.valid;
        let orphans = observed.iter().filter(|child| {
            !wanted.contains(&child.name_any())
                && child.meta().deletion_timestamp.is_none()
                && is_controlled_by(&***child, &valid.owner.uid)
        });
        for orphan in orphans {
            let name = orphan.name_any();
            let params = DeleteParams::background().preconditions(Preconditions {
                uid: orphan.uid(),
                resource_version: None,
            });
            match self.api::<K>().delete(&name, &params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(failure::<K>("deleting", &name, error)),
                Ok(_) => self.context.metrics.wrote(&K::kind(&())),
            }
        }
        Ok(())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.context.client.clone(), &self.valid.namespace)
    }
}

fn json<K: Serialize>(object: &K) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(|error| Failure::Error(error.into()))
}

fn hash(wanted: &Value) -> String {
    // Keys are sorted, so equal wishes have equal hashes, also in the next process.
    let digest = Sha256::digest(wanted.to_string());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(first))
}

/// Whether `live` holds everything in `wanted`; the API server adds defaults of its own.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| contains(live, wanted))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| contains(live, wanted))
        }
        _ => live == wanted,
    }
}

/// An answer that speaks of the child itself belongs into the status.
fn failure<K: Resource<DynamicType = ()>>(
    verb: &'static str,
    name: &str,
    error: kube::Error,
) -> Failure {
    let kind = K::kind(&()).into_owned();
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422) => {
            Failure::Refused(Refusal {
                kind,
                name: name.to_owned(),
                message: status.message,
            })
        }
        source => Failure::Error(Error::Child {
            verb,
            kind,
            name: name.to_owned(),
            source: Box::new(source),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use kube::core::Status;
    use serde_json::json;

    #[test]
    fn defaults_of_the_api_server_are_no_difference() {
        let wanted = json!({"spec": {"ports": [{"port": 8080}], "volumes": [{"emptyDir": {}}]}});
        let live = json!({
            "spec": {"ports": [{"port": 8080, "nodePort": 3}], "volumes": [{"emptyDir": {}}],
                     "clusterIP": "10.0.0.1"},
            "status": {},
        });
        assert!(contains(&live, &wanted));
    }

    #[test]
    fn a_changed_or_missing_value_is_a_difference() {
        let wanted = json!({"a": {"b": [1, 2]}});
        for live in [
            json!({}),
            json!({"a": {"b": [1]}}),
            json!({"a": {"b": [1, 3]}}),
            json!({"a": null}),
        ] {
            assert!(!contains(&live, &wanted), "{live}");
        }
    }

    #[test]
    fn an_answer_about_the_child_is_shown_and_one_about_the_server_is_retried() {
        let answer = |code| {
            let status = Status {
                code,
                message: "no".into(),
                ..Status::default()
            };
            failure::<Service>("applying", "a", kube::Error::Api(Box::new(status)))
        };
        for code in [400, 403, 422] {
            assert!(matches!(answer(code), Failure::Refused(_)), "{code}");
        }
        for code in [404, 409, 429, 500, 503] {
            assert!(matches!(answer(code), Failure::Error(_)), "{code}");
        }
    }
}
