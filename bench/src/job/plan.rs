//! From an assignment to a plan of load.
use crate::load::{
    plan::{Invalid, Plan, TIMEOUT, Target},
    profiles,
};
use candlepower_api::benchmark::{LLMBenchmarkSpec, Workload, job::Served};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Whether the server has answered the same prompts before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Prompts {
    /// It has not.
    New,
    /// It has, and its prefix cache may hold them: others of the same lengths are sent.
    Seen,
}

/// The load of `spec` on `served`: the same on the deployment and on each copy of it.
pub(super) fn plan(
    spec: &LLMBenchmarkSpec,
    served: &Served,
    api_key: Option<String>,
    prompts: Prompts,
) -> Result<Plan, Invalid> {
    let plan = Plan {
        target: Target {
            url: served.url.clone(),
            model: Some(served.model.clone()),
            api_key,
        },
        workload: Workload {
            seed: match prompts {
                Prompts::New => spec.workload.seed,
                Prompts::Seen => spec.workload.seed.wrapping_add(1),
            },
            ..spec.workload.clone()
        },
        scenarios: profiles::scenarios(spec.profile, &spec.scenarios)?,
        search: None,
        stop_when: spec.stop_when.as_ref().map(|limit| limit.error_rate),
        timeout: TIMEOUT,
    };
    plan.validate()?;
    Ok(plan)
}

/// What two runs must have in common to be compared.
pub(super) fn fingerprint(spec: &LLMBenchmarkSpec) -> String {
    let work = serde_json::json!([spec.workload, spec.profile, spec.scenarios]);
    let mut text = String::new();
    for byte in Sha256::digest(work.to_string()).iter().take(8) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::benchmark::Profile;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn spec(value: &Value) -> LLMBenchmarkSpec {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn the_operators_deadline_is_made_of_the_same_lengths_as_the_load() {
        for profile in [Profile::Standard, Profile::Quick] {
            let scenarios = profiles::scenarios(profile, &[]).unwrap();
            let load: Duration = scenarios.iter().map(|one| one.duration).sum();
            assert_eq!(profile.longest(&[]), load);
            assert_eq!(profile.count(&[]), scenarios.len());
        }
    }

    #[test]
    fn runs_of_the_same_work_have_the_same_fingerprint_whatever_they_measure() {
        let one = spec(&json!({"target": {"deployment": "a"}, "profile": "quick"}));
        let same = spec(&json!({"target": {"deployment": "b"}, "profile": "quick"}));
        let other = spec(&json!({"target": {"deployment": "a"}, "workload": {"seed": 2}}));
        assert_eq!(fingerprint(&one), fingerprint(&same));
        assert_ne!(fingerprint(&one), fingerprint(&other));
    }

    #[test]
    fn a_scenario_without_sense_is_refused_before_any_request() {
        let wrong = spec(
            &json!({"target": {"url": "http://a", "model": "m"}, "profile": "custom",
            "scenarios": [{"name": "a", "users": 1, "duration": "1s", "warmUp": "2s"}]}),
        );
        let served: Served =
            serde_json::from_value(json!({"url": "http://a", "model": "m"})).unwrap();
        assert!(matches!(
            plan(&wrong, &served, None, Prompts::New),
            Err(Invalid::NoWindow(_))
        ));
    }
}
