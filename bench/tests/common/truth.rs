//! What the stand-in server's log says that a run's figures should have been, and its traces.
#![allow(
    clippy::unwrap_used,
    clippy::unchecked_time_subtraction,
    dead_code,
    unreachable_pub,
    reason = "each test program uses some of it, and may stop at the first surprise"
)]
use crate::stand_in::{Entry, StandIn, laws::Laws};
use candlepower_bench::{
    analysis::operations::rank,
    evidence::jaeger,
    figures::{Distribution, Figures, succeeded},
    objectives::{Objective, goodput},
    record::ScenarioRun,
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// TTFT that some requests keep and some do not.
pub const LIMIT: Duration = Duration::from_millis(250);

/// Lengths, jitter, a stall in each answer, a queue, a batch that slows itself down, and one request of
/// ten that fails.
pub fn laws() -> Laws {
    Laws {
        first_token: Duration::from_millis(60),
        prefill_per_token: Duration::from_millis(2),
        per_token: Duration::from_millis(12),
        jitter: 0.4,
        batch_effect: 0.01,
        stall: Some((7, Duration::from_millis(90))),
        slots: 24,
        error_rate: 0.1,
        ..Laws::default()
    }
}

/// What a difference is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    Micros,
    PerSecond,
    /// Of all time that requests took, or of all requests; differences are in these shares.
    Share,
}

/// A figure beside what it should have been.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub what: String,
    pub unit: Unit,
    pub measured: f64,
    pub truth: f64,
}

impl Row {
    /// The difference as a share of the truth.
    pub fn relative(&self) -> f64 {
        self.measured / self.truth - 1.0
    }

    /// Within 2% or 1 ms, 1% of a rate, a tenth of a percentage point.
    pub fn check(&self) -> Result<(), String> {
        let difference = (self.measured - self.truth).abs();
        let close = match self.unit {
            Unit::Micros => difference <= 1_000.0 || difference <= 0.02 * self.truth,
            Unit::PerSecond => difference <= 0.01 * self.truth,
            Unit::Share => difference <= 0.001,
        };
        if close {
            return Ok(());
        }
        Err(format!("{self:?}"))
    }
}

/// What the server did, on the load generator's clock.
pub struct Truth {
    log: BTreeMap<String, Entry>,
    /// Time 0 of the run.
    origin: Instant,
}

impl Truth {
    /// Both clocks are one; its origin is told by the request whose head was read soonest.
    pub fn of(server: &StandIn, scenario: &ScenarioRun) -> Self {
        let log = server.log().clone();
        let origins = scenario.requests.iter().filter_map(|one| {
            let entry = log.get(&one.trace_id)?;
            Some(entry.received - Duration::from_micros(one.sent))
        });
        let origin = origins.min().unwrap();
        Self { log, origin }
    }

    fn micros(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.origin).as_micros()).unwrap()
    }

    /// Over the requests that count, by the server's times.
    fn over(&self, run: &ScenarioRun, value: impl Fn(&Entry) -> u64) -> Distribution {
        let counted = run.measured().filter(|one| succeeded(one));
        Distribution::of(counted.map(|one| value(&self.log[&one.trace_id]))).unwrap()
    }

    fn tokens_per_second(&self, run: &ScenarioRun) -> f64 {
        let tokens = self.log.values().flat_map(|entry| &entry.tokens);
        let inside = tokens.map(|&time| self.micros(time));
        let inside = inside.filter(|time| run.window.0 <= *time && *time < run.window.1);
        inside.count() as f64 / seconds(run)
    }

    /// Answers per second whose first token came within `limit`.
    fn goodput(&self, run: &ScenarioRun, limit: Duration) -> f64 {
        let good = self.log.values().filter(|entry| {
            let finished = entry.finished.map(|time| self.micros(time));
            finished.is_some_and(|time| run.window.0 <= time && time < run.window.1)
                && entry.tokens[0] - entry.received <= limit
        });
        good.count() as f64 / seconds(run)
    }

    /// Failures among all that ended inside the window.
    fn error_rate(&self, run: &ScenarioRun) -> f64 {
        let inside = |time: Option<Instant>| {
            let time = time.map(|time| self.micros(time));
            time.is_some_and(|time| run.window.0 <= time && time < run.window.1)
        };
        let failed = self.log.values().filter(|one| inside(one.failed)).count();
        let finished = self.log.values().filter(|one| inside(one.finished)).count();
        failed as f64 / (failed + finished) as f64
    }

    /// Every figure of a scenario beside its truth. `limit` is the goodput's.
    pub fn rows(&self, run: &ScenarioRun, limit: Duration) -> Vec<Row> {
        let figures = Figures::of(run);
        let first = self.over(run, |entry| between(entry.received, entry.tokens[0]));
        let each = self.over(run, |entry| {
            let gaps = entry.tokens.len() as u64 - 1;
            between(entry.tokens[0], *entry.tokens.last().unwrap()) / gaps
        });
        let whole = self.over(run, |entry| {
            between(entry.received, entry.finished.unwrap())
        });
        let mut rows = latencies("TTFT", figures.ttft, first);
        rows.extend(latencies("TPOT", figures.tpot, each));
        rows.extend(latencies("E2E", figures.e2e, whole));
        let objective: Objective = format!("ttft-p95={}ms", limit.as_millis()).parse().unwrap();
        let throughput = figures.output_tokens_per_second;
        let good = goodput(run, &[objective]);
        // An answer that came so shortly before the limit may have been seen after it.
        // No more than a latency may be off by, however late the generator was.
        let unseen = Duration::from_micros(run.generator.lag_p99.min(1_000));
        let fewest = self.goodput(run, limit.saturating_sub(unseen));
        for (what, measured, truth) in [
            ("tokens", throughput, self.tokens_per_second(run)),
            (
                "goodput",
                good,
                good.clamp(fewest, self.goodput(run, limit)),
            ),
        ] {
            let what = what.to_owned();
            rows.push(Row {
                what,
                unit: Unit::PerSecond,
                measured,
                truth,
            });
        }
        rows.push(Row {
            what: "error rate".to_owned(),
            unit: Unit::Share,
            measured: figures.error_rate.unwrap(),
            truth: self.error_rate(run),
        });
        rows
    }

    /// The shares of critical paths, by the analysis of traces that tell what the log tells, beside
    /// the log's own sums. One span is there to mislead: it lasts as long as the decoding beside it,
    /// and nothing ever waits for it.
    pub fn shares(&self) -> Vec<Row> {
        let finished = self.log.iter().filter(|(_, one)| one.finished.is_some());
        let whole: Vec<_> = finished.collect();
        let traces = jaeger::parse(json!({"result": self.spans(&whole)}).to_string().as_bytes());
        let ranking = rank(&traces.unwrap());
        let sum = |part: &dyn Fn(&Entry) -> Duration| {
            whole.iter().map(|(_, entry)| part(entry)).sum::<Duration>()
        };
        let all = sum(&|entry| entry.finished.unwrap() - entry.received).as_secs_f64();
        let last = |entry: &Entry| *entry.tokens.last().unwrap();
        let truths = [
            ("queue", sum(&|entry| entry.admitted - entry.received)),
            ("prefill", sum(&|entry| entry.tokens[0] - entry.admitted)),
            ("decode", sum(&|entry| last(entry) - entry.tokens[0])),
            ("shadow", Duration::ZERO),
            (
                "request",
                sum(&|entry| entry.finished.unwrap() - last(entry)),
            ),
        ];
        let share = |name: &str| {
            let found = ranking.operations.iter().find(|one| one.name == name);
            found.map_or(0.0, |one| one.share)
        };
        let rows = truths.into_iter().map(|(name, truth)| Row {
            what: name.to_owned(),
            unit: Unit::Share,
            measured: share(name),
            truth: truth.as_secs_f64() / all,
        });
        rows.collect()
    }

    fn spans(&self, whole: &[(&String, &Entry)]) -> serde_json::Value {
        let nanos = |moment: Instant| (moment - self.origin).as_nanos().to_string();
        let spans = whole.iter().flat_map(|(trace, entry)| {
            let (first, last) = (entry.tokens[0], *entry.tokens.last().unwrap());
            let aside = (last - first) / 100;
            let finished = entry.finished.unwrap();
            [
                ("1", "", "request", entry.received, finished),
                ("2", "1", "queue", entry.received, entry.admitted),
                ("3", "1", "generate", entry.admitted, last),
                ("4", "3", "prefill", entry.admitted, first),
                ("5", "3", "decode", first, last),
                ("6", "3", "shadow", first + aside, last - aside),
            ]
            .map(|(id, parent, name, start, end)| {
                json!({
                    "traceId": trace, "spanId": id, "parentSpanId": parent, "name": name,
                    "startTimeUnixNano": nanos(start), "endTimeUnixNano": nanos(end),
                })
            })
        });
        let spans: Vec<_> = spans.collect();
        json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    }
}

fn seconds(run: &ScenarioRun) -> f64 {
    (run.window.1 - run.window.0) as f64 / 1e6
}

fn between(from: Instant, to: Instant) -> u64 {
    u64::try_from((to - from).as_micros()).unwrap()
}

fn latencies(name: &str, measured: Option<Distribution>, truth: Distribution) -> Vec<Row> {
    let measured = measured.unwrap();
    let pairs = [
        ("P50", measured.p50, truth.p50),
        ("P95", measured.p95, truth.p95),
        ("P99", measured.p99, truth.p99),
    ];
    let rows = pairs.map(|(rank, measured, truth)| Row {
        what: format!("{name} {rank}"),
        unit: Unit::Micros,
        measured: measured as f64,
        truth: truth as f64,
    });
    rows.into()
}
