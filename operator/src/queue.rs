//! The queue of a controller: every reconcile is counted, one that failed is tried again when that
//! may help, and what goes wrong in the queue itself is logged.
use crate::{
    backoff::Backoff, error::Error, metrics::ControllerMetrics, shutdown::Shutdown, traces,
};
use futures::{StreamExt, future};
use kube::{
    Resource,
    api::DynamicObject,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::ObjectRef,
        watcher,
    },
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc, time::Duration};
use tracing::Instrument;

/// How a reconcile ended that did not fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Look {
    /// All is done; the action says when to look again.
    Done(Action),
    /// It came too early and looked at nothing: whether what failed before would fail again is not known.
    Early(Duration),
}

impl From<Action> for Look {
    fn from(action: Action) -> Self {
        Self::Done(action)
    }
}

/// How the queue of one controller is worked off.
pub(crate) struct Queue {
    /// Reconciles at once.
    pub(crate) concurrency: u16,
    pub(crate) metrics: ControllerMetrics,
    /// Ends it; reconciles that run then come to their end.
    pub(crate) shutdown: Shutdown,
}

impl Queue {
    /// Calls `reconcile` for each object that `controller` names, until the shutdown.
    pub(crate) async fn run<K, C, F, L>(
        self,
        controller: Controller<K>,
        reconcile: fn(Arc<K>, Arc<C>) -> F,
        context: Arc<C>,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        F: Future<Output = Result<L, Error>> + Send + 'static,
        L: Into<Look>,
    {
        let attempts = Arc::new(Attempts::new(self.metrics));
        let (counting, ended) = (attempts.clone(), attempts.clone());
        controller
            .with_config(controller::Config::default().concurrency(self.concurrency))
            .graceful_shutdown_on(self.shutdown.wait())
            .run(
                move |object: Arc<K>, context| {
                    let attempts = counting.clone();
                    let reference = ObjectRef::from_obj(&*object);
                    // The reconcile itself is large, and most of the time there is none.
                    let span = traces::reconcile(&*object);
                    let reconciling = reconcile(object, context).instrument(span.clone());
                    let reconciling = Box::pin(reconciling);
                    async move {
                        let result = reconciling.await;
                        let result = result.map(|look| attempts.ended(&reference, look.into()));
                        traces::ended(&span, &result);
                        result
                    }
                },
                move |object, error, _| attempts.failed(&ObjectRef::from_obj(&*object), error),
                context,
            )
            .for_each(|result| {
                match result {
                    Err(controller::Error::ObjectNotFound(gone)) => ended.forget(&gone),
                    Err(error) if is_of_queue(&error) => {
                        tracing::warn!(%error, "the controller's queue reports a failure");
                    }
                    Ok(_) | Err(_) => {}
                }
                future::ready(())
            })
            .await;
    }
}

/// Whether a failure was not told elsewhere: a reconcile's own was logged where it happened.
const fn is_of_queue(error: &controller::Error<Error, watcher::Error>) -> bool {
    !matches!(error, controller::Error::ReconcilerFailed(..))
}

/// Counts how reconciles end, and says when to try again.
struct Attempts<K: Resource<DynamicType = ()>> {
    metrics: ControllerMetrics,
    backoff: Backoff<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()> + 'static> Attempts<K> {
    fn new(metrics: ControllerMetrics) -> Self {
        Self {
            metrics,
            backoff: Backoff::default(),
        }
    }

    /// What is to be done after a reconcile that did not fail.
    fn ended(&self, object: &ObjectRef<K>, look: Look) -> Action {
        match look {
            Look::Done(action) => {
                self.succeeded(object);
                action
            }
            Look::Early(wait) => Action::requeue(wait),
        }
    }

    fn succeeded(&self, object: &ObjectRef<K>) {
        self.metrics.reconciled();
        self.calm(object);
    }

    /// An object that is gone is not tried again.
    fn forget(&self, gone: &ObjectRef<DynamicObject>) {
        let mut object = ObjectRef::new(&gone.name);
        object.namespace.clone_from(&gone.namespace);
        self.calm(&object);
    }

    fn calm(&self, object: &ObjectRef<K>) {
        if self.backoff.succeeded(object) {
            self.metrics.retry_ends();
        }
    }

    /// The log's span names the object.
    fn failed(&self, object: &ObjectRef<K>, error: &Error) -> Action {
        self.metrics.failed(error.category());
        if !error.is_retryable() {
            tracing::error!(%error, "given up until the resource changes");
            self.calm(object);
            return Action::await_change();
        }
        if !self.backoff.has_failed(object) {
            self.metrics.retry_begins();
        }
        let delay = self.backoff.failed(object);
        tracing::warn!(%error, retry_in = ?delay, "a reconcile failed");
        Action::requeue(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{BENCHMARK_CONTROLLER, Metrics};
    use k8s_openapi::api::core::v1::ConfigMap;

    fn attempts() -> (Attempts<ConfigMap>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new().unwrap());
        let controller = ControllerMetrics::new(&metrics, BENCHMARK_CONTROLLER);
        (Attempts::new(controller), metrics)
    }

    fn unreachable() -> Error {
        let gone = kube::Error::LinesCodecMaxLineLengthExceeded;
        Error::Status(Box::new(gone))
    }

    #[test]
    fn only_what_may_change_by_itself_is_tried_again_and_both_are_counted() {
        let (attempts, metrics) = attempts();
        let object = ObjectRef::new("a");
        let given_up = attempts.failed(&object, &Error::Incomplete("uid"));
        assert_eq!(given_up, Action::await_change());
        let again = attempts.failed(&object, &unreachable());
        assert_ne!(again, Action::await_change());
        attempts.succeeded(&object);
        let text = metrics.parts().unwrap().collect::<String>();
        for line in [
            "candlepower_operator_reconciles_total{controller=\"llmbenchmark\",result=\"failure\"} 2",
            "candlepower_operator_reconciles_total{controller=\"llmbenchmark\",result=\"success\"} 1",
            "candlepower_operator_reconcile_failures_total{category=\"internal\",controller=\"llmbenchmark\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn an_object_waits_to_be_tried_again_until_it_succeeds_or_is_gone() {
        let (attempts, metrics) = attempts();
        let pending = |objects: usize| {
            let line = format!(
                "candlepower_operator_retries_pending{{controller=\"llmbenchmark\"}} {objects}\n"
            );
            let text = metrics.parts().unwrap().collect::<String>();
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        };
        let [one, other] = ["a", "b"].map(|name| ObjectRef::new(name).within("team"));
        attempts.failed(&one, &unreachable());
        attempts.failed(&one, &unreachable());
        attempts.failed(&other, &unreachable());
        pending(2);
        attempts.succeeded(&one);
        attempts.succeeded(&one);
        pending(1);
        attempts.forget(&other.erase());
        pending(0);
        attempts.failed(&one, &unreachable());
        attempts.failed(&one, &Error::Incomplete("uid"));
        pending(0);
    }

    #[test]
    fn one_that_came_too_early_is_no_success_and_ends_no_back_off() {
        let (attempts, metrics) = attempts();
        let object = ObjectRef::new("a").within("team");
        attempts.failed(&object, &unreachable());
        let wait = Duration::from_millis(700);
        let early = attempts.ended(&object, Look::Early(wait));
        assert_eq!(early, Action::requeue(wait));
        assert!(attempts.backoff.has_failed(&object));
        let success = |count: usize| {
            let line = format!(
                "candlepower_operator_reconciles_total{{controller=\"llmbenchmark\",result=\"success\"}} {count}\n"
            );
            let text = metrics.parts().unwrap().collect::<String>();
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        };
        success(0);
        let done = attempts.ended(&object, Action::await_change().into());
        assert_eq!(done, Action::await_change());
        assert!(!attempts.backoff.has_failed(&object));
        success(1);
    }

    #[test]
    fn what_was_logged_is_not_reported_again() {
        let gone = Box::new(ObjectRef::<ConfigMap>::new("a").erase());
        assert!(!is_of_queue(&controller::Error::ReconcilerFailed(
            Error::Stopping,
            gone
        )));
        let watch = watcher::Error::NoResourceVersion;
        assert!(is_of_queue(&controller::Error::QueueError(watch)));
    }
}
