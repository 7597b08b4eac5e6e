//! Latencies and rates of a scenario, by the formulas that every report states. Pure.
//!
//! | figure | formula |
//! | --- | --- |
//! | TTFT | first non-empty token's time − request's begin |
//! | TPOT | (last token − first token) / (output tokens − 1), from 2 tokens on |
//! | ITL | each gap between successive arrivals of text that ended inside the window |
//! | NTPOT | E2E / output tokens |
//! | E2E | last byte − request's begin |
//! | throughput | output tokens that arrived inside the window / window |
//! | goodput | requests per second that meet the objectives |
//!
//! A request begins when its user sends it, or, where requests arrive by themselves, when it was due, so that a late load
//! generator or a full connection pool cannot hide waiting time; figures "from due" always start then. Latencies are
//! those of successful requests that began inside the window. The load goes on until they have ended, so that they are
//! not those of a server that empties. Rates, gaps and errors count what happened inside the window, so that an
//! unfinished answer's tokens count as well.
use crate::{
    record::{ErrorClass, Micros, Outcome, RequestRecord, ScenarioRun},
    waiting::{MoreThan, ttft_more_than},
};
use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A latency's distribution, in microseconds, to three significant digits.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// How many values there are.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The median.
    pub p50: Micros,
    /// The 90th percentile.
    pub p90: Micros,
    /// The 95th percentile.
    pub p95: Micros,
    /// The 99th percentile.
    pub p99: Micros,
    /// The largest.
    pub max: Micros,
}

/// Significant digits of percentiles.
const DIGITS: u8 = 3;
/// The largest value that is told apart from larger ones: a day.
const LARGEST: Micros = 86_400_000_000;

impl Distribution {
    /// Of some values; none of none.
    pub fn of(values: impl IntoIterator<Item = Micros>) -> Option<Self> {
        let mut collected = Collected::new()?;
        for value in values {
            collected.add(value);
        }
        collected.distribution()
    }
}

/// Values that are still being collected.
#[derive(Clone, Debug)]
pub struct Collected {
    histogram: Histogram<u64>,
    sum: f64,
}

impl Collected {
    /// None yet. A histogram of these bounds can always be made.
    pub fn new() -> Option<Self> {
        let histogram = Histogram::new_with_bounds(1, LARGEST, DIGITS).ok()?;
        Some(Self {
            histogram,
            sum: 0.0,
        })
    }

    /// Adds one.
    pub fn add(&mut self, value: Micros) {
        self.histogram.saturating_record(value);
        self.sum += value as f64;
    }

    /// Their distribution; none of none.
    pub fn distribution(&self) -> Option<Distribution> {
        let histogram = &self.histogram;
        let count = histogram.len();
        (count > 0).then(|| Distribution {
            count,
            mean: self.sum / count as f64,
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p95: histogram.value_at_quantile(0.95),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        })
    }
}

/// Time to the first token from when the request began.
pub fn ttft(request: &RequestRecord, began: Micros) -> Option<Micros> {
    let first = request.tokens.first()?;
    Some(first.saturating_sub(began))
}

/// Output tokens: by the server's `usage`, or else the pieces of text that arrived.
pub fn output_tokens(request: &RequestRecord) -> u32 {
    let pieces = u32::try_from(request.tokens.len()).unwrap_or(u32::MAX);
    request.output_tokens.unwrap_or(pieces)
}

/// Mean time per output token after the first, in microseconds.
pub fn tpot(request: &RequestRecord) -> Option<f64> {
    let (first, last) = (request.tokens.first()?, request.tokens.last()?);
    let tokens = output_tokens(request);
    (tokens >= 2).then(|| (last - first) as f64 / f64::from(tokens - 1))
}

/// Time from the request's begin to its last byte.
pub fn e2e(request: &RequestRecord, began: Micros) -> Micros {
    request.finished.saturating_sub(began)
}

/// E2E divided by the number of output tokens, in microseconds.
pub fn ntpot(request: &RequestRecord, began: Micros) -> Option<f64> {
    let tokens = output_tokens(request);
    (tokens > 0).then(|| e2e(request, began) as f64 / f64::from(tokens))
}

/// Gaps between successive arrivals of text that ended inside a window.
pub fn gaps_within(
    request: &RequestRecord,
    window: (Micros, Micros),
) -> impl Iterator<Item = Micros> {
    let gaps = request.tokens.gaps();
    let inside = gaps.filter(move |&(_, end)| window.0 <= end && end < window.1);
    inside.map(|(gap, _)| gap)
}

/// Whether the request ended in a whole answer.
pub fn succeeded(request: &RequestRecord) -> bool {
    matches!(request.outcome, Outcome::Success { .. })
}

/// Output tokens that arrived inside a window. Where a piece of text holds several tokens, each
/// piece counts for its share of `usage`; an answer without a stream counts when it was complete.
pub fn output_tokens_within(request: &RequestRecord, window: (Micros, Micros)) -> f64 {
    let tokens = f64::from(output_tokens(request));
    if request.tokens.is_empty() {
        let inside = window.0 <= request.finished && request.finished < window.1;
        return if inside { tokens } else { 0.0 };
    }
    let arrived = request.tokens.count_within(window);
    tokens * arrived as f64 / request.tokens.len() as f64
}

/// What a scenario's requests amount to.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Length of the window, in seconds.
    pub window_seconds: f64,
    /// Whole answers inside the window.
    pub succeeded: u64,
    /// Failures inside the window.
    pub failed: u64,
    /// Requests that began before the window's end and that the end of the scenario cut off.
    pub cancelled: u64,
    /// Failures by class.
    pub errors: BTreeMap<ErrorClass, u64>,
    /// Successes whose tokens were counted by pieces of text, because no `usage` came.
    pub without_usage: u64,
    /// Failures' share of all that ended; none where nothing did.
    pub error_rate: Option<f64>,
    /// Whole answers per second.
    pub requests_per_second: f64,
    /// Output tokens per second.
    pub output_tokens_per_second: f64,
    /// Time to first token.
    pub ttft: Option<Distribution>,
    /// What it is more than, where requests were cut off that still waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_more_than: Option<MoreThan>,
    /// Time to first token from when requests were due.
    pub ttft_from_due: Option<Distribution>,
    /// Time per output token of each request.
    pub tpot: Option<Distribution>,
    /// Gaps between arrivals.
    pub itl: Option<Distribution>,
    /// End-to-end time per output token.
    pub ntpot: Option<Distribution>,
    /// End-to-end time.
    pub e2e: Option<Distribution>,
    /// The same from when requests were due.
    pub e2e_from_due: Option<Distribution>,
    /// From due to sent.
    pub lag: Option<Distribution>,
}

impl Figures {
    /// Of a scenario.
    pub fn of(scenario: &ScenarioRun) -> Self {
        let window = scenario.window;
        let inside = |time: Micros| window.0 <= time && time < window.1;
        let seconds = window.1.saturating_sub(window.0) as f64 / 1e6;
        let rate = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        let all = &scenario.requests;
        let timed: Vec<_> = scenario.measured().filter(|one| succeeded(one)).collect();
        let began = |one: &RequestRecord| scenario.began(one);
        let ended = |request: &&RequestRecord| inside(request.finished);
        let succeeded_inside = all.iter().filter(ended).filter(|one| succeeded(one));
        let succeeded = succeeded_inside.count() as u64;
        let errors = errors(all.iter().filter(ended));
        let failed: u64 = errors.values().sum();
        let over = |value: &dyn Fn(&RequestRecord) -> Option<Micros>| {
            Distribution::of(timed.iter().filter_map(|request| value(request)))
        };
        Self {
            window_seconds: seconds,
            succeeded,
            failed,
            cancelled: all
                .iter()
                .filter(|one| one.outcome == Outcome::Cancelled && began(one) < window.1)
                .count() as u64,
            errors,
            without_usage: timed
                .iter()
                .filter(|one| one.output_tokens.is_none())
                .count() as u64,
            error_rate: (succeeded + failed > 0)
                .then(|| failed as f64 / (succeeded + failed) as f64),
            requests_per_second: rate(succeeded as f64),
            output_tokens_per_second: rate(
                all.iter()
                    .map(|one| output_tokens_within(one, window))
                    .sum(),
            ),
            ttft: over(&|one| ttft(one, began(one))),
            ttft_more_than: ttft_more_than(scenario),
            ttft_from_due: over(&|one| Some(one.tokens.first()?.saturating_sub(one.due))),
            tpot: over(&|one| tpot(one).map(round)),
            itl: Distribution::of(all.iter().flat_map(|one| gaps_within(one, window))),
            ntpot: over(&|one| ntpot(one, began(one)).map(round)),
            e2e: over(&|one| Some(e2e(one, began(one)))),
            e2e_from_due: over(&|one| Some(one.finished.saturating_sub(one.due))),
            lag: over(&|one| Some(one.sent.saturating_sub(one.due))),
        }
    }
}

/// To whole microseconds.
pub(crate) fn round(micros: f64) -> Micros {
    // Latencies are positive and far below 2^53.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = micros.round() as Micros;
    whole
}

fn errors<'a>(ended: impl Iterator<Item = &'a RequestRecord>) -> BTreeMap<ErrorClass, u64> {
    let mut classes = BTreeMap::new();
    for request in ended {
        if let Outcome::Failed { class, .. } = request.outcome {
            *classes.entry(class).or_default() += 1;
        }
    }
    classes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{AppliedLoad, GeneratorHealth};

    /// A successful request whose text arrives at `tokens`.
    pub(crate) fn request(due: Micros, sent: Micros, tokens: &[Micros]) -> RequestRecord {
        RequestRecord {
            index: 0,
            trace_id: String::new(),
            asked_prompt_tokens: 64,
            asked_output_tokens: 3,
            due,
            sent,
            tokens: tokens.iter().copied().collect(),
            finished: tokens.last().copied().unwrap_or(sent),
            prompt_tokens: Some(64),
            output_tokens: u32::try_from(tokens.len()).ok(),
            outcome: Outcome::Success {
                finish_reason: Some("length".to_owned()),
            },
        }
    }

    pub(crate) fn scenario(window: (Micros, Micros), requests: Vec<RequestRecord>) -> ScenarioRun {
        ScenarioRun {
            name: "a".to_owned(),
            load: AppliedLoad::Users {
                users: 1,
                spawn_rate: 1,
            },
            started: 0,
            window,
            ended: window.1,
            requests,
            generator: GeneratorHealth::default(),
            stopped: None,
        }
    }

    #[test]
    fn latencies_follow_their_formulas() {
        let one = request(900, 1_000, &[51_000, 61_000, 91_000]);
        assert_eq!(ttft(&one, one.sent), Some(50_000));
        assert_eq!(tpot(&one), Some(20_000.0));
        assert_eq!(
            gaps_within(&one, (0, u64::MAX)).collect::<Vec<_>>(),
            [10_000, 30_000]
        );
        assert_eq!(e2e(&one, one.sent), 90_000);
        assert_eq!(ntpot(&one, one.sent), Some(30_000.0));
    }

    #[test]
    fn tokens_are_counted_by_usage_and_not_by_pieces_of_text() {
        let mut one = request(0, 0, &[10_000, 50_000]);
        one.output_tokens = Some(5);
        assert_eq!(tpot(&one), Some(10_000.0));
        assert!((output_tokens_within(&one, (0, 20_000)) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn throughput_counts_tokens_by_their_time_whoever_they_belong_to() {
        let mut cut = request(0, 0, &[1_500_000, 2_500_000, 3_500_000]);
        cut.outcome = Outcome::Cancelled;
        cut.output_tokens = None;
        let early = request(0, 0, &[500_000, 1_000_000]);
        let figures = Figures::of(&scenario((1_000_000, 3_000_000), vec![cut, early]));
        assert!((figures.output_tokens_per_second - 1.5).abs() < 1e-9);
        assert_eq!(
            (figures.succeeded, figures.failed, figures.cancelled),
            (1, 0, 1)
        );
    }

    #[test]
    fn latencies_count_by_when_the_request_was_sent() {
        let warm_up = request(0, 500, &[2_000]);
        let measured = request(1_000, 1_200, &[3_000]);
        let figures = Figures::of(&scenario((1_000, 2_500), vec![warm_up, measured]));
        let ttft = figures.ttft.unwrap();
        assert_eq!((ttft.count, ttft.p50), (1, 1_800));
        assert_eq!(figures.ttft_from_due.unwrap().p50, 2_000);
        assert_eq!(figures.lag.unwrap().max, 200);
        assert_eq!(figures.succeeded, 1, "the other one ended after the window");
    }

    #[test]
    fn what_arrives_by_itself_begins_when_it_is_due() {
        let mut late = scenario((1_000, 9_000), vec![request(2_000, 9_500, &[9_900])]);
        let users = Figures::of(&late);
        assert_eq!(users.ttft, None, "its user sent it after the window");
        late.load = AppliedLoad::Arrivals {
            process: "constant".to_owned(),
            rate: 1.0,
        };
        let arrivals = Figures::of(&late);
        assert_eq!(arrivals.ttft.unwrap().max, 7_903, "to three digits");
        assert_eq!(arrivals.e2e.unwrap().max, 7_903);
    }

    #[test]
    fn gaps_count_by_when_they_end_whichever_request_they_are_of() {
        let before = request(0, 0, &[100, 600, 1_200]);
        let after = request(0, 900, &[1_500, 2_500]);
        let figures = Figures::of(&scenario((1_000, 2_000), vec![before, after]));
        let gaps = figures.itl.unwrap();
        assert_eq!((gaps.count, gaps.max), (1, 600));
    }

    #[test]
    fn an_error_rate_needs_something_that_ended() {
        assert_eq!(Figures::of(&scenario((0, 1), vec![])).error_rate, None);
        let mut failed = request(0, 0, &[]);
        failed.outcome = Outcome::Failed {
            class: ErrorClass::Overloaded,
            status: Some(429),
            message: String::new(),
        };
        let good = request(0, 0, &[5]);
        let figures = Figures::of(&scenario((0, 10), vec![failed, good]));
        assert_eq!(figures.error_rate, Some(0.5));
        assert_eq!(figures.errors[&ErrorClass::Overloaded], 1);
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let spread = Distribution::of(1..=100_000).unwrap();
        for (found, expected) in [(spread.p50, 50_000.0), (spread.p99, 99_000.0)] {
            assert!((found as f64 / expected - 1.0).abs() < 1e-3, "{found}");
        }
        assert!((spread.mean - 50_000.5).abs() < 1e-6);
        assert_eq!(Distribution::of([]), None);
    }
}
