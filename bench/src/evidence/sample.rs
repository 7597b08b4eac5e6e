//! Which requests' traces are fetched: those at the percentiles, the slowest, and a random sample.
//!
//! Ids are known because the load generator made them; nothing has to be searched for.
use super::{http::Server, jaeger, trace::Trace};
use crate::{
    figures::{e2e, succeeded},
    record::{RequestRecord, Run, ScenarioRun},
};
use hyper::StatusCode;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a trace is in the evidence.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The request at the median of end-to-end time.
    P50,
    /// The request at the 95th percentile.
    P95,
    /// The request at the 99th percentile.
    P99,
    /// The slowest request.
    Slowest,
    /// One of a seeded random sample, which shares are computed from.
    Sample,
}

/// A request whose trace is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// The scenario.
    pub scenario: String,
    /// The trace.
    pub trace_id: String,
    /// Why it is wanted.
    pub role: Role,
}

/// Traces wanted at random from each scenario.
pub const SAMPLE: usize = 40;

/// The requests of a run whose traces are wanted; the same run wants the same ones.
pub fn wanted(run: &Run, sample: usize) -> Vec<Wanted> {
    let seed = run.workload.seed.unsigned_abs();
    let scenarios = run.scenarios.iter().enumerate();
    scenarios
        .flat_map(|(place, scenario)| of_scenario(scenario, sample, seed ^ place as u64))
        .collect()
}

fn of_scenario(scenario: &ScenarioRun, sample: usize, seed: u64) -> Vec<Wanted> {
    let traced = |one: &&RequestRecord| succeeded(one) && !one.trace_id.is_empty();
    let mut requests: Vec<_> = scenario.measured().filter(traced).collect();
    requests.sort_by_key(|one| (e2e(one, scenario.began(one)), one.index));
    let want = |one: &RequestRecord, role| Wanted {
        scenario: scenario.name.clone(),
        trace_id: one.trace_id.clone(),
        role,
    };
    let Some(slowest) = requests.last() else {
        return vec![];
    };
    let at = |percent: usize| (requests.len() * percent).div_ceil(100).max(1) - 1;
    let mut wanted = vec![
        want(requests[at(50)], Role::P50),
        want(requests[at(95)], Role::P95),
        want(requests[at(99)], Role::P99),
        want(slowest, Role::Slowest),
    ];
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for taken in 0..sample.min(requests.len()) {
        // A partial Fisher-Yates shuffle: each request at most once, all equally likely.
        let left = (requests.len() - taken) as u64;
        let pick = usize::try_from(random.next_u64() % left).unwrap_or_default();
        requests.swap(taken, taken + pick);
        wanted.push(want(requests[taken], Role::Sample));
    }
    wanted
}

/// A trace, and what it stands for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sampled {
    /// The scenario.
    pub scenario: String,
    /// What it stands for.
    pub role: Role,
    /// The trace itself.
    pub trace: Trace,
}

/// What came of fetching.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// The traces that Jaeger had.
    pub traces: Vec<Sampled>,
    /// How many it did not have.
    pub absent: usize,
    /// Why the rest was not asked for, where Jaeger stopped answering.
    pub failure: Option<String>,
}

/// Fetches traces by id, each from all Jaegers, because one beside a pod has that pod's alone. After a
/// failure nothing more is asked for.
pub async fn fetch(jaegers: &[Server], wanted: &[Wanted]) -> Fetched {
    let mut known: BTreeMap<&str, Option<Trace>> = BTreeMap::new();
    let mut fetched = Fetched::default();
    for one in wanted {
        let id = one.trace_id.as_str();
        if !known.contains_key(id) {
            match by_id(jaegers, id).await {
                Ok(trace) => {
                    fetched.absent += usize::from(trace.is_none());
                    known.insert(id, trace);
                }
                Err(why) => {
                    fetched.failure = Some(why);
                    break;
                }
            }
        }
        if let Some(Some(trace)) = known.get(id) {
            fetched.traces.push(Sampled {
                scenario: one.scenario.clone(),
                role: one.role,
                trace: trace.clone(),
            });
        }
    }
    fetched
}

async fn by_id(jaegers: &[Server], id: &str) -> Result<Option<Trace>, String> {
    let path = format!("/api/v3/traces/{id}");
    let mut parts = vec![];
    for jaeger in jaegers {
        let (status, body) = jaeger.get(&path).await.map_err(|error| error.to_string())?;
        match status {
            StatusCode::OK => parts.push(jaeger::parse(&body).map_err(|error| error.to_string())?),
            StatusCode::NOT_FOUND => {}
            other => return Err(format!("{} answered {other}", jaeger.url())),
        }
    }
    Ok(jaeger::merge(parts).into_iter().find(|one| one.id == id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{request, scenario};

    fn requests(count: u64) -> ScenarioRun {
        let requests = (1..=count).map(|place| {
            let mut one = request(0, 0, &[place, place * 10]);
            one.index = place;
            one.trace_id = place.to_string();
            one
        });
        scenario((0, 1_000_000), requests.collect())
    }

    #[test]
    fn the_percentiles_and_the_slowest_are_wanted_by_name() {
        let wanted = of_scenario(&requests(100), 0, 1);
        let ids: Vec<_> = wanted.iter().map(|one| one.trace_id.as_str()).collect();
        assert_eq!(ids, ["50", "95", "99", "100"]);
    }

    #[test]
    fn the_sample_is_random_but_the_same_each_time_and_without_repetition() {
        let sample = |seed| {
            let wanted = of_scenario(&requests(100), 40, seed);
            let mut ids: Vec<_> = wanted[4..].iter().map(|one| one.trace_id.clone()).collect();
            ids.sort();
            ids.dedup();
            ids
        };
        assert_eq!(sample(7).len(), 40);
        assert_eq!(sample(7), sample(7));
        assert_ne!(sample(7), sample(8));
    }

    #[test]
    fn few_requests_are_all_in_the_sample_and_none_want_nothing() {
        assert_eq!(of_scenario(&requests(3), 40, 1).len(), 4 + 3);
        assert_eq!(of_scenario(&requests(0), 40, 1), []);
    }
}
