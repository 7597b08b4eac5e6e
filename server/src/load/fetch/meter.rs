//! How much has come, how much is to come, and when that will be.
use crate::load::model::Progress;
use candlepower_api::{
    names::reasons::{LoadFailure, LoadProblem},
    server_config::{LoadReport, LoadStage},
    value::Duration,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    time::{self, Instant},
};

/// Reports are at least this far apart: each piece of a file would be too many.
const EVERY: time::Duration = time::Duration::from_millis(200);
/// Share of the newest measurement in the speed that the remaining time is told from.
const NEWEST: f64 = 0.3;
/// Over how long a speed is measured.
const MEASURED: time::Duration = time::Duration::from_secs(1);

/// Counts the bytes of all files of one source, and tells.
pub(super) struct Meter<'a> {
    progress: &'a Progress<'a>,
    total: Cell<u64>,
    done: Cell<u64>,
    told: Cell<Option<Instant>>,
    /// Since when, and how much had come then.
    mark: Cell<Option<(Instant, u64)>>,
    /// Bytes in a second.
    speed: Cell<Option<f64>>,
    problem: RefCell<Option<LoadProblem>>,
    /// Files whose length the answer told.
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(progress: &'a Progress<'a>) -> Self {
        let meter = Self {
            progress,
            total: Cell::new(0),
            done: Cell::new(0),
            told: Cell::new(None),
            mark: Cell::new(None),
            speed: Cell::new(None),
            problem: RefCell::new(None),
            known: RefCell::default(),
        };
        meter.tell();
        meter
    }

    /// Counts from the beginning. What was in the way is told until something comes.
    pub(super) fn begin(&self) {
        self.total.set(0);
        self.done.set(0);
        self.mark.set(None);
        self.speed.set(None);
        self.known.borrow_mut().clear();
    }

    /// Everything is there.
    pub(super) fn finish(&self) {
        *self.problem.borrow_mut() = None;
        self.tell();
    }

    /// This much more is to come.
    pub(super) fn expect(&self, bytes: u64) {
        self.total.set(self.total.get().saturating_add(bytes));
    }

    /// The file `name` turns out to be this long. Asking for it again tells nothing new.
    pub(super) fn expect_once(&self, name: &str, bytes: u64) {
        if self.known.borrow_mut().insert(name.to_owned()) {
            self.expect(bytes);
        }
    }

    /// This much was there already.
    pub(super) fn has(&self, bytes: u64) {
        self.done.set(self.done.get().saturating_add(bytes));
        self.tell();
    }

    /// What came is of no use.
    pub(super) fn lost(&self, bytes: u64) {
        self.done.set(self.done.get().saturating_sub(bytes));
        self.mark.set(None);
    }

    /// This much came now.
    pub(super) fn came(&self, bytes: u64) {
        self.done.set(self.done.get().saturating_add(bytes));
        let recovered = self.problem.borrow_mut().take().is_some();
        self.measure();
        let due = self.told.get().is_none_or(|told| told.elapsed() >= EVERY);
        if due || recovered {
            self.tell();
        }
    }

    /// Shows what somebody else fetches.
    pub(super) fn follow(&self, done: u64, total: u64) {
        self.done.set(done);
        self.total.set(total);
        self.measure();
        self.tell();
    }

    /// Nothing comes, and why.
    pub(super) fn trouble(&self, reason: LoadFailure, problem: &str) {
        *self.problem.borrow_mut() = Some(LoadProblem {
            reason,
            message: format!("{problem}; it is tried again and again"),
        });
        self.mark.set(None);
        self.speed.set(None);
        self.tell();
    }

    fn measure(&self) {
        let done = self.done.get();
        let Some((since, before)) = self.mark.get() else {
            return self.mark.set(Some((Instant::now(), done)));
        };
        let elapsed = since.elapsed();
        if elapsed < MEASURED {
            return;
        }
        let newest = done.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let speed = self
            .speed
            .get()
            .map_or(newest, |speed| speed.mul_add(1.0 - NEWEST, newest * NEWEST));
        self.speed.set(Some(speed));
        self.mark.set(Some((Instant::now(), done)));
    }

    /// Reports how far it is.
    pub(super) fn tell(&self) {
        self.told.set(Some(Instant::now()));
        let (done, total) = (self.done.get(), self.total.get());
        let percent = if total == 0 {
            0
        } else {
            crate::load::checksum::percent(done, total)
        };
        let left = total.saturating_sub(done);
        let speed = self.speed.get().filter(|speed| *speed >= 1.0);
        (self.progress)(LoadReport {
            remaining: speed.map(|speed| seconds(left as f64 / speed)),
            problem: self.problem.borrow().clone(),
            ..LoadReport::at(LoadStage::Downloading, percent)
        });
    }
}

/// Whole seconds, of which nobody needs more than a year's.
fn seconds(seconds: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between the limits"
    )]
    Duration::from_secs(seconds.ceil().clamp(0.0, 31_536_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn percentage_and_trouble_are_told_and_trouble_ends_with_the_next_byte() {
        let told = Mutex::new(Vec::new());
        let progress = |report: LoadReport| told.lock().unwrap().push(report);
        let meter = Meter::new(&progress);
        meter.expect(200);
        meter.has(50);
        meter.trouble(LoadFailure::Unreachable, "no answer");
        meter.came(50);
        let told = told.lock().unwrap();
        let percents: Vec<_> = told.iter().map(|report| report.percent).collect();
        assert_eq!(percents, [0, 25, 25, 50]);
        assert_eq!(
            told[2].problem.as_ref().unwrap().reason,
            LoadFailure::Unreachable
        );
        assert_eq!(told[3].problem, None);
        assert_eq!(told[3].stage, LoadStage::Downloading);
    }

    #[test]
    fn what_is_in_the_way_is_told_through_a_new_beginning_until_all_is_there() {
        let told = Mutex::new(Vec::new());
        let progress = |report: LoadReport| told.lock().unwrap().push(report);
        let meter = Meter::new(&progress);
        meter.expect_once("a", 100);
        meter.has(100);
        meter.trouble(LoadFailure::InsufficientDisk, "no room");
        meter.begin();
        meter.expect_once("a", 100);
        meter.has(50);
        meter.has(50);
        meter.finish();
        let told = told.lock().unwrap();
        let shown = |report: &LoadReport| {
            let reason = report.problem.as_ref().map(|problem| problem.reason);
            (report.percent, reason)
        };
        let full = Some(LoadFailure::InsufficientDisk);
        let shown: Vec<_> = told[2..].iter().map(shown).collect();
        assert_eq!(shown, [(100, full), (50, full), (100, full), (100, None)]);
    }

    #[test]
    fn a_year_is_the_longest_that_is_told() {
        assert_eq!(seconds(1.2), Duration::from_secs(2));
        assert_eq!(seconds(1e300), Duration::from_secs(31_536_000));
    }
}
