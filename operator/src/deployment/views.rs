//! What is watched for `LLMDeployment`, lent to the controller of `LLMBenchmark`, so that nothing is
//! watched twice.
use super::Guarded;
use crate::{
    children::Cached,
    watches::{Cache, Pod},
};
use candlepower_api::names::labels;
use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender},
};
use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};
use std::sync::Arc;

/// The caches of one controller, and its changes that concern benchmarks.
pub(crate) struct Views {
    pub(crate) namespace: Option<String>,
    pub(crate) resources: Store<Guarded>,
    pub(crate) config_maps: Cache<Cached>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) touched: UnboundedReceiver<Touched>,
}

/// What has changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Touched {
    /// A child of the benchmark of this namespace and name.
    ChildOf(String, String),
    /// The deployment itself, which some benchmark may measure.
    Deployment(ObjectRef<Guarded>),
    /// A pod of the deployment, which some benchmark may measure.
    PodOf(ObjectRef<Guarded>),
}

/// Tells of each change that passes and concerns a benchmark.
pub(super) fn tap<T, S>(
    changes: S,
    tell: &UnboundedSender<Touched>,
    concerns: fn(&T) -> Option<Touched>,
) -> impl Stream<Item = T> + Send + use<T, S>
where
    S: Stream<Item = T> + Send,
{
    let tell = tell.clone();
    changes.inspect(move |change| {
        if let Some(touched) = concerns(change) {
            // Without a receiver, the process is about to end.
            let _ = tell.unbounded_send(touched);
        }
    })
}

/// The benchmark whose load a pod puts on, or else the deployment that it serves.
pub(super) fn of_pod(pod: &Arc<Pod>) -> Option<Touched> {
    let namespace = &*pod.namespace;
    if let Some(benchmark) = pod.benchmark.as_deref() {
        return Some(child_of(namespace, benchmark));
    }
    let deployment = ObjectRef::new(pod.deployment.as_deref()?).within(namespace);
    Some(Touched::PodOf(deployment))
}

/// The benchmark whose child this is, by its label.
pub(super) fn child_of_benchmark(child: &Arc<Cached>) -> Option<Touched> {
    Some(child_of(
        &child.identity.namespace,
        child.benchmark.as_deref()?,
    ))
}

fn child_of(namespace: &str, benchmark: &str) -> Touched {
    Touched::ChildOf(namespace.to_owned(), benchmark.to_owned())
}

/// A temporary copy tells the benchmark that owns it, any other deployment all that measure it.
pub(super) fn of_deployment<E>(change: &Result<Guarded, E>) -> Option<Touched> {
    let resource = change.as_ref().ok()?;
    let metadata = resource.meta();
    let labels = metadata.labels.as_ref();
    let benchmark = labels.and_then(|labels| labels.get(labels::LLM_BENCHMARK));
    Some(match benchmark {
        Some(benchmark) => child_of(metadata.namespace.as_deref()?, benchmark),
        None => Touched::Deployment(ObjectRef::from_obj(resource)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_concerns_those_that_measure_its_deployment_unless_it_puts_the_load_on() {
        let pod = |label: &str| -> Arc<Pod> {
            let metadata = json!({"name": "a", "namespace": "team", "labels": {label: "tiny"}});
            Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
        };
        let deployment = ObjectRef::new("tiny").within("team");
        assert_eq!(
            of_pod(&pod(labels::LLM_DEPLOYMENT)),
            Some(Touched::PodOf(deployment))
        );
        assert_eq!(
            of_pod(&pod(labels::LLM_BENCHMARK)),
            Some(Touched::ChildOf("team".to_owned(), "tiny".to_owned()))
        );
        assert_eq!(of_pod(&pod("app")), None);
    }
}
