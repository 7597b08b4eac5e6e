//! Two runs of the same workload, side by side; a verdict only where intervals do not overlap.
//!
//! Where the first run was repeated at the end, what it was is everything between its two rounds: a
//! change inside that may be the machine's, and is not taken for the effect of what was changed.
mod capacity;
mod machines;

pub use capacity::{Borne, Capacity};
pub use machines::{OtherMachine, Place, other_machine};

use super::{interval::Interval, level::Level};
use candlepower_api::benchmark::Workload;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a benchmark's deployment is called, and what it is called when it is measured again.
pub const DEPLOYMENT: &str = "the deployment";
/// Its last round.
pub const AGAIN: &str = "the deployment again";

/// One run of two.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What its requests asked for.
    pub workload: &'a Workload,
    /// Its scenarios.
    pub levels: &'a [Level],
}

/// Two runs, side by side.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The name of the first.
    pub before: String,
    /// The name of the second.
    pub after: String,
    /// The scenarios that both ran.
    pub levels: Vec<LevelComparison>,
    /// Scenarios that only one ran.
    pub left_out: Vec<String>,
    /// How much load each side bears; none without objectives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// What the second run had below it, where that was not what the first had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_machine: Option<OtherMachine>,
}

/// One scenario that both ran.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelComparison {
    /// Its name.
    pub scenario: String,
    /// Its load, in words.
    pub load: String,
    /// Its figures.
    pub rows: Vec<Row>,
}

/// One figure, before and after.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which.
    pub metric: Compared,
    /// Before.
    pub before: Estimate,
    /// The same at the end, where what was before was measured again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Estimate>,
    /// After.
    pub after: Estimate,
    /// (after − before) / before; none where either is not known of all requests.
    pub change: Option<f64>,
    /// What may be said.
    pub verdict: Change,
}

/// A figure and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// The figure; none where it was not measured.
    pub value: Option<f64>,
    /// Its interval; none where there were too few requests.
    pub interval: Option<Interval>,
    /// Of all requests it is more than this: some were cut off while they waited for it, and the figure
    /// and its interval are those of the answered ones alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_than: Option<f64>,
}

impl Estimate {
    /// Where the figure of all requests lies.
    fn range(self) -> Option<Interval> {
        match self.more_than {
            Some(low) => Some(Interval {
                low,
                high: f64::INFINITY,
            }),
            None => self.interval,
        }
    }
}

/// A figure that is compared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Compared {
    /// Median TTFT in microseconds.
    TtftP50,
    /// 95th percentile of TTFT in microseconds.
    TtftP95,
    /// Mean TPOT in microseconds.
    Tpot,
    /// Output tokens per second.
    Throughput,
    /// Share of failed requests.
    ErrorRate,
    /// Most memory in bytes: a peak, which has no interval.
    Memory,
    /// Most GPU memory in bytes: a peak, which has no interval.
    GpuMemory,
}

impl Compared {
    /// Whether it is a single peak, of which nothing certain can be said.
    pub const fn is_peak(self) -> bool {
        matches!(self, Self::Memory | Self::GpuMemory)
    }

    /// Whether a larger figure is the better one.
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Throughput)
    }
}

impl Row {
    /// The change in the good direction, as a share of what was: negative where the figure became worse.
    pub fn improvement(&self) -> Option<f64> {
        let change = self.change?;
        // A difference, because -change would print a zero with its sign.
        let gain = if self.metric.more_is_better() {
            change
        } else {
            0.0 - change
        };
        Some(gain)
    }
}

/// What two intervals allow to say.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// The intervals are apart, in the good direction.
    Better,
    /// The intervals are apart, in the bad direction.
    Worse,
    /// The intervals overlap.
    NoDifference,
    /// They do not, but what is after lies within what was before and what it was when it was measured again.
    WithinDrift,
    /// Requests were cut off while they waited for their first token, and might decide it.
    CutOff,
    /// The second run had a machine of another kind below it, which may have made the difference.
    OtherMachine,
    /// A figure or an interval is missing.
    NotKnown,
}

/// Why two runs cannot be compared.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unlike {
    /// The requests differ.
    #[error(
        "the workloads differ in {0}: run both with the same seed, prompts, answers and streaming"
    )]
    Workload(String),
    /// No load was applied in both.
    #[error("no scenario has the same load in both runs: run both with the same profile")]
    NoCommonLoad,
}

impl Comparison {
    /// Whether it is the deployment beside itself.
    pub fn is_drift(&self) -> bool {
        self.before == DEPLOYMENT && self.after == AGAIN
    }

    /// The figures that have this verdict in at least one scenario, each once.
    pub fn figures_that(&self, are: Change) -> Vec<Compared> {
        let mut found = vec![];
        let rows = self.levels.iter().flat_map(|level| &level.rows);
        for row in rows.filter(|row| row.verdict == are) {
            if !found.contains(&row.metric) {
                found.push(row.metric);
            }
        }
        found
    }

    /// Whether any figure certainly became another.
    pub fn has_changed(&self) -> bool {
        let rows = self.levels.iter().flat_map(|level| &level.rows);
        rows.into_iter()
            .any(|row| matches!(row.verdict, Change::Better | Change::Worse))
    }
}

/// Compares two runs.
pub fn compare(before: Side<'_>, after: Side<'_>) -> Result<Comparison, Unlike> {
    compare_repeated(before, None, after)
}

/// Compares two runs of which the first was repeated when the second had ended.
pub fn compare_repeated(
    before: Side<'_>,
    again: Option<&[Level]>,
    after: Side<'_>,
) -> Result<Comparison, Unlike> {
    let differ = differences(before.workload, after.workload);
    if !differ.is_empty() {
        return Err(Unlike::Workload(differ.join(", ")));
    }
    let again = again.unwrap_or_default();
    let common: Vec<_> = before
        .levels
        .iter()
        .filter_map(|level| Some((level, twin_of(level, after.levels)?)))
        .collect();
    if common.is_empty() {
        return Err(Unlike::NoCommonLoad);
    }
    let levels: Vec<_> = common
        .iter()
        .map(|(level, other)| level_comparison(level, twin_of(level, again), other))
        .collect();
    let alone = |level: &&Level| levels.iter().all(|one| one.load != level.load_text());
    let all = before.levels.iter().chain(after.levels);
    let left_out = all.filter(alone).map(|level| level.name.clone()).collect();
    Ok(Comparison {
        before: before.name.to_owned(),
        after: after.name.to_owned(),
        levels,
        left_out,
        capacity: Capacity::of(&common),
        other_machine: None,
    })
}

/// The scenario of the same load.
fn twin_of<'a>(level: &Level, others: &'a [Level]) -> Option<&'a Level> {
    others.iter().find(|other| same_load(level, other))
}

fn differences(a: &Workload, b: &Workload) -> Vec<String> {
    [
        ("seed", a.seed == b.seed),
        ("prompts", a.prompts == b.prompts),
        ("output tokens", a.output_tokens == b.output_tokens),
        ("streaming", a.stream == b.stream),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(name, _)| name.to_owned())
    .collect()
}

/// The same load, over windows of about the same length: a longer one sees other tails.
fn same_load(a: &Level, b: &Level) -> bool {
    let (a_seconds, b_seconds) = (a.figures.window_seconds, b.figures.window_seconds);
    a.load == b.load && (a_seconds - b_seconds).abs() <= 0.2 * a_seconds.max(b_seconds)
}

const METRICS: [Compared; 7] = [
    Compared::TtftP50,
    Compared::TtftP95,
    Compared::Tpot,
    Compared::Throughput,
    Compared::ErrorRate,
    Compared::Memory,
    Compared::GpuMemory,
];

fn level_comparison(before: &Level, again: Option<&Level>, after: &Level) -> LevelComparison {
    let rows = METRICS.into_iter().map(|metric| {
        let again = again.map(|level| estimate(level, metric));
        row(
            metric,
            estimate(before, metric),
            again,
            estimate(after, metric),
        )
    });
    // Most servers have no GPU, and most tables need no line about it.
    let said = |row: &Row| {
        row.metric != Compared::GpuMemory || row.before.value.or(row.after.value).is_some()
    };
    LevelComparison {
        scenario: before.name.clone(),
        load: before.load_text(),
        rows: rows.filter(said).collect(),
    }
}

fn row(metric: Compared, before: Estimate, again: Option<Estimate>, after: Estimate) -> Row {
    let whole = before.more_than.or(after.more_than).is_none();
    let values = before.value.zip(after.value);
    Row {
        metric,
        change: values
            .filter(|(before, _)| whole && *before > 0.0)
            .map(|(before, after)| (after - before) / before),
        verdict: verdict(before, again, after, metric.more_is_better()),
        before,
        again,
        after,
    }
}

fn estimate(level: &Level, metric: Compared) -> Estimate {
    let (figures, intervals) = (&level.figures, &level.intervals);
    let waited = figures.ttft_more_than;
    let (value, interval, more_than) = match metric {
        Compared::TtftP50 => (
            figures.ttft.map(|ttft| ttft.p50 as f64),
            intervals.ttft_p50,
            waited.map(|least| least.p50 as f64),
        ),
        Compared::TtftP95 => (
            figures.ttft.map(|ttft| ttft.p95 as f64),
            intervals.ttft_p95,
            waited.map(|least| least.p95 as f64),
        ),
        Compared::Tpot => (figures.tpot.map(|tpot| tpot.mean), intervals.tpot, None),
        Compared::Throughput => (
            Some(figures.output_tokens_per_second),
            intervals.throughput,
            None,
        ),
        Compared::ErrorRate => (figures.error_rate, intervals.error_rate, None),
        Compared::Memory => (level.observed.memory_max, None, None),
        Compared::GpuMemory => (level.observed.gpu_memory_max, None, None),
    };
    Estimate {
        value,
        interval,
        more_than,
    }
}

fn verdict(
    before: Estimate,
    again: Option<Estimate>,
    after: Estimate,
    more_is_better: bool,
) -> Change {
    // Without an interval of the second round nobody knows how far the first one can be trusted.
    let repeated = again.unwrap_or(before).range();
    let Some(((old, new), repeated)) = before.range().zip(after.range()).zip(repeated) else {
        return Change::NotKnown;
    };
    let hull = Interval {
        low: old.low.min(repeated.low),
        high: old.high.max(repeated.high),
    };
    if !hull.overlaps(new) {
        return if (new.low > hull.high) == more_is_better {
            Change::Better
        } else {
            Change::Worse
        };
    }
    let is_cut_off = |one: Estimate| one.more_than.is_some();
    if is_cut_off(before) || is_cut_off(after) || again.is_some_and(is_cut_off) {
        Change::CutOff
    } else if old.overlaps(new) {
        Change::NoDifference
    } else {
        Change::WithinDrift
    }
}

#[cfg(test)]
mod tests;
