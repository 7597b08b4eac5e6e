//! Watches, caches and the reconciler, wired together. Deployments, ConfigMaps and pods are watched
//! already by the controller of `LLMDeployment`, which lends its caches and tells of changes.
use super::{
    Guarded,
    context::{Caches, Context},
    decide::is_over,
    nodes::NodeReader,
    reconcile, schedule, state,
};
use crate::{
    config::{Config, benchmark::BenchmarkConfig},
    deployment::views::{Touched, Views},
    events::Publisher,
    guard::Guard,
    metrics::{BENCHMARK_CONTROLLER, ControllerMetrics, Metrics},
    queue::Queue,
    shutdown::Shutdown,
    watches::{self, Job, api, cached},
    written::WrittenStatuses,
};
use candlepower_api::{
    benchmark::{LLMBenchmark, LLMBenchmarkStatus},
    deployment::LLMDeployment,
    names::labels,
};
use futures::{Stream, StreamExt, future, stream};
use kube::{
    Client, Resource,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt, predicates,
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use std::sync::Arc;
use tokio::sync::watch;

/// As the other controller watches them.
type Deployment = Guard<LLMDeployment>;

/// The controllers of all watched namespaces.
pub struct Controllers {
    scopes: Vec<Scope>,
    concurrency: u16,
}

impl Controllers {
    /// Wires everything; nothing runs yet.
    pub(crate) fn new(
        client: &Client,
        config: &Config,
        metrics: &Arc<Metrics>,
        views: Vec<(Views, watch::Receiver<bool>)>,
    ) -> Self {
        // One for the process: its memory is what removes duplicates.
        let publisher = Arc::new(Publisher::new(client));
        let shared = Shared {
            client: client.clone(),
            metrics: ControllerMetrics::new(metrics, BENCHMARK_CONTROLLER),
            publisher,
            settings: config.benchmark.clone(),
        };
        let scopes: Vec<_> = views
            .into_iter()
            .map(|(views, filled)| Scope::new(&shared, views, filled))
            .collect();
        let caches = scopes
            .iter()
            .map(|scope| scope.context.caches.benchmarks.clone());
        metrics.add_source(state::source(caches.collect()));
        Self {
            scopes,
            concurrency: config.concurrency,
        }
    }

    /// Become true once the caches are filled.
    pub(crate) fn filling(&self) -> impl Iterator<Item = watch::Receiver<bool>> {
        let scopes = self.scopes.iter();
        scopes.map(|scope| scope.context.caches.filled.subscribe())
    }

    /// Runs until the shutdown, and until the reconciles that run then have ended, within reason.
    pub async fn run(self, shutdown: &Shutdown) {
        let running = self
            .scopes
            .into_iter()
            .map(|scope| scope.run(self.concurrency, shutdown.clone()));
        tokio::select! {
            _ = future::join_all(running) => {}
            () = shutdown.patience() => {
                tracing::warn!("some reconciles of benchmarks did not end in time; the next start repeats them");
            }
        }
    }
}

/// What the controllers of all namespaces share.
struct Shared {
    client: Client,
    metrics: ControllerMetrics,
    publisher: Arc<Publisher>,
    settings: BenchmarkConfig,
}

/// One controller, and what its reconciles share.
struct Scope {
    controller: Controller<Guarded>,
    context: Arc<Context>,
    /// Whether the caches of the other controller are filled.
    others: watch::Receiver<bool>,
}

impl Scope {
    fn new(shared: &Shared, views: Views, others: watch::Receiver<bool>) -> Self {
        let (client, metrics) = (&shared.client, &shared.metrics);
        let namespace = views.namespace.as_deref();
        let watch_all = watcher::Config::default().page_size(100);
        let (benchmarks, changes) = cached::<Guarded>(api(client, namespace), watch_all, metrics);
        let (jobs, job_changes) =
            cached::<Job>(api(client, namespace), watches::of_operator(), metrics);

        // A status that changes may let another benchmark of the same target begin, and is news for
        // the schedule that a run belongs to.
        let (tell, told) = futures::channel::mpsc::unbounded();
        let store = benchmarks.clone();
        let changes = changes.inspect(move |change| {
            for concerned in change.iter().flat_map(|one| companions(one, &store)) {
                // Without a receiver, the process is about to end.
                let _ = tell.unbounded_send(concerned);
            }
        });
        // Without this filter each status that is written would start another reconcile.
        let changes = changes.predicate_filter(predicates::generation, PredicateConfig::default());
        let touched = touched(views.touched, benchmarks.clone(), views.resources.clone());
        let controller = Controller::for_stream(changes, benchmarks.clone())
            .owns_stream(job_changes)
            .reconcile_on(told)
            .reconcile_on(touched);
        let context = Context {
            client: client.clone(),
            caches: Caches {
                benchmarks,
                jobs,
                deployments: views.resources,
                config_maps: views.config_maps,
                pods: views.pods,
                filled: watch::Sender::new(false),
            },
            publisher: shared.publisher.clone(),
            metrics: metrics.clone(),
            settings: shared.settings.clone(),
            nodes: NodeReader::default(),
            written: WrittenStatuses::default(),
        };
        Self {
            controller,
            context: Arc::new(context),
            others,
        }
    }

    async fn run(self, concurrency: u16, shutdown: Shutdown) {
        let (context, others) = (self.context.clone(), self.others);
        let filling = tokio::spawn(async move { context.caches.watch_filling(others).await });
        let queue = Queue {
            concurrency,
            metrics: self.context.metrics.clone(),
            shutdown,
        };
        queue.run(self.controller, reconcile, self.context).await;
        filling.abort();
    }
}

/// The benchmarks that a change of deployments, ConfigMaps or pods concerns. A report is news for those that wait for it
/// as their baseline, too, whatever their target is.
fn touched(
    changes: impl Stream<Item = Touched> + Send + 'static,
    benchmarks: Store<Guarded>,
    deployments: Store<Deployment>,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + 'static {
    changes.flat_map(move |change| {
        let concerned = match change {
            Touched::ChildOf(namespace, name) => {
                let mut concerned = all_where(&benchmarks, |benchmark| {
                    waits_for(benchmark, &namespace, &name)
                });
                concerned.push(ObjectRef::new(&name).within(&namespace));
                concerned
            }
            Touched::Deployment(deployment) => all_where(&benchmarks, |benchmark| {
                benchmark.metadata.namespace == deployment.namespace
                    && benchmark.spec.target.deployment.as_deref() == Some(deployment.name.as_str())
            }),
            Touched::PodOf(deployment) => of_pod(&deployment, &benchmarks, &deployments),
        };
        stream::iter(concerned)
    })
}

/// The benchmarks that a pod of `deployment` concerns: the one that this is a copy for, or all that measure it and are
/// not over. They are told how containers end, which no status of the deployment says.
fn of_pod(
    deployment: &ObjectRef<Deployment>,
    benchmarks: &Store<Guarded>,
    deployments: &Store<Deployment>,
) -> Vec<ObjectRef<Guarded>> {
    let copied_for = deployments.get(deployment).and_then(|copy| {
        let benchmark = copy.meta().labels.as_ref()?.get(labels::LLM_BENCHMARK)?;
        Some(ObjectRef::new(benchmark).within(deployment.namespace.as_deref()?))
    });
    if let Some(benchmark) = copied_for {
        return vec![benchmark];
    }
    all_where(benchmarks, |benchmark| {
        benchmark.metadata.namespace == deployment.namespace
            && benchmark.spec.target.deployment.as_deref() == Some(deployment.name.as_str())
            && !is_over(benchmark)
    })
}

/// Whether `benchmark` has not begun and is to be compared with the benchmark `baseline`.
fn waits_for(benchmark: &LLMBenchmark, namespace: &str, baseline: &str) -> bool {
    let begun = |status: &LLMBenchmarkStatus| status.started_at.is_some();
    let named = benchmark.spec.baseline.as_ref();
    benchmark.metadata.namespace.as_deref() == Some(namespace)
        && named.is_some_and(|named| named.benchmark == baseline)
        && !benchmark.status.as_ref().is_some_and(begun)
}

/// The other benchmarks of the same target, and the schedule that this one is a run of.
fn companions(changed: &Guarded, benchmarks: &Store<Guarded>) -> Vec<ObjectRef<Guarded>> {
    let Ok(changed) = &changed.0 else {
        return Vec::new();
    };
    let mut concerned = all_where(benchmarks, |other| {
        other.metadata.namespace == changed.metadata.namespace
            && other.metadata.name != changed.metadata.name
            && other.spec.target.display() == changed.spec.target.display()
    });
    concerned.extend(schedule::of_run(changed).map(|schedule| {
        let namespace = changed.metadata.namespace.as_deref().unwrap_or_default();
        ObjectRef::new(schedule).within(namespace)
    }));
    concerned
}

fn all_where(
    benchmarks: &Store<Guarded>,
    is_concerned: impl Fn(&LLMBenchmark) -> bool,
) -> Vec<ObjectRef<Guarded>> {
    benchmarks
        .state()
        .iter()
        .filter(|guarded| guarded.0.as_ref().is_ok_and(&is_concerned))
        .map(|guarded| ObjectRef::from_obj(&**guarded))
        .collect()
}
