use super::*;
use crate::{
    analysis::testing::{Plant, objectives},
    record::TokenTimes,
};

/// A report on several planted levels of load, the last of them too much.
pub(super) fn report() -> Report {
    let level = |users, tpot, queue| Plant {
        users,
        queue,
        tpot,
        ..Plant::default()
    };
    let levels = [
        level(1, 8.0, 1.0),
        level(2, 9.0, 1.0),
        level(5, 14.0, 2.0),
        level(10, 24.0, 4.0),
        level(25, 60.0, 3_000.0),
    ];
    let (run, evidence) = Plant::run(&levels);
    let options = Options {
        objectives: objectives(),
        price: Some(crate::analysis::cost::Price {
            per_hour: 0.5,
            currency: "USD".to_owned(),
        }),
        ..Options::default()
    };
    build(&run, &evidence, &options)
}

fn near(found: f64, expected: f64, within: f64) {
    let off = (found / expected - 1.0).abs();
    assert!(off <= within, "{found} is not {expected}");
}

#[test]
fn figures_are_those_that_were_planted() {
    let report = report();
    let first = &report.levels[0].figures;
    // Tokenizer, queue, prefill and way in: 1 + 1 + 60 + 1 ms.
    near(first.ttft.unwrap().mean, 63_000.0, 0.02);
    near(first.tpot.unwrap().mean, 8_000.0, 0.02);
    // 32 tokens in 63 + 31 · 8 ms.
    near(first.output_tokens_per_second, 32.0 / 0.311, 0.02);
    near(report.levels[3].concurrency, 10.0, 0.02);
}

#[test]
fn critical_path_shares_are_those_that_were_planted() {
    let report = report();
    let operations = &report.operations[0].ranking;
    let share = |name| {
        let found = operations.operations.iter().find(|one| one.name == name);
        found.unwrap().share
    };
    let whole = 1.0 + 1.0 + 60.0 + 31.0 * 8.0;
    near(share("decode"), 248.0 / whole, 0.01);
    near(share("prefill"), 60.0 / whole, 0.01);
    let sum: f64 = operations.operations.iter().map(|one| one.share).sum();
    near(sum + operations.unattributed, 1.0, 1e-9);
}

#[test]
fn the_scalability_law_is_fitted_over_what_was_measured() {
    let report = report();
    let fit = report.scalability.unwrap();
    assert!(fit.r_squared > 0.9, "{fit:?}");
    near(fit.to, 25.0, 0.02);
}

#[test]
fn the_summary_says_from_where_on_and_why() {
    let report = report();
    let summary = &report.conclusion.summary;
    assert!(summary.contains("missed from 25 users on"), "{summary}");
    assert!(summary.contains("queueing"), "{summary}");
    assert_eq!(report.conclusion.outcome, Outcome::Missed);
}

#[test]
fn nothing_measured_makes_a_report_that_says_so() {
    let (mut run, _) = Plant::run(&[Plant::default()]);
    run.scenarios[0].requests.clear();
    let evidence = crate::evidence::Evidence::default();
    let report = build(&run, &evidence, &Options::default());
    assert_eq!(report.conclusion.outcome, Outcome::NoAnswers);
    assert!(
        report
            .conclusion
            .summary
            .starts_with("No request was answered")
    );
    assert_eq!(
        (report.findings.len(), report.recommendations.len()),
        (0, 0)
    );
    assert!(report.levels[0].figures.ttft.is_none());
    render(&report, Format::Html).unwrap();
    let text = render(&report, Format::Md).unwrap();
    assert!(text.contains("not measured"));
}

#[test]
fn requests_that_wait_to_the_end_miss_objectives_without_a_figure_of_their_own() {
    let (mut run, evidence) = Plant::run(&[Plant::default()]);
    let scenario = &mut run.scenarios[0];
    for request in &mut scenario.requests {
        request.tokens = TokenTimes::default();
        request.output_tokens = None;
        request.outcome = crate::record::Outcome::Cancelled;
        request.finished = request.sent + 41_256_789;
    }
    // One answer to a request of the warm-up, so that there is something to report.
    let first = &mut scenario.requests[0];
    (first.sent, first.tokens, first.finished) =
        (0, [7_000_000, 7_100_000].into_iter().collect(), 7_100_000);
    first.outcome = crate::record::Outcome::Success {
        finish_reason: None,
    };
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    let report = build(&run, &evidence, &options);
    assert_eq!(report.conclusion.outcome, Outcome::Missed);
    assert!(report.levels[0].figures.ttft.is_none());
    let text = render(&report, Format::Md).unwrap();
    for part in [
        "| TTFT P95 at 8 users | &gt; 41.20 s | ≤ 1.00 s |",
        "still waited for their first token",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_run_without_a_stream_has_no_first_token_and_says_so() {
    let (mut run, evidence) = Plant::run(&[Plant::default()]);
    run.workload.stream = false;
    for request in &mut run.scenarios[0].requests {
        request.tokens = TokenTimes::default();
    }
    let report = build(&run, &evidence, &Options::default());
    assert!(report.levels[0].figures.ttft.is_none());
    assert!(report.levels[0].figures.e2e.is_some());
    let missing: Vec<_> = report.missing.iter().map(|one| one.what.as_str()).collect();
    assert!(
        missing.iter().any(|what| what.starts_with("TTFT")),
        "{missing:?}"
    );
}

#[test]
fn a_target_that_ignores_the_stream_is_not_said_to_have_met_its_objectives() {
    let (mut run, evidence) = Plant::run(&[Plant::default()]);
    for request in &mut run.scenarios[0].requests {
        request.tokens = TokenTimes::default();
    }
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    let report = build(&run, &evidence, &options);
    assert_eq!(report.conclusion.outcome, Outcome::Inconclusive);
    let summary = &report.conclusion.summary;
    assert!(summary.starts_with("No verdict"), "{summary}");
    assert!(
        summary.contains("no figure for TPOT Avg, TTFT P50"),
        "{summary}"
    );
    let lost = report.missing.iter().find(|one| one.what.contains("TTFT"));
    let why = &lost.unwrap().why;
    assert!(why.contains("did not stream them"), "{why}");
}

#[test]
fn a_run_whose_last_scenarios_are_missing_has_not_met_every_objective() {
    let (mut run, evidence) = Plant::run(&[Plant::default()]);
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    let whole = build(&run, &evidence, &options);
    assert_eq!(whole.conclusion.outcome, Outcome::Met);
    run.stopped = Some("interrupted".to_owned());
    let cut = build(&run, &evidence, &options);
    assert_eq!(cut.conclusion.outcome, Outcome::Inconclusive);
    assert!(cut.conclusion.summary.contains("interrupted"));
}

#[test]
fn a_report_with_hundreds_of_thousands_of_requests_fits_a_config_map() {
    let report = report();
    let json = render(&report, Format::Json).unwrap();
    assert!(json.len() < 600_000, "{}", json.len());
}
