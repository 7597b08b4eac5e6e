//! What all rounds come to. Pure.
use crate::{
    analysis::{
        comparison::{
            AGAIN, Change, Compared, Comparison, DEPLOYMENT, LevelComparison, Place, Row, Side,
            Unlike, compare, compare_repeated, other_machine,
        },
        findings::Class,
        interval::Interval,
        level::Level,
    },
    record::AppliedLoad,
    report::{Outcome, Report},
};
use candlepower_api::benchmark::job::{
    Figures, Intervals, Range, ScenarioSummary, Summary, VariantSummary, Verdict,
};

/// A change, and its report or why there is none.
pub(super) struct Tried {
    pub(super) name: String,
    pub(super) result: Result<Report, String>,
}

/// The deployment beside each change of it, and beside itself.
pub(super) fn comparisons(
    deployment: &Report,
    tried: &[Tried],
    again: Option<&Report>,
) -> Vec<Comparison> {
    let changed = tried.iter().filter_map(|one| {
        let report = one.result.as_ref().ok()?;
        beside(deployment, again, &one.name, report).ok()
    });
    changed.chain(drift(deployment, again)).collect()
}

/// An earlier benchmark beside this one.
pub(super) fn beside_baseline(
    name: &str,
    baseline: &Report,
    deployment: &Report,
) -> Result<Comparison, Unlike> {
    compare(
        Side {
            name,
            workload: &baseline.run.workload,
            levels: &baseline.levels,
        },
        Side {
            name: DEPLOYMENT,
            workload: &deployment.run.workload,
            levels: &deployment.levels,
        },
    )
}

/// How far the deployment is from itself.
fn drift(deployment: &Report, again: Option<&Report>) -> Option<Comparison> {
    beside(deployment, None, AGAIN, again?).ok()
}

fn beside(
    before: &Report,
    again: Option<&Report>,
    name: &str,
    after: &Report,
) -> Result<Comparison, String> {
    // The same work by intention: only the seed of the deployment's second round differs.
    let workload = &before.run.workload;
    let other = other_machine(place(DEPLOYMENT, before), place(name, after));
    let before = Side {
        name: DEPLOYMENT,
        workload,
        levels: &before.levels,
    };
    let after = Side {
        name,
        workload,
        levels: &after.levels,
    };
    let again = again.map(|again| again.levels.as_slice());
    compare_repeated(before, again, after)
        .map(|comparison| comparison.on(other))
        .map_err(|unlike| unlike.to_string())
}

fn place<'a>(name: &'a str, report: &'a Report) -> Place<'a> {
    let machine = report.machine.as_ref();
    Place {
        name,
        nodes: &report.nodes,
        cpu: machine.and_then(|machine| machine.cpu.as_deref()),
    }
}

/// For the status: everything in a few lines.
pub(super) fn summary(report: &Report, tried: &[Tried], again: Option<&Report>) -> Summary {
    Summary {
        scenarios: report.levels.iter().map(scenario).collect(),
        variants: tried
            .iter()
            .map(|one| variant(report, one, again))
            .collect(),
        verdict: verdict(report),
        breaking_point: report
            .breaking_point
            .as_ref()
            .map(|point| format!("{}: {}", point.load, point.reasons.join("; "))),
        primary_bottleneck: report
            .conclusion
            .primary_bottleneck
            .map(Class::title)
            .map(str::to_owned),
        workload: String::new(),
        shortened: None,
    }
}

/// The same as the exit code of `candlepower bench` says.
fn verdict(report: &Report) -> Verdict {
    match report.conclusion.outcome {
        Outcome::Met => Verdict::Met,
        Outcome::Missed => Verdict::Missed,
        // Every request failed, or nothing came in time: the former is too many errors.
        Outcome::NoAnswers if report.levels.iter().any(Level::misses) => Verdict::Missed,
        Outcome::NoAnswers | Outcome::Inconclusive | Outcome::Void => Verdict::Inconclusive,
    }
}

fn scenario(level: &Level) -> ScenarioSummary {
    let verdicts: Vec<_> = level
        .verdicts
        .iter()
        .map(crate::objectives::Verdict::met)
        .collect();
    let met = if verdicts.contains(&Some(false)) {
        Some(false)
    } else if verdicts.is_empty() || verdicts.contains(&None) {
        None
    } else {
        Some(true)
    };
    ScenarioSummary {
        name: level.name.clone(),
        load: level.load_text(),
        users: match &level.load {
            AppliedLoad::Users { users, .. } => i32::try_from(*users).unwrap_or(i32::MAX),
            AppliedLoad::Arrivals { .. } => 0,
        },
        met,
        figures: figures(level),
        intervals: intervals(level),
    }
}

fn intervals(level: &Level) -> Intervals {
    let known = &level.intervals;
    let within = |scale: f64| {
        move |one: Interval| Range {
            low: one.low / scale,
            high: Some(one.high / scale),
        }
    };
    let cut_off = level.figures.ttft_more_than.map(|least| Range {
        low: least.p95 as f64 / 1e6,
        high: None,
    });
    Intervals {
        ttft_p95: cut_off.or(known.ttft_p95.map(within(1e6))),
        tpot: known.tpot.map(within(1e6)),
        tokens_per_second: known.throughput.map(within(1.0)),
        error_rate: known.error_rate.map(within(1.0)),
    }
}

fn figures(level: &Level) -> Figures {
    let measured = &level.figures;
    let seconds = |micros: u64| micros as f64 / 1e6;
    Figures {
        ttft_p50: measured.ttft.map(|ttft| seconds(ttft.p50)),
        ttft_p95: measured.ttft.map(|ttft| seconds(ttft.p95)),
        ttft_p99: measured.ttft.map(|ttft| seconds(ttft.p99)),
        tpot: measured.tpot.map(|tpot| tpot.mean / 1e6),
        tokens_per_second: Some(measured.output_tokens_per_second),
        requests_per_second: Some(measured.requests_per_second),
        error_rate: measured.error_rate,
        requests: measured.succeeded,
    }
}

fn variant(deployment: &Report, tried: &Tried, again: Option<&Report>) -> VariantSummary {
    let (scenarios, result) = match &tried.result {
        Err(why) => (Vec::new(), format!("not measured: {why}")),
        Ok(report) => {
            let scenarios = report.levels.iter().map(scenario).collect();
            let result = match beside(deployment, again, &tried.name, report) {
                Ok(comparison) => comparison.levels.last().map_or_else(String::new, in_words),
                Err(unlike) => unlike,
            };
            (scenarios, result)
        }
    };
    let drifted = drift(deployment, again).is_some_and(|drift| drift.has_changed());
    let warning = if drifted && tried.result.is_ok() {
        "; the deployment itself had changed when it was measured again, and what lies within that \
         is no difference"
    } else {
        ""
    };
    VariantSummary {
        name: tried.name.clone(),
        scenarios,
        result: result + warning,
    }
}

/// Of the highest load, which is where a change shows.
fn in_words(level: &LevelComparison) -> String {
    let rows = level.rows.iter().filter_map(row_in_words);
    let rows: Vec<_> = rows.collect();
    format!("under {}: {}", level.load, rows.join(", "))
}

fn row_in_words(row: &Row) -> Option<String> {
    let name = match row.metric {
        Compared::TtftP95 => "TTFT-P95",
        Compared::Tpot => "TPOT",
        Compared::Throughput => "tokens per second",
        Compared::TtftP50 | Compared::ErrorRate | Compared::Memory | Compared::GpuMemory => {
            return None;
        }
    };
    let verdict = match row.verdict {
        Change::Better => "better",
        Change::Worse => "worse",
        Change::NoDifference => "no certain difference",
        Change::WithinDrift => "within the deployment's own drift",
        Change::CutOff => "requests were cut off while they waited",
        Change::OtherMachine => "on a machine of another kind",
        Change::NotKnown => "too few requests to say",
    };
    Some(match row.change {
        Some(change) => format!("{name} {:+.0}% ({verdict})", change * 100.0),
        None => format!("{name} not known ({verdict})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{comparison::Estimate, testing::Plant},
        record::{ErrorClass, Outcome as Ended, TokenTimes},
        report::{Options, build},
    };
    use candlepower_api::benchmark::job::NodeFacts;

    fn row(metric: Compared, change: f64, verdict: Change) -> Row {
        let estimate = Estimate {
            value: Some(1.0),
            interval: None,
            more_than: None,
        };
        Row {
            metric,
            before: estimate,
            again: None,
            after: estimate,
            change: Some(change),
            verdict,
        }
    }

    #[test]
    fn a_change_is_told_with_what_may_be_said_of_it() {
        let level = LevelComparison {
            scenario: "high".into(),
            load: "50 users".into(),
            rows: vec![
                row(Compared::TtftP50, -0.5, Change::Better),
                row(Compared::TtftP95, -0.352, Change::Better),
                row(Compared::Tpot, 0.01, Change::NoDifference),
                row(Compared::Throughput, -0.2, Change::Worse),
            ],
        };
        assert_eq!(
            in_words(&level),
            "under 50 users: TTFT-P95 -35% (better), TPOT +1% (no certain difference), tokens per second -20% (worse)"
        );
    }

    #[test]
    fn a_variant_is_judged_by_both_rounds_of_the_deployment() {
        let report_of = |tpot| Plant::report(&[Plant::with(|plant| plant.tpot = tpot)]);
        let (first, last) = (report_of(30.0), report_of(20.0));
        let tried = Tried {
            name: "q4".into(),
            result: Ok(report_of(25.0)),
        };
        let alone = variant(&first, &tried, None).result;
        assert!(alone.contains("TPOT -17% (better)"), "{alone}");
        let beside_drift = variant(&first, &tried, Some(&last)).result;
        assert!(
            beside_drift.contains("TPOT -17% (within the deployment's own drift)"),
            "{beside_drift}"
        );
        assert!(beside_drift.contains("the deployment itself had changed"));
        let all = comparisons(&first, &[tried], Some(&last));
        let drift: Vec<_> = all.iter().map(Comparison::is_drift).collect();
        assert_eq!(drift, [false, true]);
    }

    #[test]
    fn a_variant_on_another_kind_of_node_is_measured_and_not_judged() {
        let on = |name: &str, cores: u32, tpot| {
            let mut report = Plant::report(&[Plant::with(|plant| plant.tpot = tpot)]);
            report.nodes = vec![NodeFacts {
                name: name.into(),
                cpu_millicores: Some(cores * 1000),
                ..NodeFacts::default()
            }];
            report
        };
        let first = on("a", 16, 30.0);
        let tried = |report| Tried {
            name: "q4".into(),
            result: Ok(report),
        };
        let alike = variant(&first, &tried(on("b", 16, 20.0)), None).result;
        assert!(alike.contains("(better)"), "{alike}");
        let other = tried(on("b", 8, 20.0));
        let result = variant(&first, &other, None).result;
        assert!(
            result.contains("TPOT -33% (on a machine of another kind)"),
            "{result}"
        );
        let compared = &comparisons(&first, &[other], None)[0];
        assert!(!compared.has_changed() && compared.is_of_another_machine());
    }

    #[test]
    fn a_verdict_is_given_only_where_figures_give_one() {
        let verdict_of = |outcome| {
            let mut report = Plant::report(&[Plant::default()]);
            report.conclusion.outcome = outcome;
            verdict(&report)
        };
        assert_eq!(verdict_of(Outcome::Met), Verdict::Met);
        assert_eq!(verdict_of(Outcome::Missed), Verdict::Missed);
        for none in [Outcome::Inconclusive, Outcome::Void, Outcome::NoAnswers] {
            assert_eq!(verdict_of(none), Verdict::Inconclusive, "{none:?}");
        }
    }

    #[test]
    fn a_target_that_only_fails_has_missed_its_objective_of_errors() {
        let (mut run, evidence) = Plant::run(&[Plant::default()]);
        for request in &mut run.scenarios[0].requests {
            request.tokens = TokenTimes::default();
            request.outcome = Ended::Failed {
                class: ErrorClass::Connect,
                status: None,
                message: String::new(),
            };
        }
        let options = Options {
            objectives: crate::analysis::testing::objectives(),
            ..Options::default()
        };
        let report = build(&run, &evidence, &options);
        assert_eq!(report.conclusion.outcome, Outcome::NoAnswers);
        assert_eq!(verdict(&report), Verdict::Missed);
    }
}
