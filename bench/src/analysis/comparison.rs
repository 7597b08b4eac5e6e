//! Two runs of the same workload, side by side; a verdict only where intervals do not overlap.
use super::{interval::Interval, level::Level};
use candlepower_api::benchmark::Workload;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// After.
    pub after: Estimate,
    /// (after − before) / before.
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
}

impl Compared {
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

/// Compares two runs.
pub fn compare(before: Side<'_>, after: Side<'_>) -> Result<Comparison, Unlike> {
    let differ = differences(before.workload, after.workload);
    if !differ.is_empty() {
        return Err(Unlike::Workload(differ.join(", ")));
    }
    let twin = |level: &Level| after.levels.iter().find(|other| same_load(level, other));
    let levels: Vec<_> = before
        .levels
        .iter()
        .filter_map(|level| Some(level_comparison(level, twin(level)?)))
        .collect();
    if levels.is_empty() {
        return Err(Unlike::NoCommonLoad);
    }
    let common = |level: &&Level| levels.iter().all(|one| one.load != level.load_text());
    let all = before.levels.iter().chain(after.levels);
    let left_out = all.filter(common).map(|level| level.name.clone()).collect();
    Ok(Comparison {
        before: before.name.to_owned(),
        after: after.name.to_owned(),
        levels,
        left_out,
    })
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

fn level_comparison(before: &Level, after: &Level) -> LevelComparison {
    let metrics = [
        Compared::TtftP50,
        Compared::TtftP95,
        Compared::Tpot,
        Compared::Throughput,
        Compared::ErrorRate,
    ];
    let row = |metric| {
        let (before, after) = (estimate(before, metric), estimate(after, metric));
        let change = before.value.zip(after.value);
        Row {
            metric,
            change: change
                .filter(|(before, _)| *before > 0.0)
                .map(|(before, after)| (after - before) / before),
            verdict: verdict(before, after, metric.more_is_better()),
            before,
            after,
        }
    };
    LevelComparison {
        scenario: before.name.clone(),
        load: before.load_text(),
        rows: metrics.into_iter().map(row).collect(),
    }
}

fn estimate(level: &Level, metric: Compared) -> Estimate {
    let (figures, intervals) = (&level.figures, &level.intervals);
    let (value, interval) = match metric {
        Compared::TtftP50 => (figures.ttft.map(|ttft| ttft.p50 as f64), intervals.ttft_p50),
        Compared::TtftP95 => (figures.ttft.map(|ttft| ttft.p95 as f64), intervals.ttft_p95),
        Compared::Tpot => (figures.tpot.map(|tpot| tpot.mean), intervals.tpot),
        Compared::Throughput => (Some(figures.output_tokens_per_second), intervals.throughput),
        Compared::ErrorRate => (figures.error_rate, intervals.error_rate),
    };
    Estimate { value, interval }
}

fn verdict(before: Estimate, after: Estimate, more_is_better: bool) -> Change {
    let Some((old, new)) = before.interval.zip(after.interval) else {
        return Change::NotKnown;
    };
    if old.overlaps(new) {
        return Change::NoDifference;
    }
    if (new.low > old.high) == more_is_better {
        Change::Better
    } else {
        Change::Worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{analysis::testing::Plant, report::Report};

    fn report(change: impl FnOnce(&mut Plant)) -> Report {
        Plant::report(&[Plant::with(change)])
    }

    fn side<'a>(name: &'a str, report: &'a Report) -> Side<'a> {
        Side {
            name,
            workload: &report.run.workload,
            levels: &report.levels,
        }
    }

    fn verdict(comparison: &Comparison, metric: Compared) -> Change {
        let rows = &comparison.levels[0].rows;
        rows.iter()
            .find(|row| row.metric == metric)
            .unwrap()
            .verdict
    }

    #[test]
    fn a_clear_gain_is_better_and_a_clear_loss_is_worse() {
        let (slow, fast) = (report(|plant| plant.tpot = 30.0), report(|_| {}));
        let gain = compare(side("a", &slow), side("b", &fast)).unwrap();
        assert_eq!(verdict(&gain, Compared::Tpot), Change::Better);
        assert_eq!(verdict(&gain, Compared::Throughput), Change::Better);
        let loss = compare(side("b", &fast), side("a", &slow)).unwrap();
        assert_eq!(verdict(&loss, Compared::Tpot), Change::Worse);
        let tpot = &loss.levels[0].rows[2];
        let change = tpot.change.unwrap();
        assert!((change - 0.5).abs() < 0.02, "{change}");
        assert_eq!(tpot.improvement(), Some(-change), "it takes longer");
        let throughput = &gain.levels[0].rows[3];
        assert!(throughput.improvement().unwrap() > 0.2, "{throughput:?}");
    }

    #[test]
    fn a_change_within_the_intervals_has_no_verdict() {
        let (one, other) = (report(|plant| plant.tpot = 20.05), report(|_| {}));
        let same = compare(side("a", &one), side("b", &other)).unwrap();
        assert_eq!(verdict(&same, Compared::Tpot), Change::NoDifference);
        assert_eq!(verdict(&same, Compared::TtftP95), Change::NoDifference);
    }

    #[test]
    fn another_workload_is_refused_and_the_difference_named() {
        let (one, mut other) = (report(|_| {}), report(|_| {}));
        other.run.workload.seed = 2;
        other.run.workload.output_tokens = 5;
        let error = compare(side("a", &one), side("b", &other)).unwrap_err();
        assert!(error.to_string().contains("seed, output tokens"), "{error}");
    }

    #[test]
    fn runs_without_a_common_load_are_refused() {
        let (one, other) = (report(|_| {}), report(|plant| plant.users = 9));
        let error = compare(side("a", &one), side("b", &other)).unwrap_err();
        assert_eq!(error, Unlike::NoCommonLoad);
    }
}
