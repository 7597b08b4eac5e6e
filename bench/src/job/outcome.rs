//! What all rounds come to. Pure.
use crate::{
    analysis::{
        comparison::{Change, Compared, Comparison, LevelComparison, Row, Side, compare},
        findings::Class,
        level::Level,
    },
    record::AppliedLoad,
    report::{Outcome, Report},
};
use candlepower_api::benchmark::job::{Figures, ScenarioSummary, Summary, VariantSummary, Verdict};

/// What the deployment is called in comparisons, and what it is called when it is measured again.
const DEPLOYMENT: &str = "the deployment";
const AGAIN: &str = "the deployment again";

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
        beside(deployment, &one.name, report).ok()
    });
    let again = again.and_then(|again| beside(deployment, AGAIN, again).ok());
    changed.chain(again).collect()
}

fn beside(before: &Report, name: &str, after: &Report) -> Result<Comparison, String> {
    // The same work by intention: only the seed of the deployment's second round differs.
    let workload = &before.run.workload;
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
    compare(before, after).map_err(|unlike| unlike.to_string())
}

/// For the status: everything in a few lines.
pub(super) fn summary(report: &Report, tried: &[Tried], again: Option<&Report>) -> Summary {
    let drift = again.and_then(|again| beside(report, AGAIN, again).ok());
    let drift = drift.as_ref().is_some_and(has_changed);
    Summary {
        scenarios: report.levels.iter().map(scenario).collect(),
        variants: tried
            .iter()
            .map(|one| variant(report, one, drift))
            .collect(),
        verdict: match report.conclusion.outcome {
            Outcome::Met => Verdict::Met,
            Outcome::Missed | Outcome::NoAnswers => Verdict::Missed,
            Outcome::Void => Verdict::Inconclusive,
        },
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

fn has_changed(comparison: &Comparison) -> bool {
    let rows = comparison.levels.iter().flat_map(|level| &level.rows);
    rows.into_iter()
        .any(|row| matches!(row.verdict, Change::Better | Change::Worse))
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

fn variant(deployment: &Report, tried: &Tried, drift: bool) -> VariantSummary {
    let (scenarios, result) = match &tried.result {
        Err(why) => (Vec::new(), format!("not measured: {why}")),
        Ok(report) => {
            let scenarios = report.levels.iter().map(scenario).collect();
            let result = match beside(deployment, &tried.name, report) {
                Ok(comparison) => comparison.levels.last().map_or_else(String::new, in_words),
                Err(unlike) => unlike,
            };
            (scenarios, result)
        }
    };
    let warning = if drift && tried.result.is_ok() {
        "; but the deployment itself had changed when it was measured again"
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
        Compared::TtftP50 | Compared::ErrorRate => return None,
    };
    let change = row.change?;
    let verdict = match row.verdict {
        Change::Better => "better",
        Change::Worse => "worse",
        Change::NoDifference => "no certain difference",
        Change::NotKnown => "too few requests to say",
    };
    Some(format!("{name} {:+.0}% ({verdict})", change * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::comparison::Estimate;

    fn row(metric: Compared, change: f64, verdict: Change) -> Row {
        let estimate = Estimate {
            value: Some(1.0),
            interval: None,
        };
        Row {
            metric,
            before: estimate,
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
}
