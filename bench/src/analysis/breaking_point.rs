//! The first level of load that is too much.
use super::level::{Level, by_concurrency};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Failures beyond this share are too many under any objectives.
const ERRORS: f64 = 0.05;

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
    let ordered = by_concurrency(levels);
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
    if level.out_of_memory().is_some() {
        reasons.push("a server was ended for lack of memory".to_owned());
    }
    let flat = before.and_then(|before| level.flat_after(before));
    // What saturated users says begins with the same.
    let said = |flat: &String| {
        let why = level.saturated.as_ref();
        why.is_some_and(|why| why.starts_with(flat))
    };
    reasons.extend(flat.filter(|flat| !said(flat)));
    reasons.extend(level.saturated.clone());
    reasons
}

#[cfg(test)]
mod tests {
    use crate::{
        analysis::testing::{Plant, objectives, out_of_memory},
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
    fn more_than_five_failures_of_a_hundred_are_a_reason() {
        let few = [at(2, |_| {}), at(8, |one| one.refused = 3)];
        assert_eq!(report(&few, vec![]).breaking_point, None);
        let many = [at(2, |_| {}), at(8, |one| one.refused = 30)];
        let point = report(&many, vec![]).breaking_point.unwrap();
        assert_eq!(point.scenario, "8 users");
        let failed = |reason: &String| reason.contains("% of the requests failed");
        assert!(point.reasons.iter().any(failed), "{point:?}");
    }

    #[test]
    fn a_server_that_runs_out_of_memory_is_a_reason_and_a_sidecar_is_none() {
        let (run, mut evidence) = Plant::run(&[at(2, |_| {}), at(8, |_| {})]);
        let mut end = out_of_memory(run.scenarios[1].started + 5_000_000);
        let point = |evidence: &crate::evidence::Evidence| {
            build(&run, evidence, &Options::default()).breaking_point
        };
        evidence.container_ends = Some(vec![end.clone()]);
        let found = point(&evidence).unwrap();
        assert_eq!(found.load, "8 users");
        assert_eq!(found.reasons, ["a server was ended for lack of memory"]);
        end.container = "jaeger".to_owned();
        evidence.container_ends = Some(vec![end]);
        assert_eq!(point(&evidence), None);
    }

    #[test]
    fn users_that_only_make_each_other_wait_are_saturation_and_it_is_said_once() {
        let levels = [at(8, |_| {}), at(16, |one| one.tpot = 42.0)];
        let report = report(&levels, vec![]);
        assert_eq!(report.levels[0].saturated, None);
        let why = report.levels[1].saturated.clone().unwrap();
        assert!(why.contains("the median answer's time from"), "{why}");
        assert_eq!(report.breaking_point.unwrap().reasons, [why]);
    }

    #[test]
    fn throughput_that_stands_while_answers_are_as_quick_as_before_is_no_saturation() {
        // Twice the users, and as many tokens a second, because every answer is half as long.
        let levels = [
            at(8, |_| {}),
            at(16, |one| {
                one.output = 16;
                one.prefill = 420.0;
            }),
        ];
        let report = report(&levels, vec![]);
        assert_eq!(report.levels[1].saturated, None);
        let point = report.breaking_point.unwrap();
        assert!(point.reasons[0].contains("tokens/s although"), "{point:?}");
    }

    #[test]
    fn arrivals_that_pile_up_are_a_reason() {
        let (mut run, evidence) = Plant::run(&[at(8, |_| {})]);
        let scenario = &mut run.scenarios[0];
        scenario.load = crate::record::AppliedLoad::Arrivals {
            process: "constant".to_owned(),
            rate: 9.0,
        };
        scenario.requests.sort_by_key(|one| one.sent);
        // Each waits 20 ms longer than the one before.
        for (place, request) in scenario.requests.iter_mut().enumerate() {
            let late = 20_000 * place as u64;
            request.tokens = request.tokens.iter().map(|time| time + late).collect();
            request.finished += late;
        }
        let point = build(&run, &evidence, &Options::default())
            .breaking_point
            .unwrap();
        let piles = |reason: &String| reason.contains("requests in flight grew");
        assert!(point.reasons.iter().any(piles), "{point:?}");
    }

    #[test]
    fn throughput_that_grows_with_the_load_breaks_nothing() {
        let levels = [at(4, |_| {}), at(8, |_| {}), at(16, |_| {})];
        assert_eq!(report(&levels, objectives()).breaking_point, None);
    }
}
