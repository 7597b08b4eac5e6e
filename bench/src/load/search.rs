//! The search for the highest load that still meets the objectives: doubling, then halving the gap.
use super::{
    health,
    plan::{Load, ScenarioPlan},
};
use crate::{
    figures::Figures,
    objectives::{Objective, judge},
    record::ScenarioRun,
};
use std::time::Duration;

/// A search for the highest load within objectives.
#[derive(Clone, Debug)]
pub struct Search {
    /// What is raised.
    pub by: By,
    /// The lowest load that is tried.
    pub from: f64,
    /// The highest.
    pub to: f64,
    /// How long each load lasts, warm-up included.
    pub duration: Duration,
    /// The beginning of each that does not count.
    pub warm_up: Duration,
    /// How long unfinished requests of each may go on.
    pub cool_down: Duration,
    /// What has to be met. Throughput is not among them: a low load misses it whatever the server can do.
    pub objectives: Vec<Objective>,
}

/// What a search raises.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// Closed users.
    Users,
    /// Requests per second that arrive at random.
    Rate,
}

/// The gap between the highest load that met and the lowest that missed at which a search ends.
const CLOSE: f64 = 1.1;

/// How far a search is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) met: Option<f64>,
    pub(super) missed: Option<f64>,
}

impl Found {
    /// The next load to try; none where the search is over.
    pub(super) fn next(self, search: &Search) -> Option<f64> {
        match (self.met, self.missed) {
            (None, None) => Some(search.from),
            (None, Some(_)) => None,
            (Some(met), None) => (met < search.to).then(|| (met * 2.0).min(search.to)),
            (Some(met), Some(missed)) if missed <= met * CLOSE => None,
            (Some(met), Some(missed)) => match search.by {
                By::Rate => Some((met * missed).sqrt()),
                By::Users => {
                    let middle = f64::midpoint(met, missed).floor();
                    (middle > met).then_some(middle)
                }
            },
        }
    }

    pub(super) fn learn(&mut self, load: f64, met: bool) {
        if met {
            self.met = Some(load);
        } else {
            self.missed = Some(load);
        }
    }
}

impl Search {
    /// The scenario of a load.
    pub(super) fn scenario(&self, load: f64) -> ScenarioPlan {
        // Loads of users are whole and between 1 and 10,000.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let users = load as u32;
        ScenarioPlan {
            name: self.name(load),
            load: match self.by {
                By::Users => Load::Users {
                    users,
                    spawn_rate: users,
                },
                By::Rate => Load::Poisson { rate: load },
            },
            duration: self.duration,
            warm_up: self.warm_up,
            cool_down: self.cool_down,
        }
    }

    /// The name of a load's scenario.
    pub(super) fn name(&self, load: f64) -> String {
        match self.by {
            By::Users => format!("search-users-{load:.0}"),
            By::Rate => format!("search-rate-{load:.2}"),
        }
    }

    /// Whether a load met all objectives; a load that the generator could not apply did not.
    pub(super) fn met(&self, scenario: &ScenarioRun) -> bool {
        let verdicts = judge(&Figures::of(scenario), &self.objectives);
        scenario.stopped.is_none()
            && health::problems(&scenario.generator).is_empty()
            && verdicts.iter().all(|verdict| verdict.met() == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loads that are tried where `knee` is the highest that meets the objectives.
    fn tried(by: By, to: f64, knee: f64) -> (Vec<f64>, Found) {
        let search = Search {
            by,
            from: 1.0,
            to,
            duration: Duration::from_secs(10),
            warm_up: Duration::ZERO,
            cool_down: Duration::ZERO,
            objectives: vec![],
        };
        let (mut loads, mut found) = (Vec::new(), Found::default());
        while let Some(load) = found.next(&search) {
            loads.push(load);
            found.learn(load, load <= knee);
        }
        (loads, found)
    }

    #[test]
    fn users_are_doubled_and_then_the_gap_is_halved() {
        let (loads, found) = tried(By::Users, 100.0, 11.0);
        assert_eq!(loads, [1.0, 2.0, 4.0, 8.0, 16.0, 12.0, 10.0, 11.0]);
        assert_eq!((found.met, found.missed), (Some(11.0), Some(12.0)));
    }

    #[test]
    fn a_rate_is_found_to_a_tenth() {
        for knee in [1.3, 7.7, 59.0] {
            let (loads, found) = tried(By::Rate, 64.0, knee);
            let met = found.met.unwrap();
            assert!(met <= knee && knee < met * CLOSE, "{knee}: {met}");
            assert!(loads.len() < 12, "{loads:?}");
        }
    }

    #[test]
    fn it_ends_at_its_highest_load_and_where_the_lowest_is_too_much() {
        let (loads, found) = tried(By::Users, 6.0, 100.0);
        assert_eq!((loads, found.missed), (vec![1.0, 2.0, 4.0, 6.0], None));
        let (loads, found) = tried(By::Users, 6.0, 0.5);
        assert_eq!((loads, found.met), (vec![1.0], None));
    }
}
