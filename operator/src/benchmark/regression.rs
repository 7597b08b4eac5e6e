//! Whether a run is worse than the one before it.
use candlepower_api::benchmark::job::{Figures, Summary};

/// What a comparison says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    /// Two runs of different work say nothing about each other.
    Unlike,
    /// The former run had too few requests in every scenario.
    TooFew,
    /// Within the tolerance.
    AsBefore,
    /// What is worse, in words.
    Worse(Vec<String>),
}

/// Fewer latencies than this are chance.
const ENOUGH_REQUESTS: u64 = 20;
/// A share of errors that is no news.
const ERRORS_ALLOWED: f64 = 0.01;

/// Compares two runs, scenario by scenario; `tolerance` is a share of the former figure.
pub(super) fn compare(before: &Summary, now: &Summary, tolerance: f64) -> Comparison {
    if before.workload != now.workload {
        return Comparison::Unlike;
    }
    let pairs = || {
        now.scenarios.iter().filter_map(|scenario| {
            let mut all = before.scenarios.iter();
            let former = all.find(|one| one.name == scenario.name)?;
            Some((&scenario.name, &former.figures, &scenario.figures))
        })
    };
    let worse: Vec<_> = pairs()
        .flat_map(|(name, before, now)| {
            let found = worse(before, now, tolerance).into_iter();
            found.map(move |what| format!("{name}: {what}"))
        })
        .collect();
    if !worse.is_empty() {
        Comparison::Worse(worse)
    } else if pairs().any(|(_, before, _)| before.requests >= ENOUGH_REQUESTS) {
        Comparison::AsBefore
    } else {
        Comparison::TooFew
    }
}

fn worse(before: &Figures, now: &Figures, tolerance: f64) -> Vec<String> {
    // That few requests were answered in the same time as many before is what a fall of throughput is.
    let enough_before = before.requests >= ENOUGH_REQUESTS;
    let enough = enough_before && now.requests >= ENOUGH_REQUESTS;
    let latency = |name: &str, before: Option<f64>, now: Option<f64>| {
        let (before, now) = (before?, now?);
        (enough && now > before * (1.0 + tolerance)).then(|| {
            format!(
                "{name} rose from {:.0} ms to {:.0} ms",
                before * 1e3,
                now * 1e3
            )
        })
    };
    let throughput = || {
        let (before, now) = (before.tokens_per_second?, now.tokens_per_second?);
        (enough_before && now < before * (1.0 - tolerance))
            .then(|| format!("tokens per second fell from {before:.1} to {now:.1}"))
    };
    let errors = || {
        let (before, now) = (before.error_rate?, now.error_rate?);
        (now > before + ERRORS_ALLOWED).then(|| {
            format!(
                "errors rose from {:.1}% to {:.1}%",
                before * 100.0,
                now * 100.0
            )
        })
    };
    [
        latency("TTFT-P95", before.ttft_p95, now.ttft_p95),
        latency("TPOT", before.tpot, now.tpot),
        throughput(),
        errors(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::benchmark::job::ScenarioSummary;

    fn run(ttft_p95: f64, tokens_per_second: f64, error_rate: f64, requests: u64) -> Summary {
        Summary {
            workload: "same".into(),
            scenarios: vec![ScenarioSummary {
                name: "baseline".into(),
                figures: Figures {
                    ttft_p95: Some(ttft_p95),
                    tokens_per_second: Some(tokens_per_second),
                    error_rate: Some(error_rate),
                    requests,
                    ..Figures::default()
                },
                ..ScenarioSummary::default()
            }],
            ..Summary::default()
        }
    }

    #[test]
    fn a_change_within_the_tolerance_is_none() {
        let before = run(0.100, 200.0, 0.0, 100);
        let now = run(0.109, 182.0, 0.005, 100);
        assert_eq!(compare(&before, &now, 0.1), Comparison::AsBefore);
    }

    #[test]
    fn each_figure_that_is_worse_is_named_with_both_values() {
        let before = run(0.100, 200.0, 0.0, 100);
        let Comparison::Worse(found) = compare(&before, &run(0.120, 150.0, 0.05, 100), 0.1) else {
            panic!("it is worse")
        };
        assert_eq!(
            found,
            [
                "baseline: TTFT-P95 rose from 100 ms to 120 ms",
                "baseline: tokens per second fell from 200.0 to 150.0",
                "baseline: errors rose from 0.0% to 5.0%",
            ]
        );
    }

    #[test]
    fn better_is_not_worse_and_few_requests_say_nothing_of_latencies() {
        let before = run(0.100, 200.0, 0.05, 100);
        assert_eq!(
            compare(&before, &run(0.05, 400.0, 0.0, 100), 0.1),
            Comparison::AsBefore
        );
        assert_eq!(
            compare(&before, &run(0.3, 200.0, 0.05, 19), 0.1),
            Comparison::AsBefore
        );
        let few = run(0.100, 200.0, 0.05, 19);
        assert_eq!(
            compare(&few, &run(0.3, 50.0, 0.05, 19), 0.1),
            Comparison::TooFew
        );
    }

    #[test]
    fn fewer_requests_than_before_are_a_fall_of_throughput() {
        let before = run(0.100, 200.0, 0.0, 100);
        let now = compare(&before, &run(0.3, 20.0, 0.0, 10), 0.1);
        assert_eq!(
            now,
            Comparison::Worse(vec![
                "baseline: tokens per second fell from 200.0 to 20.0".to_owned()
            ])
        );
    }

    #[test]
    fn unlike_work_is_not_compared() {
        let mut other = run(9.0, 1.0, 1.0, 100);
        other.workload = "other".into();
        assert_eq!(
            compare(&run(0.1, 200.0, 0.0, 100), &other, 0.1),
            Comparison::Unlike
        );
    }
}
