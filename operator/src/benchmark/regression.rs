//! Whether a run is worse than the one before it: by more than the tolerance, and for certain.
use candlepower_api::benchmark::job::{Range, ScenarioSummary, Summary};

/// What a comparison says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    /// Two runs of different work say nothing about each other.
    Unlike,
    /// The former run had too few requests in every scenario.
    TooFew,
    /// Within the tolerance, but for what is listed, in words: worse, and perhaps by chance.
    AsBefore(Vec<String>),
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
            Some((all.find(|one| one.name == scenario.name)?, scenario))
        })
    };
    let (certain, perhaps): (Vec<_>, Vec<_>) = pairs()
        .flat_map(|(before, now)| worse(before, now, tolerance))
        .partition(|one| one.certain);
    let in_words = |found: Vec<Worse>| found.into_iter().map(|one| one.what).collect();
    if !certain.is_empty() {
        Comparison::Worse(in_words(certain))
    } else if pairs().any(|(before, _)| before.figures.requests >= ENOUGH_REQUESTS) {
        Comparison::AsBefore(in_words(perhaps))
    } else {
        Comparison::TooFew
    }
}

/// A figure that is worse by more than the tolerance.
struct Worse {
    what: String,
    /// Whether the intervals are apart.
    certain: bool,
}

fn worse(before: &ScenarioSummary, now: &ScenarioSummary, tolerance: f64) -> Vec<Worse> {
    let (former, latter) = (&before.intervals, &now.intervals);
    let (before, now, scenario) = (&before.figures, &now.figures, &now.name);
    // That few requests were answered in the same time as many before is what a fall of throughput is.
    let enough_before = before.requests >= ENOUGH_REQUESTS;
    let enough = enough_before && now.requests >= ENOUGH_REQUESTS;
    let latency = |name: &str, before: Option<f64>, now: Option<f64>, certain| {
        let (before, now) = (before?, now?);
        (enough && now > before * (1.0 + tolerance)).then(|| Worse {
            what: format!(
                "{scenario}: {name} rose from {:.0} ms to {:.0} ms",
                before * 1e3,
                now * 1e3
            ),
            certain,
        })
    };
    let throughput = || {
        let (before, now) = (before.tokens_per_second?, now.tokens_per_second?);
        (enough_before && now < before * (1.0 - tolerance)).then(|| Worse {
            what: format!("{scenario}: tokens per second fell from {before:.1} to {now:.1}"),
            certain: apart(former.tokens_per_second, latter.tokens_per_second),
        })
    };
    let errors = || {
        let (before, now) = (before.error_rate?, now.error_rate?);
        (now > before + ERRORS_ALLOWED).then(|| Worse {
            what: format!(
                "{scenario}: errors rose from {:.1}% to {:.1}%",
                before * 100.0,
                now * 100.0
            ),
            certain: apart(former.error_rate, latter.error_rate),
        })
    };
    let ttft = apart(former.ttft_p95, latter.ttft_p95);
    let tpot = apart(former.tpot, latter.tpot);
    [
        latency("TTFT-P95", before.ttft_p95, now.ttft_p95, ttft),
        latency("TPOT", before.tpot, now.tpot, tpot),
        throughput(),
        errors(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether two intervals have no point in common. Where there were too few requests for one, nothing is certain.
fn apart(before: Option<Range>, now: Option<Range>) -> bool {
    let both = before.zip(now);
    both.is_some_and(|(before, now)| before.is_apart(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::benchmark::job::{Figures, Intervals};

    /// A run whose figures lie within a hundredth of what they are.
    fn run(ttft_p95: f64, tokens_per_second: f64, error_rate: f64, requests: u64) -> Summary {
        let around = |figure: f64| {
            Some(Range {
                low: figure * 0.99,
                high: Some(figure * 1.01),
            })
        };
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
                intervals: Intervals {
                    ttft_p95: around(ttft_p95),
                    tokens_per_second: around(tokens_per_second),
                    error_rate: around(error_rate),
                    ..Intervals::default()
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
        assert_eq!(compare(&before, &now, 0.1), Comparison::AsBefore(vec![]));
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
    fn what_may_be_chance_is_told_and_is_no_regression() {
        let with = |ttft_p95: f64, interval: Option<(f64, f64)>| {
            let mut run = run(ttft_p95, 200.0, 0.0, 100);
            run.scenarios[0].intervals = Intervals {
                ttft_p95: interval.map(|(low, high)| Range {
                    low,
                    high: Some(high),
                }),
                ..Intervals::default()
            };
            run
        };
        let before = with(0.100, Some((0.090, 0.125)));
        let rose = || vec!["baseline: TTFT-P95 rose from 100 ms to 120 ms".to_owned()];
        let overlaps = with(0.120, Some((0.110, 0.130)));
        assert_eq!(
            compare(&before, &overlaps, 0.1),
            Comparison::AsBefore(rose())
        );
        let apart = with(0.120, Some((0.126, 0.130)));
        assert_eq!(compare(&before, &apart, 0.1), Comparison::Worse(rose()));
        let unknown = with(0.120, None);
        let told = Comparison::AsBefore(rose());
        assert_eq!(compare(&before, &unknown, 0.1), told, "too few requests");
    }

    #[test]
    fn better_is_not_worse_and_few_requests_say_nothing_of_latencies() {
        let before = run(0.100, 200.0, 0.05, 100);
        assert_eq!(
            compare(&before, &run(0.05, 400.0, 0.0, 100), 0.1),
            Comparison::AsBefore(vec![])
        );
        assert_eq!(
            compare(&before, &run(0.3, 200.0, 0.05, 19), 0.1),
            Comparison::AsBefore(vec![])
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
