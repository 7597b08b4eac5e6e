//! `status.performance`: figures rounded so far that equal load says the same again.
use super::{histogram::Histogram, window::Window};
use candlepower_api::{
    deployment::status::{Percentiles, Performance},
    value::Duration,
};

/// What `window`, of this length, says; `None` where nothing was asked. The caller fills in the
/// time.
pub(super) fn performance(window: &Window, length: Duration) -> Option<Performance> {
    let error_rate = window.error_rate();
    if error_rate.is_none() && window.counted.tokens <= 0.0 {
        return None;
    }
    Some(Performance {
        ttft: percentiles(&window.counted.first_token),
        tpot: percentiles(&window.counted.per_token),
        tokens_per_second: number(window.tokens_per_second),
        requests_per_second: number(window.requests_per_second),
        error_rate: format!("{}%", number(error_rate.unwrap_or_default() * 100.0)),
        window: length,
        observed_at: String::new(),
    })
}

fn percentiles(histogram: &Histogram) -> Option<Percentiles> {
    let at = |quantile| Some(latency(histogram.quantile(quantile)?));
    Some(Percentiles {
        p50: at(0.5)?,
        p95: at(0.95)?,
        p99: at(0.99)?,
    })
}

/// Whole milliseconds of two digits that count; 1 ms is the least that can be said.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a latency is neither negative nor longer than 2^53 ms"
)]
fn latency(seconds: f64) -> Duration {
    Duration::from_millis(two_digits(seconds * 1000.0).round().max(1.0) as u64)
}

fn number(value: f64) -> String {
    two_digits(value).to_string()
}

/// Rounded to the two digits that count most.
fn two_digits(value: f64) -> f64 {
    // By way of text, so that 0.30000000000000004 does not come about.
    format!("{value:.1e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::figures::snapshot::Counters;
    use candlepower_api::names::buckets;

    fn window(tokens: f64, succeeded: f64, failed: f64) -> Window {
        Window {
            counted: Counters {
                tokens,
                succeeded,
                failed_by_server: failed,
                ..Counters::zero()
            },
            tokens_per_second: tokens / 300.0,
            requests_per_second: (succeeded + failed) / 300.0,
            ..Window::of([])
        }
    }

    #[test]
    fn figures_have_two_digits() {
        for (value, text) in [
            (0.0, "0"),
            (61.23, "61"),
            (0.12345, "0.12"),
            (1234.0, "1200"),
            (9.96, "10"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(latency(0.4217).to_string(), "420ms");
        assert_eq!(latency(2.04).to_string(), "2s");
        assert_eq!(latency(0.000_2).to_string(), "1ms");
    }

    #[test]
    fn an_idle_window_says_nothing() {
        let length = Duration::from_secs(300);
        assert_eq!(performance(&window(0.0, 0.0, 0.0), length), None);
    }

    #[test]
    fn a_window_of_errors_alone_has_an_error_rate_and_no_latencies() {
        let told = performance(&window(0.0, 0.0, 3.0), Duration::from_secs(300)).unwrap();
        assert_eq!(told.error_rate, "100%");
        assert_eq!(told.ttft, None);
        assert_eq!(told.requests_per_second, "0.01");
    }

    #[test]
    fn latencies_come_from_the_histograms() {
        let mut window = window(300.0, 10.0, 0.0);
        let mut first = Histogram::new(buckets::TIME_TO_FIRST_TOKEN);
        for le in ["0.5", "0.75", "1", "+Inf"] {
            first.set(le, 10);
        }
        window.counted.first_token = first;
        let told = performance(&window, Duration::from_secs(300)).unwrap();
        let ttft = told.ttft.unwrap();
        assert_eq!(ttft.p50.to_string(), "380ms");
        assert_eq!(ttft.p95.to_string(), "490ms");
        assert_eq!(told.tpot, None);
        assert_eq!(told.tokens_per_second, "1");
    }
}
