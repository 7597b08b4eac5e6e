//! The first level of load that is too much.
use super::level::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Failures beyond this share are too many under any objectives.
const ERRORS: f64 = 0.05;
/// Throughput that grows by less than this share although load grew has reached its end.
const MARGINAL: f64 = 0.05;

/// The first level of load that is too much, and why.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakingPoint {
    /// The scenario.
    pub scenario: String,
    /// Its load, in words.
    pub load: String,
    /// All that shows it.
    pub reasons: Vec<String>,
}

/// Levels in the order of their concurrency; the first with a sign of too much load.
pub fn breaking_point(levels: &[Level]) -> Option<BreakingPoint> {
    let mut ordered: Vec<_> = levels.iter().collect();
    ordered.sort_by(|a, b| a.concurrency.total_cmp(&b.concurrency));
    let before = std::iter::once(None).chain(ordered.iter().copied().map(Some));
    before.zip(&ordered).find_map(|(before, level)| {
        let reasons = reasons(before, level);
        (!reasons.is_empty()).then(|| BreakingPoint {
            scenario: level.name.clone(),
            load: level.load_text(),
            reasons,
        })
    })
}

fn reasons(before: Option<&Level>, level: &Level) -> Vec<String> {
    let missed = level.verdicts.iter().filter(|one| one.met() == Some(false));
    let mut reasons: Vec<_> = missed
        .map(|one| format!("the objective {} was missed", one.objective.metric))
        .collect();
    if let Some(rate) = level.figures.error_rate.filter(|rate| *rate > ERRORS) {
        reasons.push(format!("{:.1} % of the requests failed", rate * 100.0));
    }
    if let Some(before) = before {
        let [old, new] = [before, level].map(|level| level.figures.output_tokens_per_second);
        // Only where the load grew by clearly more than throughput would have to.
        let grew = level.concurrency > before.concurrency * (1.0 + 4.0 * MARGINAL);
        if grew && old > 0.0 && new < old * (1.0 + MARGINAL) {
            reasons.push(format!(
                "throughput went from {old:.1} to {new:.1} tokens/s although requests in flight \
                 went from {:.1} to {:.1}",
                before.concurrency, level.concurrency
            ));
        }
    }
    reasons.extend(level.saturated.clone());
    reasons
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::testing::{Plant, objectives},
        report::{Options, Report, build},
    };

    fn report(plants: &[Plant], objectives: Vec<crate::objectives::Objective>) -> Report {
        let (run, evidence) = Plant::run(plants);
        let options = Options {
            objectives,
            ..Options::default()
        };
        build(&run, &evidence, &options)
    }

    fn at(users: u32, change: impl Fn(&mut Plant)) -> Plant {
        let mut plant = Plant {
            users,
            ..Plant::default()
        };
        change(&mut plant);
        plant
    }

    #[test]
    fn the_first_level_that_misses_an_objective_is_it() {
        let levels = [
            at(2, |_| {}),
            at(8, |_| {}),
            at(32, |one| one.queue = 5_000.0),
        ];
        let point = report(&levels, objectives()).breaking_point.unwrap();
        assert_eq!(point.load, "32 users");
        assert!(point.reasons[0].contains("ttft-p50"), "{point:?}");
    }

    #[test]
    fn throughput_that_no_longer_grows_is_a_reason_without_any_objective() {
        let levels = [at(8, |_| {}), at(16, |one| one.tpot = 42.0)];
        let point = report(&levels, vec![]).breaking_point.unwrap();
        assert_eq!(point.scenario, "16 users");
        assert!(point.reasons[0].contains("tokens/s although"), "{point:?}");
    }

    #[test]
    fn throughput_that_grows_with_the_load_breaks_nothing() {
        let levels = [at(4, |_| {}), at(8, |_| {}), at(16, |_| {})];
        assert_eq!(report(&levels, objectives()).breaking_point, None);
    }
}
