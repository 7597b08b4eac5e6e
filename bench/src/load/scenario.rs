//! One level of load: warm-up, window, cool-down, and what came of it.
use super::{
    arrivals,
    exchange::Wire,
    health::Watch,
    live::{Live, Phase, Progress},
    plan::{Load, ScenarioPlan},
    requests::Requests,
    run::Observer,
    schedule,
    users::{self, Shared},
};
use crate::record::{Micros, ScenarioRun};
use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);

/// All that a scenario needs.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a ScenarioPlan,
    pub(super) wire: Wire,
    pub(super) requests: Requests,
    /// Most connections at once.
    pub(super) connections: u64,
    /// Ends everything at once.
    pub(super) cancel: CancellationToken,
    /// The share of failures that ends it.
    pub(super) stop_at: Option<f64>,
    /// Its place from 1, and how many there are.
    pub(super) place: (usize, Option<usize>),
}

/// Said where someone ended the run.
pub(super) const INTERRUPTED: &str = "the run was interrupted";

impl Stage<'_> {
    /// Applies the load.
    pub(super) async fn run(self, observer: &mut dyn Observer) -> std::io::Result<ScenarioRun> {
        let watch = Watch::begin();
        let start = Instant::now();
        let shared = Arc::new(Shared {
            wire: self.wire.clone(),
            requests: self.requests.clone(),
            live: Live::new(),
            next: AtomicU64::new(0),
            no_more: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
            measured: TaskTracker::new(),
            window_end: start + self.plan.duration,
        });
        let mut clock = Ticking::new(&self, start);
        // One of the tasks that have to end before the records are taken.
        let generating = shared.tasks.spawn(self.generate(shared.clone(), start));
        let stopped = clock.until_sent(&shared, generating, observer).await?;
        let sent = Instant::now();
        if stopped.is_none() {
            clock.until_measured(&shared, observer).await;
        }
        shared.no_more.cancel();
        shared.tasks.close();
        shared.cut.cancel();
        shared.tasks.wait().await;
        Ok(self.record(&shared, &watch, (start, sent), stopped))
    }

    fn generate(
        &self,
        shared: Arc<Shared>,
        start: Instant,
    ) -> impl Future<Output = std::io::Result<()>> + use<> {
        let (load, connections) = (self.plan.load.clone(), self.connections);
        let (seed, plan) = (self.requests.workload.seed, self.plan);
        // A trace ends where it ends; everything else goes on as long as something is measured.
        let until = match load {
            Load::Replay(_) => plan.duration,
            _ => plan.duration + plan.cool_down,
        };
        async move {
            if let Load::Users { users, spawn_rate } = load {
                users::run(shared, users, spawn_rate, start).await;
                return Ok(());
            }
            let due = schedule::arrivals(&load, seed, until);
            arrivals::run(shared, due, connections, start).await
        }
    }

    fn record(
        &self,
        shared: &Shared,
        watch: &Watch,
        (start, sent): (Instant, Instant),
        stopped: Option<String>,
    ) -> ScenarioRun {
        let clock = self.wire.clock;
        let (started, ended) = (clock.at(start), clock.now());
        let requests = shared.live.take_records();
        let last = clock.at(sent.min(start + self.plan.duration));
        let first: Micros = clock.at(start + self.plan.warm_up).min(last);
        ScenarioRun {
            name: self.plan.name.clone(),
            load: self.plan.load.applied(),
            started,
            window: (first, last),
            ended,
            generator: watch.end(&requests),
            requests,
            stopped,
        }
    }
}

/// Tells progress while it waits.
struct Ticking<'a> {
    stage: &'a Stage<'a>,
    start: Instant,
    ticks: tokio::time::Interval,
    last: Instant,
}

impl<'a> Ticking<'a> {
    fn new(stage: &'a Stage<'a>, start: Instant) -> Self {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            stage,
            start,
            ticks,
            last: start,
        }
    }

    /// Until the scenario's duration is over; says why where it ends earlier.
    async fn until_sent(
        &mut self,
        shared: &Shared,
        mut generating: JoinHandle<std::io::Result<()>>,
        observer: &mut dyn Observer,
    ) -> std::io::Result<Option<String>> {
        let end = tokio::time::sleep_until((self.start + self.stage.plan.duration).into());
        tokio::pin!(end);
        let mut generated = false;
        loop {
            tokio::select! {
                () = &mut end => return Ok(None),
                () = self.stage.cancel.cancelled() => return Ok(Some(INTERRUPTED.to_owned())),
                result = &mut generating, if !generated => {
                    result.map_err(std::io::Error::other)??;
                    generated = true;
                }
                _ = self.ticks.tick() => {
                    self.tell(shared, observer);
                    if let Some(why) = self.too_many_errors(shared) {
                        return Ok(Some(why));
                    }
                }
            }
        }
    }

    /// Until all requests of the window have ended, or the cool-down has. The load goes on meanwhile.
    async fn until_measured(&mut self, shared: &Shared, observer: &mut dyn Observer) {
        let end = tokio::time::sleep(self.stage.plan.cool_down);
        shared.measured.close();
        let answered = shared.measured.wait();
        tokio::pin!(end, answered);
        loop {
            tokio::select! {
                () = &mut end => return,
                () = &mut answered => return,
                () = self.stage.cancel.cancelled() => return,
                _ = self.ticks.tick() => self.tell(shared, observer),
            }
        }
    }

    fn too_many_errors(&self, shared: &Shared) -> Option<String> {
        let (limit, rate) = (self.stage.stop_at?, shared.live.error_rate()?);
        (rate >= limit).then(|| {
            format!(
                "{:.0}% of requests failed, and stopWhen.errorRate is {:.0}%",
                rate * 100.0,
                limit * 100.0
            )
        })
    }

    fn tell(&mut self, shared: &Shared, observer: &mut dyn Observer) {
        let now = Instant::now();
        let (plan, elapsed) = (self.stage.plan, now - self.start);
        let mut progress = Progress {
            scenario: plan.name.clone(),
            place: self.stage.place.0,
            of: self.stage.place.1,
            elapsed,
            duration: plan.duration,
            phase: match elapsed {
                early if early < plan.warm_up => Phase::WarmUp,
                measured if measured < plan.duration => Phase::Measuring,
                _ => Phase::CoolDown,
            },
            ..Progress::default()
        };
        shared.live.report(&mut progress, now - self.last);
        self.last = now;
        observer.progress(&progress);
    }
}
