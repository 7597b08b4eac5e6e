//! Asks all pods for their metrics at regular intervals, and tells the controller which resources
//! have something new to say.
use super::{
    Figures, Key, Reading, alerts,
    alerts::Pending,
    performance,
    restarts::Restarts,
    scaling::Scaling,
    snapshot::{self, Snapshot},
    unread::{Failed, Failures, Unreads},
    window::{History, Window},
};
use crate::{
    children::Cached,
    deployment::{Guarded, probe},
    metrics::Metrics,
    watches::{Cache, Pod},
};
use candlepower_api::deployment::{LLMDeployment, status::Performance};
use futures::{StreamExt, channel::mpsc::UnboundedSender, stream};
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// Pods that are asked at the same time.
const AT_ONCE: usize = 64;
/// A refusal comes sooner.
const SILENCE: Duration = Duration::from_millis(500);

/// Asks the pods of one controller's resources.
pub(in crate::deployment) struct Scraper {
    pub(in crate::deployment) resources: Store<Guarded>,
    pub(in crate::deployment) pods: Cache<Pod>,
    /// What the resources' Deployments ask for.
    pub(in crate::deployment) deployments: Cache<Cached>,
    pub(in crate::deployment) client: probe::Client,
    pub(in crate::deployment) metrics: Arc<Metrics>,
    pub(in crate::deployment) figures: Arc<Figures>,
    /// Folder of the runbooks.
    pub(in crate::deployment) runbooks_url: String,
    /// Takes the resources that are to be reconciled.
    pub(in crate::deployment) tell: UnboundedSender<ObjectRef<Guarded>>,
}

/// What is remembered from one round to the next.
#[derive(Default)]
struct Memory {
    /// By the pod's uid.
    pods: HashMap<String, Seen>,
    /// By the resource's uid.
    pending: HashMap<String, Pending>,
    failures: Failures,
    restarts: Restarts,
    scaling: Scaling,
}

/// What was seen of one pod.
struct Seen {
    resource: Key,
    history: History,
    /// Whether the pod is still there.
    lives: bool,
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
        let pods = self.pods.all();
        let asked: Vec<_> = pods
            .iter()
            .filter_map(|pod| target(pod))
            .filter(|target| memory.failures.takes_part(&target.uid))
            .collect();
        let answers = stream::iter(asked)
            .map(|target| async {
                let began = Instant::now();
                (self.ask(&target.address).await, target, began.elapsed())
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        memory.take(answers, &resources, &running(&pods));
        memory.restarts.take(
            Instant::now(),
            Timestamp::now(),
            pods.iter().map(AsRef::as_ref),
        );
        let mut readings = readings(&resources, memory, &self.runbooks_url);
        memory
            .scaling
            .decide(&resources, &mut readings, &self.deployments);
        let changed = self.figures.replace(readings);
        for (namespace, name) in changed {
            // Nobody listens once the controller has stopped.
            let _ = self
                .tell
                .unbounded_send(ObjectRef::new(&name).within(&namespace));
        }
        self.metrics.scraped_all(began.elapsed());
    }

    async fn ask(&self, address: &str) -> Result<Snapshot, String> {
        let answer = match self.client.metrics(address).await {
            Ok(text) => snapshot::read(&text).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        self.metrics.scraped(answer.is_ok());
        answer.inspect_err(|error| tracing::debug!(address, error, "no metrics of a pod"))
    }
}

impl Memory {
    /// Takes in what the pods answered, and lets go of what no window reaches any more.
    fn take(
        &mut self,
        answers: Vec<(Result<Snapshot, String>, Target, Duration)>,
        resources: &HashMap<Key, Arc<Guarded>>,
        running: &HashSet<String>,
    ) {
        let now = Instant::now();
        let unix_now = Timestamp::now().as_duration().as_secs_f64();
        for (uid, seen) in &mut self.pods {
            seen.lives = self.failures.leaves_out(uid);
        }
        self.failures
            .take(answers.iter().filter_map(|(answer, target, took)| {
                Some(Failed {
                    uid: &target.uid,
                    resource: &target.resource,
                    pod: &target.name,
                    why: answer.as_ref().err()?,
                    is_silent: *took >= SILENCE,
                })
            }));
        self.scaling.begin();
        let mut asked = HashSet::new();
        for (answer, target, _) in answers {
            let before = self.pods.get(&target.uid);
            let before = before.and_then(|seen| seen.history.last());
            self.scaling
                .take(&target.resource, answer.as_ref().ok(), before);
            asked.insert(target.uid.clone());
            let Some(length) = resources.get(&target.resource).and_then(window) else {
                continue;
            };
            if answer.is_err() && !self.pods.contains_key(&target.uid) {
                continue;
            }
            let seen = self.pods.entry(target.uid).or_insert_with(|| Seen {
                resource: target.resource,
                history: History::default(),
                lives: true,
            });
            seen.lives = true;
            if let Ok(snapshot) = answer {
                seen.history.push(now, unix_now, snapshot, length);
            }
        }
        for (uid, seen) in &self.pods {
            // It served before, and may still hold requests.
            if !asked.contains(uid) && running.contains(uid) {
                self.scaling.take(&seen.resource, None, None);
            }
        }
        self.pods.retain(|_, seen| {
            let Some(length) = resources.get(&seen.resource).and_then(window) else {
                return false;
            };
            // A pod that has gone, or has not answered for long, leaves with its window.
            let kept = if seen.lives {
                length.max(STALE)
            } else {
                length
            };
            if !seen.lives {
                seen.history.trim(now, length);
            }
            seen.history
                .last_seen()
                .is_some_and(|at| now.duration_since(at) < kept)
        });
        let uids: HashSet<_> = resources
            .values()
            .filter_map(|resource| resource.meta().uid.clone())
            .collect();
        self.pending.retain(|uid, _| uids.contains(uid));
        self.scaling.retain(&uids);
    }
}

/// The uids of pods that run and are not on their way out, whether they are ready or not.
fn running(pods: &[Arc<Pod>]) -> HashSet<String> {
    let runs = |pod: &&Arc<Pod>| !pod.is_ending && pod.status.phase.as_deref() == Some("Running");
    pods.iter()
        .filter(runs)
        .map(|pod| pod.uid.to_string())
        .collect()
}

/// How far back the figures of a resource look.
fn window(resource: &Arc<Guarded>) -> Option<Duration> {
    Some(parsed(resource)?.spec.alerts.window.as_std())
}

/// A pod that has not answered for this long tells nothing any more.
const STALE: Duration = Duration::from_secs(300);

/// A pod to ask.
struct Target {
    uid: String,
    name: String,
    resource: Key,
    address: String,
}

fn target(pod: &Pod) -> Option<Target> {
    if pod.is_ending || !pod.is_ready() {
        return None;
    }
    let resource = pod.deployment.as_deref()?;
    Some(Target {
        uid: pod.uid.to_string(),
        name: pod.name.to_string(),
        resource: (pod.namespace.to_string(), resource.to_owned()),
        address: pod.status.pod_ip.as_deref()?.to_owned(),
    })
}

fn parsed(resource: &Arc<Guarded>) -> Option<&LLMDeployment> {
    resource.0.as_ref().ok()
}

/// What each resource's status is to say, beside what it says. A resource whose pods were only seen
/// for a moment so far, after a start of the operator, keeps what it says.
fn readings(
    resources: &HashMap<Key, Arc<Guarded>>,
    memory: &mut Memory,
    runbooks_url: &str,
) -> HashMap<Key, (Reading, Reading)> {
    let mut pods: HashMap<&Key, Vec<&Seen>> = HashMap::new();
    for seen in memory.pods.values() {
        pods.entry(&seen.resource).or_default().push(seen);
    }
    let looping = memory.restarts.looping();
    let unread = memory.failures.lasting();
    let now = Timestamp::now();
    resources
        .iter()
        .filter_map(|(key, resource)| {
            let resource = parsed(resource)?;
            let told = Reading::told(resource.status.as_ref());
            let pods = pods.get(key).map(Vec::as_slice).unwrap_or_default();
            let mut live = pods.iter().filter(|seen| seen.lives);
            let mut reading = if live.all(|seen| seen.history.is_informed()) {
                let pending = memory
                    .pending
                    .entry(resource.uid().unwrap_or_default())
                    .or_insert_with(|| Pending::after(told.alerts.as_ref()));
                let window = window_of(resource, pods, looping.contains(key));
                reading(resource, &window, pending, now, runbooks_url)
            } else {
                told.clone()
            };
            reading.unread = match &unread {
                Some(unread) => Unreads::These(unread.get(key).cloned().unwrap_or_default()),
                None => told.unread.clone(),
            };
            Some((key.clone(), (reading, told)))
        })
        .collect()
}

fn window_of(resource: &LLMDeployment, pods: &[&Seen], crash_looping: bool) -> Window {
    let length = resource.spec.alerts.window;
    let (live, gone): (Vec<&Seen>, Vec<&Seen>) = pods.iter().partition(|seen| seen.lives);
    let mut window = Window::of(live.iter().map(|seen| &seen.history));
    for seen in gone {
        window.add_gone(&seen.history, length.as_std());
    }
    Window {
        crash_looping,
        ..window
    }
}

fn reading(
    resource: &LLMDeployment,
    window: &Window,
    pending: &mut Pending,
    now: Timestamp,
    runbooks_url: &str,
) -> Reading {
    let length = resource.spec.alerts.window;
    let holding = alerts::holding(resource, window, now);
    let performance = performance::performance(window, length).map(|figures| Performance {
        observed_at: now.round(Unit::Second).unwrap_or(now).to_string(),
        ..figures
    });
    Reading {
        performance,
        alerts: alerts::status(pending.update(Instant::now(), holding), runbooks_url),
        unread: Unreads::default(),
        loses_spans: window.loses_spans,
        scale: None,
    }
}

#[cfg(test)]
mod cost;
