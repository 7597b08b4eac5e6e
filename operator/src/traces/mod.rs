//! Traces of the operator's own work: each reconcile is one, and a collector gets it by OTLP over HTTP.
//!
//! The spans are those of `tracing`, whose current one is with a request on its way through kube's client. `layer` takes
//! them, `exporter` sends them in the form of `otlp`. Without an endpoint nothing of this runs, and no span is made.
mod exporter;
mod layer;
mod otlp;
mod span;
#[cfg(test)]
pub(crate) mod testing;

pub use exporter::Exporter;
pub(crate) use layer::{SpanLayer, filter};

use crate::{config::traces::TracingConfig, error::Error};
use candlepower_api::names::spans as names;
use exporter::{Counts, QUEUE};
use kube::{Resource, api::ApiResource, runtime::controller::Action};
use std::fmt::Display;
use tokio::sync::mpsc;
use tracing::{Instrument, Span, field::Empty};

/// The target of spans that are for the collector; they are in no line of the log, where they would stand before the
/// reconcile's own span, which names the object.
pub(crate) const TARGET: &str = "candlepower_span";

/// Field of a span that failed: why.
const STATUS_DESCRIPTION: &str = "otel.status_description";

/// What records spans and what sends them, as spans of `pod`; nothing where no endpoint is configured.
pub(crate) fn pipeline(
    config: &TracingConfig,
    pod: &str,
) -> prometheus::Result<Option<(SpanLayer, Exporter)>> {
    let Some(endpoint) = &config.tracing_endpoint else {
        return Ok(None);
    };
    let (ended, queue) = mpsc::channel(QUEUE);
    let counts = Counts::new()?;
    let ratio = config.tracing_sampling_ratio.fraction();
    let layer = SpanLayer::new(ratio, ended, counts.dropped.clone());
    Ok(Some((layer, Exporter::new(endpoint, pod, queue, counts))))
}

/// One look at `object`.
pub(crate) fn reconcile<K: Resource<DynamicType = ()>>(object: &K) -> Span {
    let (kind, metadata) = (K::kind(&()), object.meta());
    tracing::info_span!(
        target: TARGET,
        names::RECONCILE,
        { names::OBJECT_KIND } = &*kind,
        { names::K8S_NAMESPACE } = metadata.namespace.as_deref(),
        { names::OBJECT_NAME } = metadata.name.as_deref(),
        { names::OBJECT_GENERATION } = metadata.generation,
        { names::OUTCOME } = Empty,
        { names::ERROR_TYPE } = Empty,
        { STATUS_DESCRIPTION } = Empty,
    )
}

/// Says how the reconcile of a span ended.
pub(crate) fn ended(reconcile: &Span, result: &Result<Action, Error>) {
    let outcome = match result {
        Ok(action) if *action == Action::await_change() => names::SETTLED,
        Ok(_) => names::REQUEUED,
        Err(error) => {
            reconcile.record(names::ERROR_TYPE, error.category());
            failed(reconcile, error);
            names::FAILED
        }
    };
    reconcile.record(names::OUTCOME, outcome);
}

/// Reading what a reconcile needs.
pub(crate) fn dereference() -> Span {
    tracing::info_span!(target: TARGET, names::DEREFERENCE)
}

/// Making the children.
pub(crate) fn build() -> Span {
    tracing::info_span!(target: TARGET, names::BUILD)
}

/// Writing one child; `verb` is the API server's.
pub(crate) fn apply(verb: &'static str, kind: &ApiResource, name: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        names::APPLY,
        { names::OBJECT_KIND } = kind.kind.as_str(),
        { names::OBJECT_NAME } = name,
        { names::API_VERB } = verb,
        { names::API_RESOURCE } = kind.plural.as_str(),
        { names::HTTP_STATUS } = Empty,
        { STATUS_DESCRIPTION } = Empty,
    )
}

/// Writing the status.
pub(crate) fn write_status() -> Span {
    tracing::info_span!(
        target: TARGET,
        names::WRITE_STATUS,
        { names::HTTP_STATUS } = Empty,
        { STATUS_DESCRIPTION } = Empty,
    )
}

/// One request to the API server.
pub(crate) fn api_request(verb: &'static str, resource: &str, path: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        names::API_REQUEST,
        { names::API_VERB } = verb,
        { names::API_RESOURCE } = resource,
        { names::URL_PATH } = path,
        { names::HTTP_STATUS } = Empty,
        { STATUS_DESCRIPTION } = Empty,
    )
}

/// Tells `span` the status of an answer, where it wants to know.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record(names::HTTP_STATUS, status);
}

/// Marks `span` as failed.
pub(crate) fn failed(span: &Span, why: &dyn Display) {
    span.record(STATUS_DESCRIPTION, tracing::field::display(why));
}

/// Does `work` within `span`, which tells where that failed.
pub(crate) async fn within<T, E: Display>(
    span: Span,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let result = work.instrument(span.clone()).await;
    if let Err(error) = &result {
        failed(&span, error);
    }
    result
}
