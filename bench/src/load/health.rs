//! How the load generator itself fares, so that its own limits are not taken for the target's.
use crate::{
    figures::Collected,
    objectives::Verdict,
    record::{GeneratorHealth, RequestRecord},
};
use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeValLike,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::AbortHandle;

/// How often the generator's timers are tried.
const TRY: Duration = Duration::from_millis(20);
/// Tokio's timers have whole milliseconds: so late is on time.
const TIMER_GRAIN: Duration = Duration::from_millis(1);
/// Later than this, times are no longer the target's.
const LATE: u64 = 10_000;
/// The share of its CPU at which the generator may be the bottleneck.
pub(crate) const BUSY: f64 = 0.9;

/// A scenario's watch over the generator.
pub(super) struct Watch {
    began: Instant,
    cpu: Option<Duration>,
    timers: Arc<Mutex<Option<Collected>>>,
    trying: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.trying.abort();
    }
}

impl Watch {
    pub(super) fn begin() -> Self {
        let timers = Arc::new(Mutex::new(Collected::new()));
        let trying = tokio::spawn(try_timers(timers.clone())).abort_handle();
        Self {
            began: Instant::now(),
            cpu: usage().as_ref().map(cpu_time),
            timers,
            trying,
        }
    }

    pub(super) fn end(&self, requests: &[RequestRecord]) -> GeneratorHealth {
        let usage = usage();
        let wall = self.began.elapsed().as_secs_f64().max(1e-6);
        let used = usage.as_ref().map(cpu_time).zip(self.cpu);
        let used = used.map(|(now, before)| now.saturating_sub(before));
        let lags = requests.iter().map(|one| one.sent.saturating_sub(one.due));
        let lags = crate::figures::Distribution::of(lags);
        let timers = self.timers.lock().unwrap_or_else(PoisonError::into_inner);
        let timers = timers.as_ref().and_then(Collected::distribution);
        GeneratorHealth {
            lag_p99: lags.map_or(0, |lags| lags.p99),
            timer_lag_p99: timers.map_or(0, |timers| timers.p99),
            cpu_cores: used.unwrap_or_default().as_secs_f64() / wall,
            cpu_available: cores(),
            peak_memory: usage.map_or(0, |usage| {
                u64::try_from(usage.max_rss()).unwrap_or_default() * 1024
            }),
        }
    }
}

/// Cores that this process may use, by affinity and by its cgroup's quota.
fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

fn usage() -> Option<Usage> {
    getrusage(UsageWho::RUSAGE_SELF).ok()
}

fn cpu_time(usage: &Usage) -> Duration {
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

async fn try_timers(timers: Arc<Mutex<Option<Collected>>>) {
    loop {
        let due = Instant::now() + TRY + TIMER_GRAIN;
        tokio::time::sleep(TRY).await;
        let late = Instant::now().saturating_duration_since(due);
        let late = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let mut timers = timers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(timers) = timers.as_mut() {
            timers.add(late);
        }
    }
}

/// Why a scenario's figures say less about the target than about the generator; empty if they
/// do not.
pub fn problems(health: &GeneratorHealth) -> Vec<String> {
    let mut problems = Vec::new();
    if health.lag_p99 > LATE {
        problems.push(format!(
            "it sent requests {} ms late (P99)",
            health.lag_p99 / 1000
        ));
    }
    if health.timer_lag_p99 > LATE {
        problems.push(format!(
            "it ran {} ms late (P99)",
            health.timer_lag_p99 / 1000
        ));
    }
    if health.cpu_cores > BUSY * health.cpu_available {
        problems.push(format!(
            "it used {:.1} of {} cores",
            health.cpu_cores, health.cpu_available
        ));
    }
    problems
}

/// Whether the verdicts stand although the generator was late: that makes a server look worse than it is, and never
/// better (requests that arrive by themselves begin when they were due), so what is met stays met. A generator without CPU to spare has put less load on the target than it was
/// asked for, which says nothing.
pub fn leaves_verdicts(health: &GeneratorHealth, verdicts: &[Verdict]) -> bool {
    health.cpu_cores <= BUSY * health.cpu_available
        && !verdicts.is_empty()
        && verdicts.iter().all(|one| one.met() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_with_time_to_spare_has_no_problem() {
        let health = GeneratorHealth {
            lag_p99: 900,
            timer_lag_p99: 900,
            cpu_cores: 0.5,
            cpu_available: 1.0,
            peak_memory: 0,
        };
        assert!(problems(&health).is_empty());
        let busy = GeneratorHealth {
            cpu_cores: 0.95,
            ..health.clone()
        };
        assert!(
            problems(&busy)[0].contains("0.9 of 1 cores")
                || problems(&busy)[0].contains("1.0 of 1 cores")
        );
        let late = GeneratorHealth {
            lag_p99: 12_000,
            timer_lag_p99: 13_000,
            ..health
        };
        let found = problems(&late).join(", ");
        assert!(
            found.contains("12 ms late") && found.contains("13 ms late"),
            "{found}"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn cpu_that_was_used_is_seen() {
        let watch = Watch::begin();
        let until = Instant::now() + Duration::from_millis(300);
        tokio::task::block_in_place(|| while Instant::now() < until {});
        let health = watch.end(&[]);
        assert!(health.cpu_cores > 0.1, "{health:?}");
        assert!(health.peak_memory > 1 << 20, "{health:?}");
    }

    #[tokio::test]
    async fn a_blocked_generator_is_late() {
        let watch = Watch::begin();
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::thread::sleep(Duration::from_millis(200));
        tokio::time::sleep(Duration::from_millis(50)).await;
        let health = watch.end(&[]);
        assert!(health.timer_lag_p99 > 100_000, "{health:?}");
    }
}
