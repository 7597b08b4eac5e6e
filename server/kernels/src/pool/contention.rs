//! Whether one thread does more than all of them: beside a program that takes a core, each short run waits for the thread
//! that loses its own time and again.
//!
//! A run lasts as long as its slowest thread. Where the caller slept in many of its runs, one thread alone is tried, and
//! whichever was faster goes on for a while. Long runs are always for all: there the faster threads take the slower ones'
//! pieces.
use std::time::{Duration, Instant};

/// The runs that are looked at together: about two steps of a small model.
const WINDOW: u32 = 256;
/// Of a window's runs, how many at least the caller slept in where there is contention. On an idle machine they are few;
/// beside one busy core of two they were half.
const MANY: u32 = WINDOW / 4;
/// Runs that are longer on average are better divided, whatever others do; and a try would take long. On an idle machine,
/// a caller that has taken the last piece but one may sleep in each.
const SHORT: Duration = Duration::from_micros(250);
/// A run of one thread that is as long as that is none of these.
const LONG: Duration = Duration::from_millis(1);
/// So many long runs of one thread, one after the other, are no accident, as a lost time slice is.
const LASTING: u32 = 2;
/// How long the faster way goes on before the other is tried again, at first and at most. A try takes a window.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(800);

/// Who is to take part in a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Crew {
    /// All threads.
    All,
    /// The caller alone.
    One,
}

/// What is known of the last runs.
#[derive(Debug)]
pub(super) struct Contention {
    crew: Crew,
    window: Window,
    /// Long runs of one thread, one after the other.
    long: u32,
    /// How long a window took with all threads, while one alone is tried.
    with_all: Option<Duration>,
    /// Which was faster at the last try.
    faster: Option<Crew>,
    /// It goes on until then.
    settled_until: Option<Instant>,
    /// How long that is the next time.
    rest: Duration,
}

/// The runs since the last verdict.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    runs: u32,
    slept: u32,
    took: Duration,
}

impl Default for Contention {
    fn default() -> Self {
        Self {
            crew: Crew::All,
            window: Window::default(),
            long: 0,
            with_all: None,
            faster: None,
            settled_until: None,
            rest: FIRST,
        }
    }
}

impl Contention {
    /// Who is to take part in the next run.
    pub(super) const fn crew(&self) -> Crew {
        self.crew
    }

    /// Takes in a run of the present crew that ended at the time `now`: how long it took, and whether the caller slept.
    pub(super) fn note(&mut self, now: Instant, took: Duration, slept: bool) {
        self.long = if took > LONG { self.long + 1 } else { 0 };
        if self.crew == Crew::One && self.long >= LASTING {
            return self.end();
        }
        if self.settled_until.is_some_and(|until| now < until) {
            return;
        }
        self.window.runs += 1;
        self.window.slept += u32::from(slept);
        self.window.took += took;
        match (self.crew, self.with_all) {
            (Crew::All, _) if self.window.runs == WINDOW => self.judge_all(),
            (Crew::All, _) => {}
            (Crew::One, Some(with_all)) => self.judge_one(now, with_all),
            // It was alone for long enough.
            (Crew::One, None) => self.begin(Crew::All),
        }
    }

    /// All threads have worked for a window.
    fn judge_all(&mut self) {
        let Window { slept, took, .. } = self.window;
        if slept < MANY || took > WINDOW * SHORT {
            return self.end();
        }
        self.begin(Crew::One);
        self.with_all = Some(took);
    }

    /// One thread alone is being tried. That takes no longer than all threads together did.
    fn judge_one(&mut self, now: Instant, with_all: Duration) {
        if self.window.took >= with_all {
            self.settle(Crew::All, now);
        } else if self.window.runs == WINDOW {
            self.settle(Crew::One, now);
        }
    }

    fn begin(&mut self, crew: Crew) {
        self.crew = crew;
        self.window = Window::default();
        self.with_all = None;
        self.settled_until = None;
    }

    /// Lets the faster crew work for a while: for longer, where it was the faster one before.
    fn settle(&mut self, crew: Crew, now: Instant) {
        self.begin(crew);
        self.rest = if self.faster == Some(crew) {
            (2 * self.rest).min(LONGEST)
        } else {
            FIRST
        };
        self.faster = Some(crew);
        self.settled_until = Some(now + self.rest);
    }

    /// There is no contention, or nothing is known of it.
    fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Duration = Duration::from_micros(20);

    /// A machine on which runs of either crew take a certain time.
    struct Machine {
        contention: Contention,
        now: Instant,
        /// Of all threads, and of one.
        runs: [Duration; 2],
        /// Whether the caller of all threads sleeps in every second run.
        is_busy: bool,
    }

    impl Machine {
        fn busy(all: Duration, one: Duration) -> Self {
            Self {
                contention: Contention::default(),
                now: Instant::now(),
                runs: [all, one],
                is_busy: true,
            }
        }

        /// Of the runs of the next `time`, the share that had one thread.
        fn alone_in(&mut self, time: Duration) -> f64 {
            let (end, mut counts) = (self.now + time, [0_u32; 2]);
            while self.now < end {
                let crew = self.contention.crew() as usize;
                self.now += self.runs[crew];
                counts[crew] += 1;
                let slept = self.is_busy && crew == 0 && counts[0].is_multiple_of(2);
                self.contention.note(self.now, self.runs[crew], slept);
            }
            f64::from(counts[1]) / f64::from(counts[0] + counts[1])
        }

        fn tries_one_in(&mut self, time: Duration) -> bool {
            self.alone_in(time) > 0.0
        }
    }

    #[test]
    fn whoever_is_faster_beside_other_load_works_nearly_all_the_time() {
        let long = Duration::from_secs(20);
        let share = Machine::busy(2 * RUN, RUN).alone_in(long);
        assert!(share > 0.95, "one thread is faster: {share}");
        let share = Machine::busy(RUN, 3 * RUN / 2).alone_in(long);
        assert!((0.001..0.05).contains(&share), "all together are: {share}");
    }

    #[test]
    fn where_nobody_sleeps_nothing_is_tried() {
        let mut machine = Machine::busy(2 * RUN, RUN);
        machine.is_busy = false;
        assert!(!machine.tries_one_in(Duration::from_secs(1)));
    }

    #[test]
    fn all_threads_work_again_soon_after_the_other_load_has_gone() {
        let mut machine = Machine::busy(2 * RUN, RUN);
        machine.alone_in(Duration::from_secs(20));
        machine.is_busy = false;
        machine.runs[0] = RUN / 2;
        machine.alone_in(2 * LONGEST);
        assert!(!machine.tries_one_in(Duration::from_secs(1)));
    }

    #[test]
    fn a_try_with_one_of_many_threads_ends_once_it_has_taken_as_long() {
        let mut machine = Machine::busy(RUN, 30 * RUN);
        machine.alone_in(RUN * (WINDOW - 1));
        assert_eq!(machine.contention.crew(), Crew::All);
        machine.alone_in(RUN);
        assert_eq!(machine.contention.crew(), Crew::One);
        machine.alone_in(RUN * WINDOW);
        assert_eq!(machine.contention.crew(), Crew::All);
    }

    #[test]
    fn long_runs_are_for_all_threads_at_once() {
        let mut machine = Machine::busy(2 * RUN, RUN);
        machine.alone_in(Duration::from_millis(50));
        assert_eq!(machine.contention.crew(), Crew::One);
        machine.contention.note(machine.now, 2 * LONG, false);
        assert_eq!(machine.contention.crew(), Crew::One, "it lost its core");
        machine.contention.note(machine.now, 2 * LONG, false);
        assert_eq!(machine.contention.crew(), Crew::All);
        machine.runs[0] = 2 * SHORT;
        assert!(!machine.tries_one_in(Duration::from_secs(5)));
    }
}
