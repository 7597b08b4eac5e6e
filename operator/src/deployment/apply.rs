//! Writes the children: the workload last, so that pods find everything that they need.
use super::{
    build::Children,
    context::Context,
    dereference::Observed,
    error::Error,
    validate::{Rejection, Valid},
};
pub(super) use crate::children::Refusal;
use crate::children::{Failure, Writer};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{ResourceExt, api::PropagationPolicy};

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

/// Makes the cluster hold `children` and no others.
pub(super) async fn apply(
    valid: &Valid<'_>,
    children: Children,
    observed: &Observed,
    context: &Context,
) -> Result<Outcome, Error> {
    match Box::pin(apply_all(valid, children, observed, context)).await {
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
    let writer = Writer {
        client: &context.client,
        metrics: &context.metrics,
        namespace: &valid.namespace,
        owner_uid: &valid.owner.uid,
        deletion: PropagationPolicy::Background,
    };
    writer
        .apply(&children.config_map, &observed.config_maps)
        .await?;
    for config_map in children.collectors.iter().chain(&children.dashboards) {
        writer.apply(config_map, &observed.config_maps).await?;
    }
    if let Some(cache) = &children.cache {
        writer.apply(cache, &observed.claims).await?;
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
    // Kubernetes keeps the volume until the last pod that mounts it is gone.
    let caches: Vec<_> = children.cache.iter().map(ResourceExt::name_any).collect();
    writer.delete_orphans(&observed.claims, &caches).await?;
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
