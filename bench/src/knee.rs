//! What a search for the highest load within the objectives comes to, for the summary, the exit code and the report. Pure.
//!
//! A search goes on until a load is too much, so that its scenarios are meant to miss in the end: what counts is the one
//! at the knee.
use crate::{
    figures::Figures,
    load::health,
    objectives::{Metric, Objective, Verdict, judge, of_resource},
    record::{Knee, Run, ScenarioRun},
};
use candlepower_api::benchmark::Objectives;

/// What a search judges loads by: those of LLMBenchmark where none is given, and never throughput, which a low load
/// misses whatever the server can do.
pub fn objectives(given: &[Objective]) -> Vec<Objective> {
    let mut objectives = if given.is_empty() {
        of_resource(&Objectives::default())
    } else {
        given.to_vec()
    };
    objectives.retain(|one| one.metric != Metric::TokensPerSecond);
    objectives
}

/// Whether a search met the objectives: by the scenario at its knee, or by all of them where even the lowest load was too
/// much. None where nothing can be said of the target.
pub fn met(run: &Run, knee: &Knee, given: &[Objective]) -> Option<bool> {
    if run.stopped.is_some() {
        return None;
    }
    let objectives = objectives(given);
    let verdicts = |scenario| judge(&Figures::of(scenario), &objectives);
    let missed = |verdicts: &[Verdict]| verdicts.iter().any(|one| one.met() == Some(false));
    let Some(name) = &knee.scenario else {
        let fair = |scenario: &&ScenarioRun| health::problems(&scenario.generator).is_empty();
        let mut fair = run.scenarios.iter().filter(fair);
        return fair.any(|one| missed(&verdicts(one))).then_some(false);
    };
    let mut scenarios = run.scenarios.iter();
    let verdicts = verdicts(scenarios.find(|one| one.name == *name)?);
    if missed(&verdicts) {
        return Some(false);
    }
    // A report may be asked for objectives that the search did not have.
    let known = verdicts.iter().all(|one| one.met().is_some());
    known.then_some(true)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        analysis::testing::{Plant, objectives},
        evidence::Evidence,
        record::GeneratorHealth,
    };

    /// A search that found 4 users within the objectives and 8 too many.
    pub(crate) fn searched() -> (Run, Evidence) {
        let level = |users, queue| Plant {
            users,
            queue,
            ..Plant::default()
        };
        let (mut run, evidence) = Plant::run(&[level(4, 1.0), level(8, 3_000.0)]);
        run.knee = Some(Knee {
            scenario: Some("4 users".to_owned()),
            goodput: 3.0,
            missed_at: Some("8 users".to_owned()),
        });
        (run, evidence)
    }

    /// One of which even the lowest load was too much.
    pub(crate) fn hopeless() -> (Run, Evidence) {
        let (mut run, evidence) = searched();
        run.scenarios.remove(0);
        run.knee = Some(Knee {
            scenario: None,
            goodput: 0.0,
            missed_at: Some("8 users".to_owned()),
        });
        (run, evidence)
    }

    fn judged(run: &Run) -> Option<bool> {
        met(run, run.knee.as_ref().unwrap(), &objectives())
    }

    #[test]
    fn a_search_is_judged_by_its_knee_and_not_by_the_loads_above_it() {
        assert_eq!(judged(&searched().0), Some(true));
        assert_eq!(judged(&hopeless().0), Some(false));
    }

    #[test]
    fn one_that_was_ended_or_whose_generator_was_the_limit_says_nothing() {
        let (mut run, _) = searched();
        run.stopped = Some("the run was interrupted".to_owned());
        assert_eq!(judged(&run), None);
        let (mut run, _) = hopeless();
        run.scenarios[0].generator = GeneratorHealth {
            lag_p99: 50_000,
            ..GeneratorHealth::default()
        };
        assert_eq!(judged(&run), None);
    }

    #[test]
    fn without_objectives_those_of_the_resource_count_and_throughput_never_does() {
        let metrics: Vec<_> = super::objectives(&[])
            .iter()
            .map(|one| one.metric)
            .collect();
        assert!(metrics.contains(&Metric::TtftP95) && !metrics.contains(&Metric::TokensPerSecond));
        let (run, _) = searched();
        let of = |text: &str| met(&run, run.knee.as_ref().unwrap(), &[text.parse().unwrap()]);
        assert_eq!(of("tokens-per-second=1000000"), Some(true));
        assert_eq!(of("ttft-p95=1ms"), Some(false), "asked for afterwards");
    }
}
