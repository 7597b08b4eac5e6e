//! Writes the children: the workload after all that its pods need.
use super::{
    build::Children,
    compared::Fingerprint,
    context::Context,
    dereference::Observed,
    error::Error,
    validate::{Rejection, Valid},
};
pub(super) use crate::children::Refusal;
use crate::children::{Cached, Failure, Writer};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, PersistentVolumeClaim, Service},
};
use kube::{ResourceExt, api::PropagationPolicy};
use std::sync::atomic::AtomicBool;

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
    pub(super) deployment: Cached,
    /// Pods with another configuration are on their way out.
    pub(super) config_hash: String,
    /// The server's image.
    pub(super) image: String,
    /// Why PodMonitor or PrometheusRule is not as it should be: no reason for the model to stand
    /// still.
    pub(super) monitoring_failure: Option<String>,
    /// Whether something is yet to be written, once there is time.
    pub(super) is_partial: bool,
}

/// Makes the cluster hold `children` and no others.
pub(super) async fn apply(
    valid: &Valid<'_>,
    children: Children,
    fingerprint: Fingerprint,
    observed: &Observed,
    context: &Context,
) -> Result<Outcome, Error> {
    let applying = apply_all(valid, children, fingerprint, observed, context);
    match Box::pin(applying).await {
        Ok(applied) => Ok(Outcome::Applied(Box::new(applied))),
        Err(Failure::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        Err(Failure::Error(error)) => Err(error),
    }
}

async fn apply_all(
    valid: &Valid<'_>,
    children: Children,
    fingerprint: Fingerprint,
    observed: &Observed,
    context: &Context,
) -> Result<Applied, Failure> {
    let writer = Writer {
        client: &context.client,
        metrics: &context.metrics,
        namespace: &valid.namespace,
        owner: &valid.owner,
        deletion: PropagationPolicy::Background,
        has_written: AtomicBool::new(false),
    };
    // No pod needs all of them to start: those of other resources come first.
    let others_wait = || observed.is_new && context.has_backlog(&valid.owner.uid);
    let is_partial = others_wait();
    writer
        .put(&children.config_map, &observed.config_maps)
        .await?;
    if let Some(cache) = &children.cache {
        writer.put(cache, &observed.claims).await?;
    }
    if !is_partial {
        writer.put(&children.service, &observed.services).await?;
    }
    // Before there is a pod that it is to protect.
    writer
        .apply_optional(children.network_policy.as_ref(), &observed.network_policies)
        .await?;
    // After them, so that pods find everything that they need.
    let deployment = writer
        .apply(&children.deployment, &observed.deployments)
        .await?;
    // Those that have come meanwhile, too.
    let is_partial = is_partial || others_wait();
    let monitoring_failure = if is_partial {
        None
    } else {
        apply_rest(valid, &children, observed, &writer).await?
    };
    if !writer.has_written.into_inner() && !is_partial && monitoring_failure.is_none() {
        let uid = &valid.owner.uid;
        context
            .compared
            .note(fingerprint, uid, &children.config_hash);
    }
    Ok(Applied {
        deployment,
        config_hash: children.config_hash,
        image: valid.server.image.clone(),
        monitoring_failure,
        is_partial,
    })
}

/// Writes what nobody needs at once, and deletes what is no longer asked for. Says what is wrong with what only
/// monitoring needs.
async fn apply_rest(
    valid: &Valid<'_>,
    children: &Children,
    observed: &Observed,
    writer: &Writer<'_>,
) -> Result<Option<String>, Failure> {
    let config_maps = &observed.config_maps;
    if let Some(dashboards) = &children.dashboards {
        writer.put(dashboards, config_maps).await?;
    }
    let names: Vec<_> = [&children.config_map]
        .into_iter()
        .chain(&children.dashboards)
        .map(ResourceExt::name_any)
        .collect();
    let own_name = [valid.name.clone()];
    writer
        .delete_orphans::<ConfigMap, _>(config_maps, &names)
        .await?;
    writer
        .delete_orphans::<Service, _>(&observed.services, &own_name)
        .await?;
    writer
        .delete_orphans::<Deployment, _>(&observed.deployments, &own_name)
        .await?;
    writer
        .apply_optional(
            children.disruption_budget.as_ref(),
            &observed.disruption_budgets,
        )
        .await?;
    // Kubernetes keeps the volume until the last pod that mounts it is gone.
    let caches: Vec<_> = children.cache.iter().map(ResourceExt::name_any).collect();
    writer
        .delete_orphans::<PersistentVolumeClaim, _>(&observed.claims, &caches)
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
    let failure = monitoring.into_iter().find_map(|result| match result {
        Ok(()) => None,
        Err(Failure::Refused(refusal)) => Some(refusal.to_string()),
        Err(Failure::Error(error)) => Some(error.to_string()),
    });
    Ok(failure)
}
