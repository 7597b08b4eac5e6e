//! What counts as good enough, and whether a scenario was. Pure.
use crate::{
    figures::{Figures, succeeded, tpot, ttft},
    record::{Micros, RequestRecord, ScenarioRun},
};
use candlepower_api::{
    benchmark::Objectives,
    value::{Duration, Percentage},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A figure that an objective limits.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Median time to first token.
    TtftP50,
    /// 95th percentile of the time to first token.
    TtftP95,
    /// 99th percentile of the time to first token.
    TtftP99,
    /// Mean time per output token.
    Tpot,
    /// Output tokens per second; the only one that is a lower limit.
    TokensPerSecond,
    /// Share of failed requests.
    ErrorRate,
}

const NAMES: [(Metric, &str); 6] = [
    (Metric::TtftP50, "ttft-p50"),
    (Metric::TtftP95, "ttft-p95"),
    (Metric::TtftP99, "ttft-p99"),
    (Metric::Tpot, "tpot"),
    (Metric::TokensPerSecond, "tokens-per-second"),
    (Metric::ErrorRate, "error-rate"),
];

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(metric, _)| metric == self);
        f.write_str(name.map_or("", |(_, name)| name))
    }
}

/// A limit of one figure: microseconds, tokens per second, or a share between 0 and 1.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// What it limits.
    pub metric: Metric,
    /// The limit, in the figure's unit.
    pub limit: f64,
}

/// Why a text is no objective.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The figure is not known.
    #[error(
        "{0} is no objective; write one of ttft-p50=500ms, ttft-p95=1s, ttft-p99=2s, tpot=100ms, tokens-per-second=30, error-rate=1%"
    )]
    Unknown(String),
    /// The limit is not one.
    #[error("the limit of {metric} is wrong: {problem}")]
    Limit {
        /// The figure.
        metric: Metric,
        /// What is wrong, and the cure.
        problem: String,
    },
}

impl FromStr for Objective {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || Invalid::Unknown(text.to_owned());
        let (name, limit) = text.split_once('=').ok_or_else(unknown)?;
        let found = NAMES.iter().find(|(_, known)| *known == name);
        let &(metric, _) = found.ok_or_else(unknown)?;
        let wrong = |problem: String| Invalid::Limit { metric, problem };
        let limit = match metric {
            Metric::TokensPerSecond => {
                let limit: Option<f64> = limit.parse().ok();
                let limit = limit.filter(|limit| limit.is_finite() && *limit >= 0.0);
                limit.ok_or_else(|| wrong("write a number such as 30".to_owned()))?
            }
            Metric::ErrorRate => {
                let limit: Result<Percentage, _> = limit.parse();
                limit.map_err(|error| wrong(error.to_string()))?.fraction()
            }
            _ => {
                let limit: Result<Duration, _> = limit.parse();
                micros(limit.map_err(|error| wrong(error.to_string()))?)
            }
        };
        Ok(Self { metric, limit })
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_std().as_secs_f64() * 1e6
}

/// The objectives of a resource, one by one.
pub fn of_resource(objectives: &Objectives) -> Vec<Objective> {
    let limit = |metric, limit| Objective { metric, limit };
    vec![
        limit(Metric::TtftP50, micros(objectives.ttft.p50)),
        limit(Metric::TtftP95, micros(objectives.ttft.p95)),
        limit(Metric::TtftP99, micros(objectives.ttft.p99)),
        limit(Metric::Tpot, micros(objectives.tpot)),
        limit(
            Metric::TokensPerSecond,
            f64::from(objectives.tokens_per_second),
        ),
        limit(Metric::ErrorRate, objectives.error_rate.fraction()),
    ]
}

/// Whether an objective was met.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The objective.
    pub objective: Objective,
    /// The figure; none where there is none, such as TTFT without a stream.
    pub measured: Option<f64>,
    /// The figure is more than this, where requests were cut off that still waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_than: Option<f64>,
}

impl Verdict {
    /// Whether it was met; none where there is no figure. What is certainly more than its limit is
    /// missed, however little is known of it and whatever those say that were answered.
    pub fn met(&self) -> Option<bool> {
        let limit = self.objective.limit;
        if self.more_than.is_some_and(|least| least >= limit) {
            return Some(false);
        }
        self.measured.map(|measured| match self.objective.metric {
            Metric::TokensPerSecond => measured >= limit,
            _ => measured <= limit,
        })
    }

    /// The figure as text, or `> ` and its lower limit where that says more.
    pub fn figure(&self, text: impl Fn(f64) -> String) -> Option<String> {
        match (self.measured, self.more_than) {
            (Some(measured), Some(least)) if measured >= least => Some(text(measured)),
            (_, Some(least)) => Some(format!("> {}", text(least))),
            (measured, None) => measured.map(text),
        }
    }
}

/// Compares figures with objectives, in their order.
pub fn judge(figures: &Figures, objectives: &[Objective]) -> Vec<Verdict> {
    let of = |metric| match metric {
        Metric::TtftP50 => figures.ttft.map(|ttft| ttft.p50 as f64),
        Metric::TtftP95 => figures.ttft.map(|ttft| ttft.p95 as f64),
        Metric::TtftP99 => figures.ttft.map(|ttft| ttft.p99 as f64),
        Metric::Tpot => figures.tpot.map(|tpot| tpot.mean),
        Metric::TokensPerSecond => Some(figures.output_tokens_per_second),
        Metric::ErrorRate => figures.error_rate,
    };
    let waited = figures.ttft_more_than;
    let more_than = |metric| match metric {
        Metric::TtftP50 => waited.map(|least| least.p50 as f64),
        Metric::TtftP95 => waited.map(|least| least.p95 as f64),
        Metric::TtftP99 => waited.map(|least| least.p99 as f64),
        _ => None,
    };
    let verdict = |&objective: &Objective| Verdict {
        objective,
        measured: of(objective.metric),
        more_than: more_than(objective.metric),
    };
    objectives.iter().map(verdict).collect()
}

/// The limits that each single request has to keep, for goodput.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Limits {
    ttft: Option<f64>,
    tpot: Option<f64>,
}

impl Limits {
    /// TTFT: the 95th percentile's limit, or else the 99th's, or else the median's.
    fn of(objectives: &[Objective]) -> Self {
        let limit = |metric| {
            let found = objectives.iter().find(|one| one.metric == metric);
            found.map(|one| one.limit)
        };
        let ttft = limit(Metric::TtftP95).or_else(|| limit(Metric::TtftP99));
        Self {
            ttft: ttft.or_else(|| limit(Metric::TtftP50)),
            tpot: limit(Metric::Tpot),
        }
    }

    fn kept_by(self, request: &RequestRecord, began: Micros) -> bool {
        let within = |value: Option<f64>, limit: Option<f64>| match (value, limit) {
            (Some(value), Some(limit)) => value <= limit,
            (None | Some(_), None) => true,
            (None, Some(_)) => false,
        };
        let first = ttft(request, began).map(|ttft| ttft as f64);
        // One token has no time per further token to keep.
        let short = request.tokens.len() == 1;
        within(first, self.ttft) && (short || within(tpot(request), self.tpot))
    }
}

/// Whole answers per second inside the window of which each keeps the limits of TTFT and TPOT.
pub fn goodput(scenario: &ScenarioRun, objectives: &[Objective]) -> f64 {
    let limits = Limits::of(objectives);
    let (from, to) = scenario.window;
    let inside = |time: Micros| from <= time && time < to;
    let good = scenario.requests.iter().filter(|request| {
        succeeded(request)
            && inside(request.finished)
            && limits.kept_by(request, scenario.began(request))
    });
    let seconds = to.saturating_sub(from) as f64 / 1e6;
    if seconds > 0.0 {
        good.count() as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{request, scenario};

    fn objective(text: &str) -> Objective {
        text.parse().unwrap()
    }

    #[test]
    fn objectives_read_as_they_are_written_on_the_command_line() {
        assert!((objective("ttft-p95=1s").limit - 1e6).abs() < 1e-6);
        assert!((objective("error-rate=1%").limit - 0.01).abs() < 1e-12);
        assert!((objective("tokens-per-second=30").limit - 30.0).abs() < 1e-12);
    }

    #[test]
    fn nonsense_says_what_to_write() {
        for (text, cure) in [
            ("ttft=1s", "ttft-p95=1s"),
            ("tpot", "tpot=100ms"),
            ("tpot=1", "write a duration"),
            ("error-rate=0.5", "write a percentage"),
            ("tokens-per-second=nan", "write a number"),
        ] {
            let error = text.parse::<Objective>().unwrap_err().to_string();
            assert!(error.contains(cure), "{text}: {error}");
        }
    }

    #[test]
    fn latencies_are_limited_from_above_and_throughput_from_below() {
        let run = scenario((0, 1_000_000), vec![request(0, 0, &[50_000, 70_000])]);
        let figures = Figures::of(&run);
        let met = |text: &str| judge(&figures, &[objective(text)])[0].met();
        assert_eq!(met("ttft-p95=51ms"), Some(true));
        assert_eq!(met("ttft-p95=49ms"), Some(false));
        assert_eq!(met("tpot=20ms"), Some(true));
        assert_eq!(met("tokens-per-second=3"), Some(false));
        assert_eq!(met("tokens-per-second=2"), Some(true));
    }

    #[test]
    fn a_figure_that_is_missing_is_no_verdict() {
        let figures = Figures::of(&scenario((0, 1_000), vec![]));
        assert_eq!(judge(&figures, &[objective("ttft-p50=1s")])[0].met(), None);
        assert_eq!(
            judge(&figures, &[objective("error-rate=1%")])[0].met(),
            None
        );
    }

    #[test]
    fn a_limit_that_waiting_alone_exceeds_is_missed_whatever_the_answered_say() {
        let verdict = |measured, more_than: f64| Verdict {
            objective: objective("ttft-p95=1s"),
            measured,
            more_than: Some(more_than),
        };
        let text = |verdict: Verdict| verdict.figure(|value| format!("{} s", value / 1e6));
        let missed = verdict(Some(0.5e6), 30e6);
        assert_eq!(missed.met(), Some(false));
        assert_eq!(text(missed).as_deref(), Some("> 30 s"));
        let unknown = verdict(None, 0.5e6);
        assert_eq!(unknown.met(), None);
        assert_eq!(text(unknown).as_deref(), Some("> 0.5 s"));
        let known = verdict(Some(0.75e6), 0.5e6);
        assert_eq!(
            (known.met(), text(known).as_deref()),
            (Some(true), Some("0.75 s"))
        );
    }

    #[test]
    fn goodput_counts_requests_that_keep_every_limit() {
        let quick = request(0, 0, &[10_000, 20_000]);
        let late = request(0, 0, &[60_000, 70_000]);
        let slow = request(0, 0, &[10_000, 90_000]);
        let run = scenario((0, 1_000_000), vec![quick, late, slow]);
        let limits = ["ttft-p95=50ms", "tpot=50ms"].map(objective);
        assert!((goodput(&run, &limits) - 1.0).abs() < 1e-9);
        assert!((goodput(&run, &limits[..1]) - 2.0).abs() < 1e-9);
        assert!((goodput(&run, &[]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_resources_objectives_are_all_there() {
        let metrics: Vec<_> = of_resource(&Objectives::default())
            .iter()
            .map(|one| one.metric)
            .collect();
        assert_eq!(metrics, NAMES.map(|(metric, _)| metric));
    }
}
