//! What happened in the last minutes: increases of counters over a pod's snapshots, merged over
//! pods.
use super::snapshot::{Counters, Snapshot};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A window is told by at most about this many snapshots, however often pods are asked.
const RESOLUTION: u32 = 32;

/// The snapshots of one pod, oldest first.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<(Instant, Snapshot)>);

impl History {
    /// Adds what was seen at `now`. A server that started within the window is known from its
    /// start, when it had counted nothing.
    pub(super) fn push(
        &mut self,
        now: Instant,
        unix_now: f64,
        snapshot: Snapshot,
        window: Duration,
    ) {
        if self.0.is_empty()
            && let Some(started) = started(now, unix_now, &snapshot, window)
        {
            self.0.push_back((started, Snapshot::empty()));
        }
        let mut recent = self.0.iter().rev();
        if let (Some((last, _)), Some((before, _))) = (recent.next(), recent.next())
            && last.duration_since(*before) < window / RESOLUTION
            && self.0.len() > 2
        {
            self.0.pop_back();
        }
        self.0.push_back((now, snapshot));
        self.trim(now, window);
    }

    /// Lets go of what lies before the window.
    pub(super) fn trim(&mut self, now: Instant, window: Duration) {
        // The newest one that is older than the window is where the window begins.
        while self
            .0
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= window)
        {
            self.0.pop_front();
        }
    }

    /// Whether it tells of a time, and not of a moment only: a server that has run for longer than
    /// the window says nothing of the window at first sight.
    pub(super) fn is_informed(&self) -> bool {
        self.0.len() > 1
    }

    /// From when to when it tells, and what was seen last.
    fn span(&self) -> Option<(Instant, Instant, &Snapshot)> {
        let (from, _) = self.0.front()?;
        let (to, last) = self.0.back()?;
        Some((*from, *to, last))
    }

    /// What was counted from its beginning to its end.
    fn counted(&self) -> Counters {
        let mut counted = Counters::zero();
        for ((_, before), (_, after)) in self.0.iter().zip(self.0.iter().skip(1)) {
            counted.add_increase(&before.counters, &after.counters);
        }
        counted
    }

    /// Whether spans were lost time and again: a collector that has just started, or is started
    /// again, misses a batch and no more.
    fn loses_spans(&self) -> bool {
        let between = self.0.iter().zip(self.0.iter().skip(1));
        let lossy = between.filter(|((_, before), (_, after))| {
            let mut counted = Counters::zero();
            counted.add_increase(&before.counters, &after.counters);
            counted.spans_lost > 0.0
        });
        lossy.count() >= LASTING_LOSS
    }

    /// What was seen last.
    pub(super) fn last(&self) -> Option<&Snapshot> {
        self.0.back().map(|(_, last)| last)
    }

    /// When the pod last answered.
    pub(super) fn last_seen(&self) -> Option<Instant> {
        self.0.back().map(|(at, _)| *at)
    }
}

/// When the process started, if that is within the window.
fn started(now: Instant, unix_now: f64, snapshot: &Snapshot, window: Duration) -> Option<Instant> {
    let age = Duration::try_from_secs_f64(unix_now - snapshot.started?).ok()?;
    if age >= window {
        return None;
    }
    now.checked_sub(age)
}

/// What happened in a window, in all pods of a resource together.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) counted: Counters,
    /// Tokens and requests by second, summed over the pods.
    pub(super) tokens_per_second: f64,
    pub(super) requests_per_second: f64,
    /// Largest share of the time in which one of the pods computed, 0 to 1.
    pub(super) busy: f64,
    /// Whether requests run or wait in a pod that has picked no token.
    pub(super) stuck: bool,
    /// The fullest memory now, 0 to 1.
    pub(super) memory: Option<f64>,
    /// Whether one of the pods loses spans time and again.
    pub(super) loses_spans: bool,
    /// Whether the server of one of the pods ends again and again.
    pub(super) crash_looping: bool,
}

impl Window {
    /// What the histories of the pods that run tell together.
    pub(super) fn of<'a>(histories: impl IntoIterator<Item = &'a History>) -> Self {
        let mut sum = Self {
            counted: Counters::zero(),
            tokens_per_second: 0.0,
            requests_per_second: 0.0,
            busy: 0.0,
            stuck: false,
            memory: None,
            loses_spans: false,
            crash_looping: false,
        };
        for history in histories {
            sum.add(history);
        }
        sum
    }

    fn add(&mut self, history: &History) {
        let Some((from, to, last)) = history.span() else {
            return;
        };
        self.memory = [self.memory, last.memory]
            .into_iter()
            .flatten()
            .reduce(f64::max);
        let seconds = to.duration_since(from).as_secs_f64();
        let counted = history.counted();
        self.loses_spans |= history.loses_spans();
        self.stuck |= last.in_progress() > 0.0 && counted.tokens <= 0.0;
        if seconds <= 0.0 {
            return;
        }
        self.tokens_per_second += counted.tokens / seconds;
        self.requests_per_second += counted.requests() / seconds;
        self.busy = self.busy.max((counted.busy_seconds / seconds).min(1.0));
        self.counted.add_increase(&Counters::zero(), &counted);
    }

    /// Adds a pod that has gone: what it did in the window of this length still counts, as it does
    /// for Prometheus, but what it held does not.
    pub(super) fn add_gone(&mut self, history: &History, window: Duration) {
        let seconds = window.as_secs_f64();
        let counted = history.counted();
        if seconds > 0.0 {
            self.tokens_per_second += counted.tokens / seconds;
            self.requests_per_second += counted.requests() / seconds;
        }
        self.counted.add_increase(&Counters::zero(), &counted);
    }

    /// Share of the requests that failed through the server's fault; `None` without requests.
    pub(super) fn error_rate(&self) -> Option<f64> {
        let all = self.counted.requests();
        (all > 0.0).then(|| self.counted.failed_by_server / all)
    }

    /// Tokens by second of the time in which requests ran; `None` while they hardly did.
    pub(super) fn tokens_per_busy_second(&self) -> Option<f64> {
        (self.busy > LEAST_BUSY).then(|| self.tokens_per_second / self.busy)
    }
}

/// In so many spaces between snapshots spans must be lost before that is told.
const LASTING_LOSS: usize = 2;
/// Below this share of busy time, throughput says nothing.
const LEAST_BUSY: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: Duration = Duration::from_secs(300);
    const UNIX: f64 = 1_764_000_000.0;

    fn seen(tokens: f64, busy: f64, requests: f64) -> Snapshot {
        Snapshot {
            counters: Counters {
                tokens,
                busy_seconds: busy,
                succeeded: requests,
                ..Counters::zero()
            },
            ..Snapshot::empty()
        }
    }

    fn history(snapshots: impl IntoIterator<Item = (u64, Snapshot)>) -> History {
        let start = Instant::now();
        let mut history = History::default();
        for (second, snapshot) in snapshots {
            let now = start + Duration::from_secs(second);
            history.push(now, UNIX, snapshot, MINUTES);
        }
        history
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn rates_are_increases_by_the_time_between_the_snapshots() {
        let window = Window::of([&history([
            (0, seen(100.0, 10.0, 5.0)),
            (30, seen(400.0, 25.0, 8.0)),
        ])]);
        close(window.tokens_per_second, 10.0);
        close(window.requests_per_second, 0.1);
        close(window.busy, 0.5);
        close(window.tokens_per_busy_second().unwrap(), 20.0);
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let window = Window::of([&history([
            (0, seen(0.0, 0.0, 0.0)),
            (30, seen(9000.0, 0.0, 0.0)),
            (330, seen(9000.0, 0.0, 0.0)),
            (360, seen(9030.0, 0.0, 0.0)),
        ])]);
        close(window.counted.tokens, 30.0);
    }

    #[test]
    fn a_restart_counts_from_nothing() {
        let window = Window::of([&history([
            (0, seen(1000.0, 0.0, 10.0)),
            (30, seen(50.0, 0.0, 1.0)),
        ])]);
        close(window.counted.tokens, 50.0);
        close(window.counted.succeeded, 1.0);
    }

    #[test]
    fn replicas_add_up_and_the_busiest_counts() {
        let one = history([(0, seen(0.0, 0.0, 0.0)), (10, seen(100.0, 5.0, 1.0))]);
        let other = history([(0, seen(0.0, 0.0, 0.0)), (10, seen(300.0, 10.0, 1.0))]);
        let window = Window::of([&one, &other]);
        close(window.tokens_per_second, 40.0);
        close(window.busy, 1.0);
    }

    #[test]
    fn a_server_that_has_just_started_is_known_from_its_start() {
        let snapshot = Snapshot {
            started: Some(UNIX - 20.0),
            ..seen(100.0, 2.0, 1.0)
        };
        close(
            Window::of([&history([(0, snapshot)])]).counted.tokens,
            100.0,
        );
        let old = Snapshot {
            started: Some(UNIX - 3600.0),
            ..seen(100.0, 2.0, 1.0)
        };
        close(Window::of([&history([(0, old)])]).counted.tokens, 0.0);
    }

    #[test]
    fn an_idle_server_has_neither_an_error_rate_nor_a_throughput() {
        let window = Window::of([&history([
            (0, seen(5.0, 1.0, 1.0)),
            (30, seen(5.0, 1.0, 1.0)),
        ])]);
        assert_eq!(window.error_rate(), None);
        assert_eq!(window.tokens_per_busy_second(), None);
    }

    #[test]
    fn a_pod_that_has_gone_counts_for_what_it_did_in_the_window() {
        let gone = history([(0, seen(0.0, 0.0, 0.0)), (10, seen(600.0, 5.0, 2.0))]);
        let mut window = Window::of([]);
        window.add_gone(&gone, MINUTES);
        close(window.counted.tokens, 600.0);
        close(window.tokens_per_second, 2.0);
        close(window.busy, 0.0);
        let mut gone = gone;
        gone.trim(Instant::now() + 2 * MINUTES, MINUTES);
        assert!(
            !gone.is_informed(),
            "nothing of it lies in the window any more"
        );
    }

    #[test]
    fn one_pod_without_tokens_is_not_hidden_by_another_that_has_some() {
        let waiting = |tokens| Snapshot {
            running: 1.0,
            ..seen(tokens, 0.0, 0.0)
        };
        let busy = history([(0, waiting(0.0)), (10, waiting(100.0))]);
        let stuck = history([(0, waiting(7.0)), (10, waiting(7.0))]);
        assert!(!Window::of([&busy]).stuck);
        assert!(Window::of([&busy, &stuck]).stuck);
    }

    #[test]
    fn spans_are_lost_where_that_happens_more_than_once() {
        let lost = |spans_lost| Snapshot {
            counters: Counters {
                spans_lost,
                ..Counters::zero()
            },
            ..Snapshot::empty()
        };
        let once = history([(0, lost(0.0)), (30, lost(7.0)), (60, lost(7.0))]);
        assert!(!Window::of([&once]).loses_spans);
        close(Window::of([&once]).counted.spans_lost, 7.0);
        let twice = history([
            (0, lost(0.0)),
            (30, lost(7.0)),
            (60, lost(7.0)),
            (90, lost(8.0)),
        ]);
        assert!(Window::of([&once, &twice]).loses_spans);
    }

    #[test]
    fn asking_often_takes_no_more_memory_and_loses_nothing() {
        let every_second =
            (0..600_u32).map(|second| (u64::from(second), seen(f64::from(second), 0.0, 0.0)));
        let history = history(every_second);
        assert!(history.0.len() < 64, "{}", history.0.len());
        let window = Window::of([&history]);
        close(window.tokens_per_second, 1.0);
        assert!(
            (295.0..=310.0).contains(&window.counted.tokens),
            "{}",
            window.counted.tokens
        );
    }
}
