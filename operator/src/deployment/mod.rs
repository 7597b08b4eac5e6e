//! The controller of `LLMDeployment`: dereference → validate → build → apply → status.
//!
//! Only [`dereference`], [`apply`] and [`status::update`] talk to the API server; everything
//! between them is pure.
mod apply;
mod asking;
mod autoscale;
mod backlog;
mod begun;
mod build;
mod caches;
mod compared;
mod context;
mod controller;
mod dereference;
mod devices;
mod events;
pub(crate) mod fetch;
mod figures;
mod fits;
mod monitoring;
mod pace;
mod probe;
mod reports;
mod source;
mod state;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod validate;
pub(crate) mod views;

pub(crate) use build::GPU;
pub use controller::Controllers;
pub(crate) use fits::GPU_PRODUCT;

use crate::{
    error::{self, Error},
    guard::Guard,
    queue::Look,
    traces,
};
use apply::Outcome;
use candlepower_api::deployment::LLMDeployment;
use compared::Fingerprint;
use context::Context;
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, runtime::controller::Action};
use std::{sync::Arc, time::Duration};
use tracing::Instrument;
use validate::Valid;

/// The resource, or why it cannot be read: one malformed object must not stop the others.
pub(crate) type Guarded = Guard<LLMDeployment>;

/// What is yet to be written of a resource is written after this time, where others do not wait for more.
const WHILE_OTHERS_BEGIN: Duration = Duration::from_secs(1);
/// A source that is asked whether its model fits answers within moments.
const WHILE_ASKING: Duration = Duration::from_secs(1);

/// Whether somebody has changed what the resource asks for since its status was written.
fn is_changed(resource: &LLMDeployment) -> bool {
    let status = resource.status.as_ref();
    status.and_then(|status| status.observed_generation) != resource.metadata.generation
}

/// Makes the cluster look as one resource asks, and its status as the cluster looks.
async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Look, Error> {
    let _running = context.metrics.reconcile();
    let resource = object.0.as_ref().map_err(Error::malformed)?;
    // Nothing outside the cluster needs cleaning: owner references take the children along.
    if resource.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change().into());
    }
    let uid = resource.uid().ok_or(Error::Incomplete("uid"))?;
    let generation = resource.metadata.generation;
    let has_begun = context.begun.holds(&uid, generation);
    let can_wait = || (has_begun || !is_changed(resource)) && context.has_backlog(&uid);
    if let Some(wait) = context.pace.wait(&uid, generation, can_wait) {
        return Ok(Look::Early(wait));
    }

    let mut observed = dereference::dereference(resource, &context)
        .instrument(traces::dereference())
        .await?;
    let valid = devices::check(observed.device_claims)
        .and_then(|()| validate::validate(resource, &observed.previous, &context.server));
    let outcome = match valid {
        Ok(valid) => {
            let valid = Valid {
                replicas: autoscale::replicas(resource, &observed),
                ..valid
            };
            let plan = context.monitoring.plan(&observed);
            let fingerprint = Fingerprint::of(resource, &valid, &plan, &observed);
            if let Some(applied) = context.compared.applied(fingerprint, &valid, &observed) {
                Outcome::Applied(Box::new(applied))
            } else {
                let children = traces::build().in_scope(|| build::children(&valid, &plan))?;
                let hash = &children.config_hash;
                let late = context.told(&valid.namespace, &valid.name);
                let estimates = &context.estimates;
                let fit = estimates.of(resource, hash, &observed, &context.client, late);
                let Some(fit) = fit.await else {
                    return Ok(Action::requeue(WHILE_ASKING).into());
                };
                observed.fit = fit;
                match observed.fit.rejection() {
                    Some(rejection) => Outcome::Rejected(rejection),
                    None => {
                        Box::pin(apply::apply(
                            &valid,
                            children,
                            fingerprint,
                            &observed,
                            &context,
                        ))
                        .await?
                    }
                }
            }
        }
        Err(rejection) => Outcome::Rejected(rejection),
    };
    if matches!(&outcome, Outcome::Applied(applied) if applied.is_partial) {
        context.begun.note(&uid, generation);
        return Ok(Action::requeue(WHILE_OTHERS_BEGIN).into());
    }
    let now = Timestamp::now();
    let status = status::derive(resource, &observed, &outcome, now);
    if status::is_for_a_moment(&status, &observed, now) {
        return Ok(Action::requeue(status::WITHIN_A_MOMENT).into());
    }
    status::update(resource, &observed, &status, &context).await?;
    context.begun.end(&uid);

    if let Outcome::Refused(refusal) = outcome {
        return Err(Error::Refused(refusal));
    }
    let looks = [
        status::next_look(&observed, &outcome, &status),
        status::observability::next_look(&observed, &outcome, &status),
    ];
    Ok(looks
        .into_iter()
        .flatten()
        .min()
        .map_or_else(Action::await_change, Action::requeue)
        .into())
}
