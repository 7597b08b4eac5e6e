//! One scenario, with everything that is known about it.
use super::{
    ends::EndUnderLoad,
    interval::{self, BATCHES, Interval},
    observed::{Observed, observe},
};
use crate::{
    evidence::Evidence,
    figures::{self, Figures, e2e, output_tokens_within, succeeded},
    objectives::{Objective, Verdict, goodput, judge},
    record::{AppliedLoad, GeneratorHealth, Micros, RequestRecord, ScenarioRun},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A scenario's load, what came of it, and what the server did meanwhile.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Level {
    /// Its name.
    pub name: String,
    /// The load that was applied.
    pub load: AppliedLoad,
    /// When the load began, in microseconds of the run's clock.
    pub started: Micros,
    /// The window whose tokens count.
    pub window: (Micros, Micros),
    /// Requests in flight inside the window, on average.
    pub concurrency: f64,
    /// Latencies and rates.
    pub figures: Figures,
    /// Where the main figures lie with 95 % confidence.
    pub intervals: Intervals,
    /// Requests per second that kept every objective.
    pub goodput: f64,
    /// The objectives, one by one.
    pub verdicts: Vec<Verdict>,
    /// Values of TTFT at equally spaced shares of the requests, in microseconds.
    pub ttft_curve: Vec<Micros>,
    /// The same of TPOT.
    pub tpot_curve: Vec<Micros>,
    /// What the server did meanwhile.
    pub observed: Observed,
    /// How the load generator fared.
    pub generator: GeneratorHealth,
    /// Whether requests came faster than they were answered, or more users only made each other wait:
    /// why it looks so.
    pub saturated: Option<String>,
    /// Why it ended before its time, where it did.
    pub stopped: Option<String>,
    /// Containers of the target that ended under this load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndUnderLoad>,
}

/// Where the main figures lie with 95 % confidence; absent where there are too few requests.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Intervals {
    /// Median TTFT in microseconds.
    pub ttft_p50: Option<Interval>,
    /// 95th percentile of TTFT in microseconds.
    pub ttft_p95: Option<Interval>,
    /// 99th percentile of TTFT in microseconds.
    pub ttft_p99: Option<Interval>,
    /// Mean TPOT in microseconds.
    pub tpot: Option<Interval>,
    /// 95th percentile of end-to-end time in microseconds.
    pub e2e_p95: Option<Interval>,
    /// Output tokens per second.
    pub throughput: Option<Interval>,
    /// Share of failed requests.
    pub error_rate: Option<Interval>,
}

/// Throughput that grows by less than this share although load grew has reached its end.
const MARGINAL: f64 = 0.05;
/// Latency that grows by more than this share has risen.
const RISEN: f64 = 0.2;

/// Points of a curve of a distribution: every 1/40th of the requests.
pub const CURVE: usize = 40;

impl Level {
    /// Of a scenario; `seed` makes bootstrap intervals repeatable.
    pub fn of(
        scenario: &ScenarioRun,
        evidence: &Evidence,
        objectives: &[Objective],
        seed: u64,
    ) -> Self {
        let figures = Figures::of(scenario);
        let measured = Measured::of(scenario);
        Self {
            name: scenario.name.clone(),
            load: scenario.load.clone(),
            started: scenario.started,
            window: scenario.window,
            concurrency: concurrency(scenario, scenario.window),
            intervals: intervals(scenario, &figures, &measured, seed),
            goodput: goodput(scenario, objectives),
            verdicts: judge(&figures, objectives),
            ttft_curve: curve(&measured.ttft),
            tpot_curve: curve(&measured.tpot),
            observed: observe(evidence, scenario.window),
            generator: scenario.generator.clone(),
            saturated: saturated(scenario),
            stopped: scenario.stopped.clone(),
            ended: vec![],
            figures,
        }
    }

    /// Whether an objective was missed.
    pub fn misses(&self) -> bool {
        self.verdicts.iter().any(|one| one.met() == Some(false))
    }

    /// The first time that a server ran out of memory under this load.
    pub fn out_of_memory(&self) -> Option<&EndUnderLoad> {
        self.ended.iter().find(|one| one.end.is_out_of_memory())
    }

    /// Why throughput has reached its end between a lower level and this one, where the load grew by
    /// clearly more than throughput would have to.
    pub(super) fn flat_after(&self, before: &Self) -> Option<String> {
        let [old, new] = [before, self].map(|level| level.figures.output_tokens_per_second);
        let grew = self.concurrency > before.concurrency * (1.0 + 4.0 * MARGINAL);
        (grew && old > 0.0 && new < old * (1.0 + MARGINAL)).then(|| {
            format!(
                "throughput went from {old:.1} to {new:.1} tokens/s although requests in flight \
                 went from {:.1} to {:.1}",
                before.concurrency, self.concurrency
            )
        })
    }

    /// The load in words: `25 users` or `3/s poisson`.
    pub fn load_text(&self) -> String {
        match &self.load {
            AppliedLoad::Users { users, .. } => format!("{users} users"),
            AppliedLoad::Arrivals { process, rate } => format!("{rate}/s {process}"),
        }
    }
}

/// Sorted latencies of the successes that began inside the window.
struct Measured {
    ttft: Vec<Micros>,
    tpot: Vec<Micros>,
    e2e: Vec<Micros>,
}

impl Measured {
    fn of(scenario: &ScenarioRun) -> Self {
        let requests: Vec<_> = scenario.measured().filter(|one| succeeded(one)).collect();
        let sorted = |value: &dyn Fn(&RequestRecord) -> Option<Micros>| {
            let mut values: Vec<_> = requests.iter().filter_map(|one| value(one)).collect();
            values.sort_unstable();
            values
        };
        Self {
            ttft: sorted(&|one| figures::ttft(one, scenario.began(one))),
            tpot: sorted(&|one| figures::tpot(one).map(figures::round)),
            e2e: sorted(&|one| Some(e2e(one, scenario.began(one)))),
        }
    }
}

fn curve(sorted: &[Micros]) -> Vec<Micros> {
    if sorted.is_empty() {
        return vec![];
    }
    (0..=CURVE)
        .map(|place| sorted[(sorted.len() - 1) * place / CURVE])
        .collect()
}

fn intervals(
    scenario: &ScenarioRun,
    figures: &Figures,
    measured: &Measured,
    seed: u64,
) -> Intervals {
    let tpot: Vec<_> = measured.tpot.iter().map(|&tpot| tpot as f64).collect();
    let ended = figures.succeeded + figures.failed;
    Intervals {
        ttft_p50: interval::of_quantile(&measured.ttft, 0.5),
        ttft_p95: interval::of_quantile(&measured.ttft, 0.95),
        ttft_p99: interval::of_quantile(&measured.ttft, 0.99),
        tpot: interval::of_mean(&tpot, seed),
        e2e_p95: interval::of_quantile(&measured.e2e, 0.95),
        throughput: throughput(scenario),
        error_rate: interval::of_share(figures.failed, ended),
    }
}

fn throughput(scenario: &ScenarioRun) -> Option<Interval> {
    let (from, to) = scenario.window;
    let part = to.saturating_sub(from) / BATCHES as u64;
    if part == 0 {
        return None;
    }
    let rates = std::array::from_fn(|place| {
        let begin = from + part * place as u64;
        let tokens = scenario.requests.iter();
        let tokens: f64 = tokens
            .map(|one| output_tokens_within(one, (begin, begin + part)))
            .sum();
        tokens / (part as f64 / 1e6)
    });
    Some(interval::of_batches(&rates))
}

/// Requests in flight inside a window, on average: the sum of their times in it by its length.
pub fn concurrency(scenario: &ScenarioRun, (from, to): (Micros, Micros)) -> f64 {
    let inside = scenario.requests.iter().map(|one| {
        let end = one.finished.min(to);
        end.saturating_sub(one.sent.max(from)) as f64
    });
    inside.sum::<f64>() / to.saturating_sub(from).max(1) as f64
}

/// Levels in the order of their concurrency.
pub(super) fn by_concurrency(levels: &[Level]) -> Vec<&Level> {
    let mut ordered: Vec<_> = levels.iter().collect();
    ordered.sort_by(|a, b| a.concurrency.total_cmp(&b.concurrency));
    ordered
}

/// Notes which levels of closed users are saturated: users wait for their answers, so that nothing piles
/// up within a level, but next to the level before throughput is flat and answers take longer.
pub fn mark_saturated_users(levels: &mut [Level]) {
    let ordered = by_concurrency(levels);
    let pairs = ordered.windows(2);
    let found =
        pairs.filter_map(|pair| Some((pair[1].name.clone(), more_users(pair[0], pair[1])?)));
    let found: Vec<_> = found.collect();
    for (name, why) in found {
        let level = levels.iter_mut().find(|one| one.name == name);
        if let Some(level) = level.filter(|one| one.saturated.is_none()) {
            level.saturated = Some(why);
        }
    }
}

fn more_users(before: &Level, level: &Level) -> Option<String> {
    let closed = |one: &Level| matches!(one.load, AppliedLoad::Users { .. });
    if !closed(before) || !closed(level) {
        return None;
    }
    let flat = level.flat_after(before)?;
    let [old, new] = [before, level].map(|one| one.figures.e2e.map(|e2e| e2e.p50 as f64 / 1e3));
    let (old, new) = old.zip(new)?;
    (new > old * (1.0 + RISEN))
        .then(|| format!("{flat}, and the median answer's time from {old:.0} to {new:.0} ms"))
}

/// Open arrivals that are not kept up with: requests in flight and TTFT both grow through the window.
fn saturated(scenario: &ScenarioRun) -> Option<String> {
    if matches!(scenario.load, AppliedLoad::Users { .. }) {
        return None;
    }
    let (from, to) = scenario.window;
    let third = to.saturating_sub(from) / 3;
    let (first, last) = ((from, from + third), (to - third, to));
    let flight = [first, last].map(|window| concurrency(scenario, window));
    let ttft = [first, last].map(|(from, to)| {
        let mut all: Vec<_> = scenario
            .requests
            .iter()
            .filter(|one| from <= one.due && one.due < to)
            .filter_map(|one| Some(one.tokens.first()?.saturating_sub(one.due)))
            .collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default() as f64
    });
    let grew = |[before, after]: [f64; 2]| after > 1.5 * before.max(1.0);
    (grew(flight) && grew(ttft)).then(|| {
        format!(
            "from the first to the last third of the window, requests in flight grew from {:.1} to \
             {:.1} and the median TTFT from {:.0} to {:.0} ms",
            flight[0],
            flight[1],
            ttft[0] / 1e3,
            ttft[1] / 1e3
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{request, scenario};

    #[test]
    fn concurrency_is_time_in_flight_by_the_windows_length() {
        let run = scenario(
            (100, 200),
            vec![request(0, 50, &[150]), request(0, 150, &[300])],
        );
        assert!((concurrency(&run, run.window) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn arrivals_that_pile_up_are_saturation_and_steady_ones_are_not() {
        let arrivals = |delay: fn(u64) -> u64| {
            let requests = (0..90u64).map(|place| {
                let due = place * 100_000;
                request(due, due, &[due + delay(place), due + delay(place) + 50_000])
            });
            let mut run = scenario((0, 9_000_000), requests.collect());
            run.load = AppliedLoad::Arrivals {
                process: "constant".to_owned(),
                rate: 10.0,
            };
            saturated(&run)
        };
        assert_eq!(arrivals(|_| 60_000), None);
        let why = arrivals(|place| 60_000 + place * 30_000).unwrap();
        assert!(why.contains("requests in flight grew"), "{why}");
    }

    #[test]
    fn curves_run_from_the_smallest_to_the_largest() {
        let values: Vec<_> = (1..=1000).collect();
        let curve = curve(&values);
        assert_eq!((curve.len(), curve[0], curve[CURVE]), (41, 1, 1000));
        assert!((495..=505).contains(&curve[CURVE / 2]));
    }
}
