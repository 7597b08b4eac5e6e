//! What is watched for `LLMDeployment`, lent to the controller of `LLMBenchmark`, so that nothing is
//! watched twice.
use super::{Guarded, caches::resource_name};
use crate::children::Cached;
use candlepower_api::names::labels;
use futures::{
    Stream, StreamExt,
    channel::mpsc::{UnboundedReceiver, UnboundedSender},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

/// The caches of one controller, and its changes that concern benchmarks.
pub(crate) struct Views {
    pub(crate) namespace: Option<String>,
    pub(crate) resources: Store<Guarded>,
    pub(crate) config_maps: Store<Cached>,
    pub(crate) pods: Store<Pod>,
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

/// Tells of each change that passes.
pub(super) fn tap<K, E, S>(
    changes: S,
    tell: &UnboundedSender<Touched>,
    concerns: fn(&K) -> Option<Touched>,
) -> impl Stream<Item = Result<K, E>> + Send + use<K, E, S>
where
    S: Stream<Item = Result<K, E>> + Send,
{
    let tell = tell.clone();
    changes.inspect(move |change| {
        if let Some(touched) = change.as_ref().ok().and_then(concerns) {
            // Without a receiver, the process is about to end.
            let _ = tell.unbounded_send(touched);
        }
    })
}

/// The benchmark whose child this is, by its label.
pub(super) fn of_benchmark<K: Resource>(object: &K) -> Option<Touched> {
    let name = object.meta().labels.as_ref()?.get(labels::LLM_BENCHMARK)?;
    let namespace = object.meta().namespace.clone()?;
    Some(Touched::ChildOf(namespace, name.clone()))
}

/// The benchmark whose load a pod puts on, or else the deployment that it serves.
pub(super) fn of_pod(pod: &Pod) -> Option<Touched> {
    of_benchmark(pod).or_else(|| {
        let namespace = pod.metadata.namespace.as_deref()?;
        let deployment = ObjectRef::new(resource_name(pod)?).within(namespace);
        Some(Touched::PodOf(deployment))
    })
}

/// The same of a child.
pub(super) fn child_of_benchmark(child: &Cached) -> Option<Touched> {
    let name = child.benchmark.as_deref()?;
    let namespace = child.meta().namespace.clone()?;
    Some(Touched::ChildOf(namespace, name.to_owned()))
}

/// A temporary copy tells the benchmark that owns it, any other deployment all that measure it.
pub(super) fn of_deployment(resource: &Guarded) -> Option<Touched> {
    of_benchmark(resource).or_else(|| Some(Touched::Deployment(ObjectRef::from_obj(resource))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_concerns_those_that_measure_its_deployment_unless_it_puts_the_load_on() {
        let pod = |label: &str| -> Pod {
            let metadata = json!({"name": "a", "namespace": "team", "labels": {label: "tiny"}});
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
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
