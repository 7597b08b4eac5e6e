//! Figures as text with units.
use candlepower_api::{
    benchmark::{
        job::{Figures, ScenarioSummary, VariantSummary},
        status::{ScenarioResult, Summary, VariantResult},
    },
    value::Duration,
};
use std::time;

pub(super) fn text(figures: &Figures) -> Summary {
    let number = |value: f64| {
        if value >= 100.0 {
            format!("{value:.0}")
        } else {
            format!("{value:.1}")
        }
    };
    Summary {
        ttft_p50: figures.ttft_p50.and_then(latency),
        ttft_p95: figures.ttft_p95.and_then(latency),
        ttft_p99: figures.ttft_p99.and_then(latency),
        tpot: figures.tpot.and_then(latency),
        tokens_per_second: figures.tokens_per_second.map(number),
        requests_per_second: figures.requests_per_second.map(number),
        error_rate: figures
            .error_rate
            .map(|share| format!("{:.1}%", share * 100.0)),
    }
}

/// In milliseconds, of which short ones have a decimal.
fn latency(seconds: f64) -> Option<String> {
    if seconds < 0.01 {
        return Some(format!("{:.1}ms", seconds * 1e3));
    }
    let rounded = time::Duration::try_from_secs_f64(seconds).ok()?;
    let millis = u64::try_from(rounded.as_micros().saturating_add(500) / 1000).ok()?;
    Some(Duration::from_millis(millis).to_string())
}

pub(super) fn scenario(summary: &ScenarioSummary) -> ScenarioResult {
    ScenarioResult {
        name: summary.name.clone(),
        load: summary.load.clone(),
        met: summary.met,
        summary: text(&summary.figures),
    }
}

pub(super) fn variant(summary: &VariantSummary) -> VariantResult {
    VariantResult {
        name: summary.name.clone(),
        result: summary.result.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_units_and_as_many_digits_as_mean_something() {
        let texts = [0.0042, 0.1234, 1.5006, 0.0099].map(|seconds| latency(seconds).unwrap());
        assert_eq!(texts, ["4.2ms", "123ms", "1s501ms", "9.9ms"]);
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let figures = Figures {
            tokens_per_second: Some(123.4),
            error_rate: Some(0.005),
            ..Figures::default()
        };
        let text = text(&figures);
        assert_eq!(text.ttft_p95, None);
        assert_eq!(text.tokens_per_second.as_deref(), Some("123"));
        assert_eq!(text.error_rate.as_deref(), Some("0.5%"));
    }
}
