//! Watches, caches and the reconciler, wired together: one controller for each namespace, or one
//! for all of them.
use super::{
    Guarded,
    caches::{self, Caches},
    context::{Context, ReadyTimes, ServerDefaults, WrittenStatuses},
    error::Error,
    figures::{Figures, scrape::Scraper},
    monitoring::{
        Monitoring,
        kinds::{PodMonitor, PrometheusRule},
        prometheus::Verifier,
        served::{self, Served},
    },
    probe, reconcile,
    state::State,
};
use crate::{
    backoff::{Backoff, WatchBackoff},
    config::Config,
    http::Readiness,
    metrics::Metrics,
    shutdown::Shutdown,
};
use candlepower_api::names::labels;
use futures::{Stream, StreamExt, channel::mpsc, future};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, Service},
    },
};
use kube::{
    Api, Client, Resource,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt,
        controller::{self, Action},
        events::{Recorder, Reporter},
        predicates,
        reflector::{self, Lookup, ObjectRef, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use std::{
    fmt::Debug,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::watch;

/// Less than the grace period of the operator's pod.
const LONGEST_FAREWELL: Duration = Duration::from_secs(20);

/// The controllers of all watched namespaces.
pub struct Controllers {
    scopes: Vec<Scope>,
    concurrency: u16,
    figures_interval: Duration,
    ready: Readiness,
    client: Client,
    discovery_interval: Duration,
    served: watch::Sender<Option<Served>>,
}

impl Controllers {
    /// Wires everything; nothing runs yet.
    pub fn new(
        client: &Client,
        config: &Config,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, prometheus::Error> {
        let (served, known) = watch::channel(None);
        let shared = Shared {
            client: client.clone(),
            metrics: metrics.clone(),
            // One for the process: its memory is what removes duplicates.
            recorder: Recorder::new(client.clone(), Reporter::from(labels::OPERATOR_NAME)),
            probe: probe::Client::new(),
            server: ServerDefaults {
                image: config.server_image.clone(),
                pull_policy: config.server_image_pull_policy,
            },
            monitoring: Arc::new(Monitoring {
                settings: Arc::new(config.monitoring.clone()),
                served: known,
                verifier: Verifier::new(),
            }),
            ready_times: Arc::default(),
        };
        let scopes: Vec<_> = config
            .namespaces()
            .into_iter()
            .map(|namespace| Scope::new(&shared, namespace.as_deref()))
            .collect();
        let caches = scopes
            .iter()
            .map(|scope| scope.scraper.resources.clone())
            .collect();
        metrics.add(Box::new(State::new(caches, shared.ready_times)?))?;
        Ok(Self {
            scopes,
            concurrency: config.concurrency,
            figures_interval: config.figures_interval.as_std(),
            ready: Readiness::default(),
            client: client.clone(),
            discovery_interval: config.monitoring.discovery_interval.as_std(),
            served,
        })
    }

    /// Becomes true once every cache is filled.
    pub fn readiness(&self) -> Readiness {
        self.ready.clone()
    }

    /// Runs until the shutdown, and until the reconciles that run then have ended, within reason.
    pub async fn run(self, shutdown: &Shutdown) {
        let contexts: Vec<_> = self
            .scopes
            .iter()
            .map(|scope| scope.context.clone())
            .collect();
        let ready = self.ready;
        tokio::spawn(served::follow(
            self.client,
            self.discovery_interval,
            self.served,
            shutdown.clone(),
        ));
        tokio::spawn(async move {
            let filled = contexts.iter().map(|context| context.caches.filled());
            if future::try_join_all(filled).await.is_ok() {
                ready.store(true, Ordering::Relaxed);
                tracing::info!("the caches are filled");
            }
        });
        let running = self
            .scopes
            .into_iter()
            .map(|scope| scope.run(self.concurrency, self.figures_interval, shutdown.clone()));
        tokio::select! {
            _ = future::join_all(running) => {}
            () = patience_after(shutdown) => {
                tracing::warn!("some reconciles did not end in time; the next start repeats them");
            }
        }
    }
}

async fn patience_after(shutdown: &Shutdown) {
    shutdown.clone().wait().await;
    tokio::time::sleep(LONGEST_FAREWELL).await;
}

/// What the controllers of all namespaces share.
struct Shared {
    client: Client,
    metrics: Arc<Metrics>,
    recorder: Recorder,
    probe: probe::Client,
    server: ServerDefaults,
    monitoring: Arc<Monitoring>,
    ready_times: Arc<ReadyTimes>,
}

/// One controller, and what its reconciles share.
struct Scope {
    controller: Controller<Guarded>,
    context: Arc<Context>,
    scraper: Scraper,
}

impl Scope {
    fn new(shared: &Shared, namespace: Option<&str>) -> Self {
        let Shared {
            client, metrics, ..
        } = shared;
        let watch_all = watcher::Config::default().page_size(100);
        let owned = caches::of_operator;

        let (resources, changes) =
            cached::<Guarded>(api(client, namespace), watch_all, caches::slim, metrics);
        let (config_maps, config_map_changes) = cached::<ConfigMap>(
            api(client, namespace),
            owned(),
            caches::slim_config_map,
            metrics,
        );
        let (services, service_changes) =
            cached::<Service>(api(client, namespace), owned(), caches::slim, metrics);
        let (deployments, deployment_changes) =
            cached::<Deployment>(api(client, namespace), owned(), caches::slim, metrics);
        let (pods, pod_changes) =
            cached::<Pod>(api(client, namespace), owned(), caches::slim_pod, metrics);

        let known = &shared.monitoring.served;
        let (pod_monitors, pod_monitor_changes) = reflected::<PodMonitor, _>(
            served::while_served(
                known.clone(),
                |served| served.pod_monitor,
                api(client, namespace),
                owned(),
            ),
            caches::slim,
            metrics,
        );
        let (prometheus_rules, prometheus_rule_changes) = reflected::<PrometheusRule, _>(
            served::while_served(
                known.clone(),
                |served| served.prometheus_rule,
                api(client, namespace),
                owned(),
            ),
            caches::slim_rules,
            metrics,
        );

        let figures = Arc::new(Figures::default());
        let (tell, told) = mpsc::unbounded();
        let scraper = Scraper {
            resources: resources.clone(),
            pods: pods.clone(),
            client: shared.probe.clone(),
            metrics: metrics.clone(),
            figures: figures.clone(),
            tell,
        };
        // Without this filter each status that is written would start another reconcile.
        let changes = changes.predicate_filter(predicates::generation, PredicateConfig::default());
        let controller = Controller::for_stream(changes, resources)
            .owns_stream(config_map_changes)
            .owns_stream(service_changes)
            .owns_stream(deployment_changes)
            .owns_stream(pod_monitor_changes)
            .owns_stream(prometheus_rule_changes)
            .reconcile_on(told)
            .reconcile_all_on(served::changes(known.clone()))
            .watches_stream(pod_changes, |pod| resource_of(&pod));
        let context = Context {
            client: client.clone(),
            caches: Caches::new(
                config_maps,
                services,
                deployments,
                pods,
                pod_monitors,
                prometheus_rules,
            ),
            recorder: shared.recorder.clone(),
            metrics: metrics.clone(),
            backoff: Backoff::default(),
            probe: shared.probe.clone(),
            server: shared.server.clone(),
            written: WrittenStatuses::default(),
            monitoring: shared.monitoring.clone(),
            figures,
            ready_times: shared.ready_times.clone(),
        };
        Self {
            controller,
            context: Arc::new(context),
            scraper,
        }
    }

    async fn run(self, concurrency: u16, figures_interval: Duration, shutdown: Shutdown) {
        let context = self.context.clone();
        let scraper = self.scraper;
        let scraping = tokio::spawn(async move {
            context.caches.watch_filling().await;
            scraper.run(figures_interval).await;
        });
        self.controller
            .with_config(controller::Config::default().concurrency(concurrency))
            .graceful_shutdown_on(shutdown.wait())
            .run(
                reconcile_and_count,
                |object, error, context| after_failure(&object, error, &context),
                self.context,
            )
            .for_each(|result| {
                // A reconcile's own failure was logged where it happened.
                if let Err(error) = result
                    && !matches!(
                        error,
                        controller::Error::ReconcilerFailed(..)
                            | controller::Error::ObjectNotFound(_)
                    )
                {
                    tracing::warn!(%error, "the controller's queue reports a failure");
                }
                future::ready(())
            })
            .await;
        scraping.abort();
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// A watch that fills a cache before it reports a change, and that goes on for ever.
fn cached<K>(
    api: Api<K>,
    config: watcher::Config,
    slim: fn(&mut K),
    metrics: &Arc<Metrics>,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K>,
)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    reflected(watcher(api, config), slim, metrics)
}

/// The same for a watch that exists already.
fn reflected<K, S>(
    events: S,
    slim: fn(&mut K),
    metrics: &Arc<Metrics>,
) -> (
    Store<K>,
    impl Stream<Item = Result<K, watcher::Error>> + Send + use<K, S>,
)
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    S: Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
{
    let (reader, writer) = reflector::store();
    let metrics = metrics.clone();
    let changes = events
        .backoff(WatchBackoff::default())
        .modify(slim)
        .reflect(writer)
        .touched_objects()
        .filter_map(move |change| {
            // The watch has a back-off of its own. The controller's would slow down all other
            // watches, too.
            if let Err(error) = &change {
                let kind = <K as Resource>::kind(&());
                tracing::warn!(%kind, %error, "a watch broke off and starts again");
                metrics.watch_failed(&kind);
            }
            future::ready(change.ok().map(Ok))
        });
    (reader, changes)
}

/// Pods are not owned by the resource but by a ReplicaSet in between: their label tells.
fn resource_of(pod: &Pod) -> Option<ObjectRef<Guarded>> {
    let name = caches::resource_name(pod)?;
    Some(ObjectRef::new(name).within(pod.metadata.namespace.as_deref()?))
}

async fn reconcile_and_count(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let reference = ObjectRef::from_obj(&*object);
    let result = Box::pin(reconcile(object, context.clone())).await;
    if result.is_ok() {
        context.metrics.reconciled();
        context.backoff.succeeded(&reference);
    }
    result
}

fn after_failure(object: &Guarded, error: &Error, context: &Context) -> Action {
    let reference = ObjectRef::from_obj(object);
    context.metrics.failed(error.category());
    if !error.is_retryable() {
        tracing::error!(%error, "given up until the resource changes");
        return Action::await_change();
    }
    let delay = context.backoff.failed(&reference);
    tracing::warn!(%error, retry_in = ?delay, "a reconcile failed");
    Action::requeue(delay)
}
