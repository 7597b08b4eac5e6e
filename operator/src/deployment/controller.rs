//! Watches, caches and the reconciler, wired together: one controller for each namespace, or one
//! for all of them.
use super::{
    Guarded,
    backlog::Backlog,
    begun::Begun,
    caches::{Caches, watched, watched_immutable, watched_while_served},
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
    state,
    views::{self, Views},
};
use crate::{
    children::Cached,
    config::Config,
    events::Publisher,
    metrics::{ControllerMetrics, DEPLOYMENT_CONTROLLER, Metrics},
    queue::Queue,
    shutdown::Shutdown,
    watches::{Cache, Kind, Pod, api, cached},
    written::WrittenStatuses,
};
use candlepower_api::deployment::{LLMDeployment, LLMDeploymentStatus};
use futures::{
    Stream, StreamExt,
    channel::mpsc,
    future,
    stream::{BoxStream, select_all},
};
use kube::{
    Client, Resource,
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
    pub fn new(client: &Client, config: &Config, metrics: &Arc<Metrics>) -> Self {
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
        metrics.add_source(state::source(caches));
        Self {
            scopes,
            concurrency: config.concurrency,
            figures_interval: config.figures_interval.as_std(),
            client: client.clone(),
            discovery_interval: config.monitoring.discovery_interval.as_std(),
            served,
        }
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
        (pods, deployments): (Cache<Pod>, Cache<Cached>),
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
        let (resources, changes) = cached::<Guarded>(api(client, namespace), watch_all, metrics);
        let written = Arc::new(WrittenStatuses::default());
        let changes = forgetting(changes, &written);
        let changes = views::tap(changes, &touch, views::of_deployment);
        let children = |kind| watched::<Cached>(client, namespace, kind, metrics);
        let (config_maps, config_map_changes) = children(Kind::ConfigMap);
        let config_map_changes = views::tap(config_map_changes, &touch, views::child_of_benchmark);
        let (dashboards, dashboard_changes) =
            watched_immutable(client, namespace, Kind::ConfigMap, metrics);
        let (services, service_changes) = children(Kind::Service);
        let (claims, claim_changes) = children(Kind::PersistentVolumeClaim);
        let (deployments, deployment_changes) = children(Kind::Deployment);
        let (network_policies, policy_changes) = children(Kind::NetworkPolicy);
        let (disruption_budgets, budget_changes) = children(Kind::PodDisruptionBudget);
        let (pods, pod_changes) = watched(client, namespace, Kind::Pod, metrics);
        let pod_changes = views::tap(pod_changes, &touch, views::of_pod);

        let known = &shared.monitoring.served;
        let at_times = |kind, is_served: fn(Served) -> bool| {
            watched_while_served(client, namespace, kind, (known, is_served), metrics)
        };
        let (pod_monitors, pod_monitor_changes) =
            at_times(Kind::PodMonitor, |served| served.pod_monitor);
        let (prometheus_rules, prometheus_rule_changes) =
            at_times(Kind::PrometheusRule, |served| served.prometheus_rule);
        let child_changes: [BoxStream<'static, Arc<Cached>>; 9] = [
            config_map_changes.boxed(),
            dashboard_changes.boxed(),
            service_changes.boxed(),
            claim_changes.boxed(),
            deployment_changes.boxed(),
            policy_changes.boxed(),
            budget_changes.boxed(),
            pod_monitor_changes.boxed(),
            prometheus_rule_changes.boxed(),
        ];

        let figures = Arc::new(Figures::default());
        let (tell, told) = mpsc::unbounded();
        let scraper = shared.scraper(
            resources.clone(),
            (pods.clone(), deployments.clone()),
            figures.clone(),
            tell.clone(),
        );
        // Without this filter each status that is written would start another reconcile.
        let changes = changes.predicate_filter(predicates::generation, PredicateConfig::default());
        let of_children = select_all(child_changes).filter_map(async |child| owner_of(&child));
        let of_pods = pod_changes.filter_map(async |pod| resource_of(&pod));
        let controller = Controller::for_stream(changes, resources)
            .reconcile_on(of_children)
            .reconcile_on(of_pods)
            .reconcile_on(told)
            .reconcile_all_on(served::changes(known.clone()));
        let views = Views {
            namespace: namespace.map(str::to_owned),
            resources: scraper.resources.clone(),
            config_maps: config_maps.clone(),
            pods: pods.clone(),
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

/// The resource that a child belongs to.
fn owner_of(child: &Cached) -> Option<ObjectRef<Guarded>> {
    let identity = &child.identity;
    let owner = identity.controller.as_ref();
    let owner = owner.filter(|owner| *owner.kind == *LLMDeployment::kind(&()))?;
    Some(ObjectRef::new(&owner.name).within(&identity.namespace))
}

/// Pods are not owned by the resource but by a ReplicaSet in between: their label tells.
fn resource_of(pod: &Pod) -> Option<ObjectRef<Guarded>> {
    Some(ObjectRef::new(pod.deployment.as_deref()?).within(&pod.namespace))
}
