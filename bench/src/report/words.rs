//! Figures as text.
use crate::{
    analysis::{
        comparison::{Change, Compared, Comparison, Estimate, Row},
        interval::Interval,
        level::Level,
    },
    objectives::{Metric, Objective, Verdict, judge},
    record::ErrorClass,
};
use candlepower_api::value::ByteSize;

/// What stands where a figure was not measured.
pub(super) const NOT_MEASURED: &str = "not measured";

/// Seconds with as many digits as mean something.
pub(super) fn seconds(value: f64) -> String {
    match value {
        v if v < 0.001 => format!("{:.3} ms", v * 1e3),
        v if v < 0.1 => format!("{:.1} ms", v * 1e3),
        v if v < 1.0 => format!("{:.0} ms", v * 1e3),
        v if v < 100.0 => format!("{v:.2} s"),
        v => format!("{v:.0} s"),
    }
}

/// The same of microseconds.
pub(super) fn micros(value: f64) -> String {
    seconds(value / 1e6)
}

/// The same of nanoseconds.
pub(super) fn nanos(value: u64) -> String {
    seconds(value as f64 / 1e9)
}

/// A length of time in minutes where it has some.
pub(super) fn span(value: f64) -> String {
    if value < 120.0 {
        format!("{value:.0} s")
    } else {
        format!("{:.1} min", value / 60.0)
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Bytes in MiB or GiB.
pub(super) fn bytes(value: f64) -> String {
    // Byte counts are positive and far below 2^63.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = value.max(0.0) as u64;
    ByteSize::new(whole).human()
}

pub(super) fn bytes_per_second(value: f64) -> String {
    format!("{:.2} MB/s", value / 1e6)
}

pub(super) fn tokens_per_second(value: f64) -> String {
    format!("{value:.1} tok/s")
}

/// A figure, or that it was not measured.
pub(super) fn or_not(value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), text)
}

/// `12 ms (10 to 15)`.
pub(super) fn with_interval(
    value: Option<f64>,
    interval: Option<Interval>,
    text: impl Fn(f64) -> String,
) -> String {
    match (value, interval) {
        (Some(value), Some(one)) => {
            format!("{} ({} to {})", text(value), text(one.low), text(one.high))
        }
        (value, _) => or_not(value, text),
    }
}

/// The same, and why there is no interval where there is a figure without one.
pub(super) fn confident(
    value: Option<f64>,
    interval: Option<Interval>,
    text: impl Fn(f64) -> String,
) -> String {
    let written = with_interval(value, interval, text);
    if value.is_some() && interval.is_none() {
        format!("{written} (no interval: too few requests)")
    } else {
        written
    }
}

/// What people call an objective's figure.
pub(super) const fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::TtftP50 => "TTFT P50",
        Metric::TtftP95 => "TTFT P95",
        Metric::TtftP99 => "TTFT P99",
        Metric::Tpot => "TPOT Avg",
        Metric::TokensPerSecond => "Throughput",
        Metric::ErrorRate => "Error Rate",
    }
}

/// A figure in its objective's unit.
pub(super) fn metric_value(metric: Metric, value: f64) -> String {
    match metric {
        Metric::TokensPerSecond => tokens_per_second(value),
        Metric::ErrorRate => percent(value),
        _ => micros(value),
    }
}

/// `≤ 1.00 s`.
pub(super) fn target(objective: Objective) -> String {
    let sign = match objective.metric {
        Metric::TokensPerSecond => '≥',
        _ => '≤',
    };
    format!("{sign} {}", metric_value(objective.metric, objective.limit))
}

/// What people call an error class.
pub(super) const fn error_name(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Connect => "no connection",
        ErrorClass::Timeout => "no answer in time",
        ErrorClass::Overloaded => "refused as overloaded (429 or 503)",
        ErrorClass::Refused => "refused for another reason (4xx)",
        ErrorClass::Server => "the server failed (5xx)",
        ErrorClass::BrokenStream => "the stream broke off",
        ErrorClass::Protocol => "the answer was not what the API promises",
    }
}

/// A verdict's figure, or how much it is more than, or that it was not measured.
pub(super) fn judged(verdict: Verdict) -> String {
    let metric = verdict.objective.metric;
    let figure = verdict.figure(|value| metric_value(metric, value));
    figure.unwrap_or_else(|| NOT_MEASURED.to_owned())
}

/// A percentile of TTFT in the same way.
pub(super) fn ttft(level: &Level, metric: Metric) -> String {
    let objective = Objective { metric, limit: 0.0 };
    judge(&level.figures, &[objective])
        .first()
        .map_or_else(|| NOT_MEASURED.to_owned(), |verdict| judged(*verdict))
}

/// The verdict on one metric in a scenario.
pub(super) fn verdict(level: &Level, metric: Metric) -> Option<Verdict> {
    let mut all = level.verdicts.iter().copied();
    all.find(|one| one.objective.metric == metric)
}

/// What a change is better and worse in, in any scenario.
pub(super) fn effect(comparison: &Comparison) -> String {
    if comparison.is_of_another_machine() {
        return "cannot be judged, because it ran on a machine of another kind".to_owned();
    }
    let names = |change| figures(&comparison.figures_that(change));
    match (names(Change::Better), names(Change::Worse)) {
        (better, worse) if better.is_empty() && worse.is_empty() => {
            "made no certain difference".to_owned()
        }
        (better, worse) if worse.is_empty() => format!("is better in {better}"),
        (better, worse) if better.is_empty() => format!("is worse in {worse}"),
        (better, worse) => format!("is better in {better} and worse in {worse}"),
    }
}

/// Names of compared figures, as a list.
pub(super) fn figures(metrics: &[Compared]) -> String {
    let names: Vec<_> = metrics.iter().map(|one| compared_name(*one)).collect();
    names.join(", ")
}

/// What people call a compared figure.
pub(super) const fn compared_name(metric: Compared) -> &'static str {
    match metric {
        Compared::TtftP50 => "TTFT P50",
        Compared::TtftP95 => "TTFT P95",
        Compared::Tpot => "TPOT Avg",
        Compared::Throughput => "Throughput",
        Compared::ErrorRate => "Error rate",
        Compared::Memory => "Memory in use",
        Compared::GpuMemory => "GPU memory in use",
    }
}

/// A compared figure in its unit, with its interval.
pub(super) fn estimate(metric: Compared, estimate: Estimate) -> String {
    let unit = match metric {
        Compared::Throughput => tokens_per_second,
        Compared::ErrorRate => percent,
        Compared::Memory | Compared::GpuMemory => bytes,
        Compared::TtftP50 | Compared::TtftP95 | Compared::Tpot => micros,
    };
    match (estimate.value, estimate.more_than) {
        (Some(value), Some(least)) if value >= least => format!("{} of the answered", unit(value)),
        (_, Some(least)) => format!("> {}", unit(least)),
        (value, None) => with_interval(value, estimate.interval, unit),
    }
}

/// What may be said of a change, in a few words.
pub(super) const fn change_name(row: &Row) -> &'static str {
    match row.verdict {
        Change::Better => "better",
        Change::Worse => "worse",
        Change::NoDifference => "no verdict: the intervals overlap",
        Change::WithinDrift => "no verdict: within the deployment's own drift",
        Change::CutOff => "no verdict: requests were cut off while they waited",
        Change::OtherMachine => "no verdict: on a machine of another kind",
        Change::NotKnown if row.metric.is_peak() => "no verdict: a peak has no interval",
        Change::NotKnown => "no verdict: too few requests",
    }
}

/// A gain above 0, or that none can be told.
pub(super) fn improvement(row: &Row) -> String {
    row.improvement().map_or_else(
        || "—".to_owned(),
        |share| format!("{:+.1} %", share * 100.0),
    )
}

/// An amount as recommendations print it, in the base unit of what it measures; none of anything else.
pub(super) fn amount(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let scale = match unit {
        "ms" => 1e-3,
        "s" | "tokens/s" | "%" => 1.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_that_mean_something() {
        let texts = [0.000_25, 0.0123, 0.25, 1.234, 250.0].map(seconds);
        assert_eq!(texts, ["0.250 ms", "12.3 ms", "250 ms", "1.23 s", "250 s"]);
    }

    #[test]
    fn amounts_are_read_as_recommendations_write_them() {
        assert_eq!(amount("4.50 s"), Some(4.5));
        assert_eq!(amount("250.0 ms"), Some(0.25));
        assert_eq!(amount("505.1 tokens/s"), Some(505.1));
        assert_eq!((amount("many"), amount("3 sequences")), (None, None));
    }

    #[test]
    fn what_was_not_measured_is_said_to_be_so() {
        assert_eq!(with_interval(None, None, percent), "not measured");
        let interval = Interval {
            low: 0.1,
            high: 0.3,
        };
        assert_eq!(
            with_interval(Some(0.2), Some(interval), percent),
            "20.0 % (10.0 % to 30.0 %)"
        );
    }
}
