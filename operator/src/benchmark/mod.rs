//! The controller of `LLMBenchmark`: dereference → decide → build → apply → status.
//!
//! The load comes from a job, which asks for what it needs in the ConfigMap of its report; all that is
//! done in the cluster is done here. Only [`dereference`], [`apply`] and [`status::update`] talk to the
//! API server; everything between them is pure.
mod answer;
mod apply;
mod build;
mod context;
mod controller;
mod copy;
mod decide;
mod dereference;
mod machine;
mod mailbox;
mod nodes;
mod pod;
mod regression;
mod schedule;
mod served;
mod state;
mod status;
#[cfg(test)]
mod testing;

pub use controller::Controllers;

use crate::{error::Error, guard::Guard, traces};
use apply::Outcome;
use candlepower_api::benchmark::LLMBenchmark;
use context::Context;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use std::sync::Arc;
use tracing::Instrument;

/// The resource, or why it cannot be read: one malformed object must not stop the others.
type Guarded = Guard<LLMBenchmark>;

/// Makes the cluster do what one resource asks for next, and its status say how it went.
async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let _running = context.metrics.reconcile();
    let resource = object.0.as_ref().map_err(Error::malformed)?;
    // Owner references take along the job, its load, and copies of the deployment.
    if resource.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }

    let observed = dereference::dereference(resource, &context)
        .instrument(traces::dereference())
        .await?;
    let now = Timestamp::now();
    let decision = decide::decide(resource, &observed, now);
    let outcome = Box::pin(apply::apply(resource, &decision, &observed, &context)).await?;
    let status = status::derive(resource, &observed, &decision, &outcome, now);
    status::update(resource, &observed, &status, &context).await?;

    if let Outcome::Refused(refusal) = outcome {
        return Err(Error::Refused(refusal));
    }
    let next = decide::next_look(&decision, &observed, now);
    Ok(next.map_or_else(Action::await_change, Action::requeue))
}
