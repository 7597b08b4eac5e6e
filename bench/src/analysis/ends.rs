//! Under which load a container of the target ended. Pure.
use super::level::{Level, concurrency};
use crate::{
    evidence::ends::ContainerEnd,
    record::{Micros, Run},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Kubernetes tells whole seconds.
const SECOND: Micros = 1_000_000;

/// A container that ended while a scenario's load was on.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndUnderLoad {
    /// The end.
    #[serde(flatten)]
    pub end: ContainerEnd,
    /// Requests in flight in the second before, on average.
    pub in_flight: f64,
}

/// `container server of pod tiny-1: OOMKilled, exit status 137, 42 s after the run had begun`.
impl fmt::Display for EndUnderLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = &self.end;
        write!(
            f,
            "container {} of pod {}: {}, exit status {}, {} s after the run had begun",
            end.container,
            end.pod,
            end.reason,
            end.exit_code,
            end.at / SECOND
        )
    }
}

/// Puts each end to the level whose load was on, or was the last before it.
pub fn place(levels: &mut [Level], run: &Run, ends: &[ContainerEnd]) {
    for end in ends {
        let mut scenarios = run.scenarios.iter();
        let begun = scenarios.rposition(|one| one.started <= end.at + SECOND);
        let place = begun.unwrap_or_default();
        let Some((level, scenario)) = levels.get_mut(place).zip(run.scenarios.get(place)) else {
            continue;
        };
        let second = (end.at.saturating_sub(SECOND), end.at.max(SECOND));
        level.ended.push(EndUnderLoad {
            end: end.clone(),
            in_flight: concurrency(scenario, second),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::{Plant, out_of_memory};

    #[test]
    fn an_end_belongs_to_the_load_that_was_on_or_was_the_last_before_it() {
        let at = |users| Plant {
            users,
            ..Plant::default()
        };
        let (mut run, mut evidence) = Plant::run(&[at(2), at(8)]);
        let second = run.scenarios[1].started;
        run.scenarios[1].started += 5 * SECOND;
        let ends = [0, second - 10 * SECOND, second, second + 20 * SECOND];
        evidence.container_ends = Some(ends.map(out_of_memory).to_vec());
        let report = crate::report::build(&run, &evidence, &crate::report::Options::default());
        let counts: Vec<_> = report.levels.iter().map(|one| one.ended.len()).collect();
        assert_eq!(counts, [3, 1]);
        let under_load = &report.levels[1].ended[0];
        assert!(
            (7.0..=8.0).contains(&under_load.in_flight),
            "{under_load:?}"
        );
        assert_eq!(
            under_load.to_string(),
            "container server of pod tiny-1: OOMKilled, exit status 137, 80 s after the run had begun"
        );
    }
}
