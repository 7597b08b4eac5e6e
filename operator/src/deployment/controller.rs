//! Watches, caches and the reconciler, wired together: one controller for each namespace, or one
//! for all of them.
use super::{
    Guarded,
    backlog::Backlog,
    begun::Begun,
    caches::{self, Caches, indexed, indexed_immutable, indexed_pods, indexed_while_served},
    compared::Compared,
    context::{Context, ServerDefaults},
    devices::DeviceClaims,
    figures::{Figures, scrape::Scraper},
    fits::Estimates,
    monitoring::{
        Monitoring,
        prometheus::Verifier,
        served::{self, Served},
    },
    pace::Pace,
    probe, reconcile,
    reports::Reports,
    state::State,
    views::{self, Views},
};
use crate::{
    children::{Cached, Kind},
    config::Config,
    events::Publisher,
    metrics::{ControllerMetrics, DEPLOYMENT_CONTROLLER, Metrics},
    queue::Queue,
    shutdown::Shutdown,
    watches::{api, cached, slim},
    written::WrittenStatuses,
};
use candlepower_api::deployment::LLMDeploymentStatus;
use futures::{Stream, StreamExt, channel::mpsc, future};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Client,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt, predicates,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The controllers of all watched namespaces.
pub struct Controllers {
    scopes: Vec<Scope>,
    concurrency: u16,
    figures_interval: Duration,
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
            publisher: Arc::new(Publisher::new(client)),
            probe: probe::Client::new(),
            estimates: Arc::new(Estimates::new(config.estimate_memory)),
            server: ServerDefaults {
                image: config.server_image.clone(),
                cuda_image: config.server_image_cuda.clone(),
                pull_policy: config.server_image_pull_policy,
            },
            monitoring: Arc::new(Monitoring {
                settings: Arc::new(config.monitoring.clone()),
                served: known,
                verifier: Verifier::new(),
            }),
        };
        let scopes: Vec<_> = config
            .namespaces()
            .into_iter()
            .map(|namespace| Scope::new(&shared, namespace.as_deref()))
            .collect();
        let caches = scopes
            .iter()
            .map(|scope| (scope.scraper.resources.clone(), scope.scraper.pods.clone()))
            .collect();
        metrics.add(Box::new(State::new(caches)?))?;
        Ok(Self {
            scopes,
            concurrency: config.concurrency,
            figures_interval: config.figures_interval.as_std(),
            client: client.clone(),
            discovery_interval: config.monitoring.discovery_interval.as_std(),
            served,
        })
    }

    /// What is watched here, for the controllers of benchmarks; to be taken once.
    pub(crate) fn take_views(&mut self) -> Vec<(Views, watch::Receiver<bool>)> {
        let scopes = self.scopes.iter_mut();
        scopes
            .filter_map(|scope| Some((scope.views.take()?, scope.context.caches.filling())))
            .collect()
    }

    /// Become true once the caches are filled.
    pub(crate) fn filling(&self) -> impl Iterator<Item = watch::Receiver<bool>> {
        let scopes = self.scopes.iter();
        scopes.map(|scope| scope.context.caches.filling())
    }

    /// Runs until the shutdown, and until the reconciles that run then have ended, within reason.
    pub async fn run(self, shutdown: &Shutdown) {
        tokio::spawn(served::follow(
            self.client,
            self.discovery_interval,
            self.served,
            shutdown.clone(),
        ));
        let running = self
            .scopes
            .into_iter()
            .map(|scope| scope.run(self.concurrency, self.figures_interval, shutdown.clone()));
        tokio::select! {
            _ = future::join_all(running) => {}
            () = shutdown.patience() => {
                tracing::warn!("some reconciles did not end in time; the next start repeats them");
            }
        }
    }
}

/// What the controllers of all namespaces share.
struct Shared {
    client: Client,
    metrics: Arc<Metrics>,
    publisher: Arc<Publisher>,
    probe: probe::Client,
    estimates: Arc<Estimates>,
    server: ServerDefaults,
    monitoring: Arc<Monitoring>,
}

impl Shared {
    /// Asks the pods of these resources.
    fn scraper(
        &self,
        resources: Store<Guarded>,
        (pods, deployments): (Store<Pod>, Store<Cached>),
        figures: Arc<Figures>,
        tell: mpsc::UnboundedSender<ObjectRef<Guarded>>,
    ) -> Scraper {
        Scraper {
            resources,
            pods,
            deployments,
            client: self.probe.clone(),
            metrics: self.metrics.clone(),
            figures,
            runbooks_url: self.monitoring.settings.runbooks_url.clone(),
            tell,
        }
    }
}

/// One controller, and what its reconciles share.
struct Scope {
    controller: Controller<Guarded>,
    context: Arc<Context>,
    scraper: Scraper,
    views: Option<Views>,
}

impl Scope {
    fn new(shared: &Shared, namespace: Option<&str>) -> Self {
        let client = &shared.client;
        let watch_all = watcher::Config::default().page_size(100);

        let metrics = &ControllerMetrics::new(&shared.metrics, DEPLOYMENT_CONTROLLER);
        let (touch, touched) = mpsc::unbounded();
        let (resources, changes) =
            cached::<Guarded>(api(client, namespace), watch_all, slim, metrics);
        let written = Arc::new(WrittenStatuses::default());
        let changes = forgetting(changes, &written);
        let changes = views::tap(changes, &touch, views::of_deployment);
        let (config_maps, config_map_changes) =
            indexed(client, namespace, Kind::ConfigMap, metrics);
        let config_map_changes = views::tap(config_map_changes, &touch, views::child_of_benchmark);
        let (dashboards, dashboard_changes) =
            indexed_immutable(client, namespace, Kind::ConfigMap, metrics);
        let (services, service_changes) = indexed(client, namespace, Kind::Service, metrics);
        let (claims, claim_changes) =
            indexed(client, namespace, Kind::PersistentVolumeClaim, metrics);
        let (deployments, deployment_changes) =
            indexed(client, namespace, Kind::Deployment, metrics);
        let (network_policies, policy_changes) =
            indexed(client, namespace, Kind::NetworkPolicy, metrics);
        let (disruption_budgets, budget_changes) =
            indexed(client, namespace, Kind::PodDisruptionBudget, metrics);
        let (pods, pod_changes) = indexed_pods(client, namespace, metrics);
        let pod_changes = views::tap(pod_changes, &touch, views::of_pod);

        let known = &shared.monitoring.served;
        let at_times = |kind, is_served: fn(Served) -> bool| {
            indexed_while_served(client, namespace, kind, (known, is_served), metrics)
        };
        let (pod_monitors, pod_monitor_changes) =
            at_times(Kind::PodMonitor, |served| served.pod_monitor);
        let (prometheus_rules, prometheus_rule_changes) =
            at_times(Kind::PrometheusRule, |served| served.prometheus_rule);

        let figures = Arc::new(Figures::default());
        let (tell, told) = mpsc::unbounded();
        let scraper = shared.scraper(
            resources.clone(),
            (pods.store(), deployments.store()),
            figures.clone(),
            tell.clone(),
        );
        // Without this filter each status that is written would start another reconcile.
        let changes = changes.predicate_filter(predicates::generation, PredicateConfig::default());
        let controller = Controller::for_stream(changes, resources)
            .owns_stream_with(config_map_changes, Kind::ConfigMap)
            .owns_stream_with(dashboard_changes, Kind::ConfigMap)
            .owns_stream_with(service_changes, Kind::Service)
            .owns_stream_with(claim_changes, Kind::PersistentVolumeClaim)
            .owns_stream_with(deployment_changes, Kind::Deployment)
            .owns_stream_with(policy_changes, Kind::NetworkPolicy)
            .owns_stream_with(budget_changes, Kind::PodDisruptionBudget)
            .owns_stream_with(pod_monitor_changes, Kind::PodMonitor)
            .owns_stream_with(prometheus_rule_changes, Kind::PrometheusRule)
            .reconcile_on(told)
            .reconcile_all_on(served::changes(known.clone()))
            .watches_stream(pod_changes, |pod| resource_of(&pod));
        let views = Views {
            namespace: namespace.map(str::to_owned),
            resources: scraper.resources.clone(),
            config_maps: config_maps.store(),
            pods: pods.store(),
            touched,
        };
        let context = Context {
            client: client.clone(),
            resources: scraper.resources.clone(),
            caches: Caches {
                config_maps,
                dashboards,
                services,
                claims,
                deployments,
                network_policies,
                disruption_budgets,
                pods,
                pod_monitors,
                prometheus_rules,
                filled: watch::Sender::new(false),
            },
            publisher: shared.publisher.clone(),
            metrics: metrics.clone(),
            backlog: Backlog::default(),
            begun: Begun::default(),
            compared: Compared::default(),
            devices: DeviceClaims::default(),
            pace: Pace::default(),
            reports: Reports::new(shared.probe.clone()),
            estimates: shared.estimates.clone(),
            server: shared.server.clone(),
            written,
            monitoring: shared.monitoring.clone(),
            figures,
            tell,
        };
        Self {
            controller,
            context: Arc::new(context),
            scraper,
            views: Some(views),
        }
    }

    async fn run(self, concurrency: u16, figures_interval: Duration, shutdown: Shutdown) {
        let context = self.context.clone();
        let scraper = self.scraper;
        let scraping = tokio::spawn(async move {
            context.caches.watch_filling().await;
            scraper.run(figures_interval).await;
        });
        let queue = Queue {
            concurrency,
            metrics: self.context.metrics.clone(),
            shutdown,
        };
        queue.run(self.controller, reconcile, self.context).await;
        scraping.abort();
    }
}

/// Lets go of what was written as soon as the watch shows it.
fn forgetting<E, S>(
    changes: S,
    written: &Arc<WrittenStatuses<LLMDeploymentStatus>>,
) -> impl Stream<Item = Result<Guarded, E>> + Send + use<E, S>
where
    S: Stream<Item = Result<Guarded, E>> + Send,
{
    let written = written.clone();
    changes.inspect(move |change| {
        let resource = change.as_ref().ok().and_then(|it| it.0.as_ref().ok());
        let shown = resource.and_then(|it| it.metadata.uid.as_ref().zip(it.status.as_ref()));
        if let Some((uid, status)) = shown {
            written.shown(uid, status);
        }
    })
}

/// Pods are not owned by the resource but by a ReplicaSet in between: their label tells.
fn resource_of(pod: &Pod) -> Option<ObjectRef<Guarded>> {
    let name = caches::resource_name(pod)?;
    Some(ObjectRef::new(name).within(pod.metadata.namespace.as_deref()?))
}
