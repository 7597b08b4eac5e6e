//! Asks all pods for their metrics at regular intervals, and tells the controller which resources
//! have something new to say.
use super::{
    Figures, Key, Reading, alerts,
    alerts::Pending,
    performance,
    snapshot::{self, Snapshot},
    window::{History, Window},
};
use crate::{
    deployment::{Guarded, caches::resource_name, dereference::is_ready, probe},
    metrics::Metrics,
};
use candlepower_api::deployment::LLMDeployment;
use futures::{StreamExt, channel::mpsc::UnboundedSender, stream};
use k8s_openapi::{
    api::core::v1::Pod,
    jiff::{Timestamp, Unit},
};
use kube::{
    ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// Pods that are asked at the same time.
const AT_ONCE: usize = 32;

/// Asks the pods of one controller's resources.
pub(in crate::deployment) struct Scraper {
    pub(in crate::deployment) resources: Store<Guarded>,
    pub(in crate::deployment) pods: Store<Pod>,
    pub(in crate::deployment) client: probe::Client,
    pub(in crate::deployment) metrics: Arc<Metrics>,
    pub(in crate::deployment) figures: Arc<Figures>,
    /// Takes the resources that are to be reconciled.
    pub(in crate::deployment) tell: UnboundedSender<ObjectRef<Guarded>>,
}

/// What is remembered from one round to the next.
#[derive(Default)]
struct Memory {
    pods: HashMap<String, History>,
    pending: HashMap<Key, Pending>,
}

impl Scraper {
    /// Goes on until it is dropped.
    pub(in crate::deployment) async fn run(self, every: Duration) {
        let mut ticks = interval(every);
        // A round that took too long is not made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut memory = Memory::default();
        loop {
            ticks.tick().await;
            self.round(&mut memory).await;
        }
    }

    async fn round(&self, memory: &mut Memory) {
        let began = Instant::now();
        let resources: HashMap<Key, Arc<Guarded>> = self
            .resources
            .state()
            .into_iter()
            .filter_map(|resource| Some(((resource.namespace()?, resource.name_any()), resource)))
            .collect();
        let mut pods: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        let asked = self.pods.state().into_iter().filter_map(|pod| target(&pod));
        let answers = stream::iter(asked)
            .map(|target| async { (self.ask(&target.address).await, target) })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let unix_now = Timestamp::now().as_duration().as_secs_f64();
        for (answer, target) in answers {
            let Some(resource) = resources.get(&target.resource).and_then(parsed) else {
                continue;
            };
            if let Some(snapshot) = answer {
                let length = resource.spec.alerts.window.as_std();
                let history = memory.pods.entry(target.uid.clone()).or_default();
                history.push(Instant::now(), unix_now, snapshot, length);
            }
            pods.entry(target.resource).or_default().push(target.uid);
        }
        // Pods that are gone, and those that have not answered for long, tell nothing any more.
        memory.pods.retain(|uid, history| {
            pods.values().flatten().any(|known| known == uid)
                && history.last_seen().is_some_and(|at| at.elapsed() < STALE)
        });
        let changed = self.figures.replace(readings(&resources, &pods, memory));
        for (namespace, name) in changed {
            // Nobody listens once the controller has stopped.
            let _ = self
                .tell
                .unbounded_send(ObjectRef::new(&name).within(&namespace));
        }
        self.metrics.scraped_all(began.elapsed());
    }

    async fn ask(&self, address: &str) -> Option<Snapshot> {
        let answer = match self.client.metrics(address).await {
            Ok(text) => snapshot::read(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        self.metrics.scraped(answer.is_ok());
        answer
            .inspect_err(|error| tracing::debug!(address, error, "no metrics of a pod"))
            .ok()
    }
}

/// A pod that has not answered for this long tells nothing any more.
const STALE: Duration = Duration::from_secs(300);

/// A pod to ask.
struct Target {
    uid: String,
    resource: Key,
    address: String,
}

fn target(pod: &Pod) -> Option<Target> {
    if pod.metadata.deletion_timestamp.is_some() || !is_ready(pod) {
        return None;
    }
    Some(Target {
        uid: pod.uid()?,
        resource: (pod.namespace()?, resource_name(pod)?.to_owned()),
        address: pod.status.as_ref()?.pod_ip.clone()?,
    })
}

fn parsed(resource: &Arc<Guarded>) -> Option<&LLMDeployment> {
    resource.0.as_ref().ok()
}

/// What each resource's status is to say.
fn readings(
    resources: &HashMap<Key, Arc<Guarded>>,
    pods: &BTreeMap<Key, Vec<String>>,
    memory: &mut Memory,
) -> HashMap<Key, Reading> {
    let now = Timestamp::now();
    memory.pending.retain(|key, _| resources.contains_key(key));
    resources
        .iter()
        .filter_map(|(key, resource)| {
            let resource = parsed(resource)?;
            let uids = pods.get(key).map(Vec::as_slice).unwrap_or_default();
            let window = Window::of(uids.iter().filter_map(|uid| memory.pods.get(uid)));
            let holding = alerts::holding(resource, &window, now);
            let pending = memory.pending.entry(key.clone()).or_default();
            let performance =
                performance::performance(&window, resource.spec.alerts.window).map(|figures| {
                    candlepower_api::deployment::status::Performance {
                        observed_at: now.round(Unit::Second).unwrap_or(now).to_string(),
                        ..figures
                    }
                });
            let reading = Reading {
                performance,
                alerts: alerts::status(pending.update(Instant::now(), holding)),
            };
            Some((key.clone(), reading))
        })
        .collect()
}

#[cfg(test)]
mod cost;
