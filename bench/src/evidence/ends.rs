//! Containers of the target that ended while the load was on.
use super::{Evidence, series::Quantity};
use crate::record::{Micros, Outcome, Run};
use candlepower_api::{
    benchmark::job::Termination,
    names::{conditions::OOM_KILLED, containers},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A node's clock and the load generator's may differ by so much, and a node tells whole seconds.
const CLOCKS: Micros = 2_000_000;
/// How long after an end Kubernetes and the operator may take to tell of it.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The end of a container.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerEnd {
    /// Its pod.
    pub pod: String,
    /// Its name.
    pub container: String,
    /// Kubernetes' reason, such as `OOMKilled` or `Error`.
    pub reason: String,
    /// Its exit status.
    pub exit_code: i32,
    /// When, in microseconds of the run's clock, to the second.
    pub at: Micros,
}

impl ContainerEnd {
    /// Whether requests ended with it: what stands beside the server may end without harm.
    pub fn is_of_server(&self) -> bool {
        self.container == containers::SERVER
    }

    /// Whether the kernel ended the server for lack of memory.
    pub fn is_out_of_memory(&self) -> bool {
        self.is_of_server() && self.reason == OOM_KILLED
    }
}

/// Those of `told` that lie within the time of `run`, in their order.
pub fn within(run: &Run, told: &[Termination]) -> Vec<ContainerEnd> {
    let last = run.scenarios.iter().map(|one| one.ended).max();
    let over = run.started_at + last.unwrap_or_default();
    let time = run.started_at.saturating_sub(CLOCKS)..=over + CLOCKS;
    let mut ends: Vec<_> = told
        .iter()
        .filter(|one| time.contains(&one.finished_at))
        .map(|one| ContainerEnd {
            pod: one.pod.clone(),
            container: one.container.clone(),
            reason: one.reason.clone(),
            exit_code: one.exit_code,
            at: one.finished_at.saturating_sub(run.started_at),
        })
        .collect();
    ends.sort_by_key(|one| one.at);
    ends
}

/// Adds to `known` what is news in `told`: of each container only the last end is told.
pub fn add(known: &mut Vec<Termination>, told: Vec<Termination>) {
    for one in told {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}

/// How long to wait before it is asked how containers fared: nothing where all went well.
pub fn until_told(run: &Run, evidence: &Evidence) -> Duration {
    if !looks_ended(run, evidence) {
        return Duration::ZERO;
    }
    let end = run.scenarios.iter().map(|one| one.ended).max();
    let end = Duration::from_micros(run.started_at + end.unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    TOLD_WITHIN.saturating_sub(now.unwrap_or_default().saturating_sub(end))
}

/// Whether something ended: requests failed, or counters began anew.
fn looks_ended(run: &Run, evidence: &Evidence) -> bool {
    let mut requests = run.scenarios.iter().flat_map(|one| &one.requests);
    let restarts = evidence.series(Quantity::Restarts);
    let counted =
        restarts.is_some_and(|series| series.points.iter().any(|(_, count)| *count > 0.0));
    counted || requests.any(|one| matches!(one.outcome, Outcome::Failed { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::Plant;

    fn end(container: &str, finished_at: u64) -> Termination {
        Termination {
            pod: "tiny-1".into(),
            container: container.into(),
            reason: OOM_KILLED.into(),
            exit_code: 137,
            finished_at,
        }
    }

    #[test]
    fn only_ends_within_the_runs_time_count_and_clocks_may_differ_a_little() {
        let (run, _) = Plant::run(&[Plant::default()]);
        let over = run.scenarios[0].ended;
        let told = [
            run.started_at + over + 2_500_000,
            run.started_at + over + 1_000_000,
            run.started_at - 1_000_000,
            run.started_at - 3_000_000,
        ]
        .map(|at| end("server", at));
        let at: Vec<_> = within(&run, &told).iter().map(|one| one.at).collect();
        assert_eq!(at, [0, over + 1_000_000]);
    }

    #[test]
    fn what_was_told_before_is_kept_when_the_same_container_ends_again() {
        let mut known = vec![];
        for told in [vec![end("server", 1)], vec![end("server", 2)], vec![]] {
            add(&mut known, told);
        }
        add(&mut known, vec![end("server", 2)]);
        assert_eq!(known, [end("server", 1), end("server", 2)]);
    }

    #[test]
    fn a_sidecar_without_memory_is_no_server_without_memory() {
        let (run, _) = Plant::run(&[Plant::default()]);
        let told = ["server", "jaeger"].map(|name| end(name, run.started_at));
        let ends = within(&run, &told);
        let out: Vec<_> = ends.iter().map(ContainerEnd::is_out_of_memory).collect();
        assert_eq!(out, [true, false]);
    }
    #[test]
    fn only_a_run_that_lost_requests_or_counters_is_waited_for() {
        let (run, mut evidence) = Plant::run(&[Plant::default()]);
        assert!(!looks_ended(&run, &evidence));
        let (failed, _) = Plant::run(&[Plant::with(|plant| plant.refused = 5)]);
        assert!(looks_ended(&failed, &evidence));
        evidence.series.push(crate::evidence::series::Series {
            quantity: Quantity::Restarts,
            metric: String::new(),
            points: vec![(0, 0.0), (1, 1.0)],
        });
        assert!(looks_ended(&run, &evidence));
    }

    #[test]
    fn neither_a_run_that_is_long_over_nor_one_in_which_all_went_well_is_waited_for() {
        let (mut run, evidence) = Plant::run(&[Plant::with(|plant| plant.refused = 5)]);
        assert_eq!(until_told(&run, &evidence), Duration::ZERO);
        let just_over = |run: &mut Run| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            run.started_at = u64::try_from(now.as_micros()).unwrap() - run.scenarios[0].ended;
        };
        just_over(&mut run);
        let left = until_told(&run, &evidence);
        assert!(
            left > Duration::from_secs(3) && left <= TOLD_WITHIN,
            "{left:?}"
        );
        let (mut well, evidence) = Plant::run(&[Plant::default()]);
        just_over(&mut well);
        assert_eq!(until_told(&well, &evidence), Duration::ZERO);
    }
}
