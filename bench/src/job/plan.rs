//! From an assignment to a plan of load.
use crate::load::{
    plan::{Invalid, Plan, TIMEOUT, Target, Trust},
    profiles,
};
use candlepower_api::{
    benchmark::{LLMBenchmarkSpec, job::Served},
    names::paths,
};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};
use uuid::Uuid;

/// Texts that no benchmark before has sent.
pub(super) fn new_texts() -> u64 {
    Uuid::new_v4().as_u64_pair().0 >> 1
}

/// The load of `spec` on `served`: the same on the deployment and on each copy of it, but for the `texts` that its prompts
/// are made of.
pub(super) fn plan(
    spec: &LLMBenchmarkSpec,
    served: &Served,
    api_key: Option<String>,
    certificates: Vec<PathBuf>,
    texts: u64,
) -> Result<Plan, Invalid> {
    let plan = Plan {
        target: Target {
            url: served.url.clone(),
            model: Some(served.model.clone()),
            api_key,
            trust: Trust {
                certificates,
                server_name: served.server_name.clone(),
            },
        },
        workload: spec.workload.clone(),
        texts,
        scenarios: profiles::scenarios(spec.profile, &spec.scenarios)?,
        search: None,
        stop_when: spec.stop_when.as_ref().map(|limit| limit.error_rate),
        timeout: TIMEOUT,
    };
    plan.validate()?;
    Ok(plan)
}

/// What the target's certificate is checked by, of what kubelet has put into `folder`. Some that make such Secrets leave
/// the authority's certificate empty.
pub(super) fn certificates(folder: &Path) -> Vec<PathBuf> {
    let holds_some = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 0);
    [paths::TLS_AUTHORITY, paths::TLS_CERTIFICATE]
        .map(|file| folder.join(file))
        .into_iter()
        .filter(holds_some)
        .collect()
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
            plan(&wrong, &served, None, Vec::new(), 0),
            Err(Invalid::NoWindow(_))
        ));
    }

    #[test]
    fn a_target_is_trusted_by_what_its_secret_has() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            certificates(&folder.path().join("none")),
            [""; 0].map(PathBuf::from)
        );
        fs::write(folder.path().join("ca.crt"), "").unwrap();
        fs::write(folder.path().join("tls.crt"), "a").unwrap();
        let found = certificates(folder.path());
        assert_eq!(found, [folder.path().join("tls.crt")]);
        let served: Served = serde_json::from_value(json!({
            "url": "https://copy.team.svc:8443", "serverName": "tiny.team.svc", "model": "m",
        }))
        .unwrap();
        let spec = spec(&json!({"target": {"deployment": "tiny"}, "profile": "quick"}));
        let plan = plan(&spec, &served, None, found.clone(), 0).unwrap();
        assert_eq!(plan.target.trust.certificates, found);
        let name = plan.target.trust.server_name;
        assert_eq!(name.as_deref(), Some("tiny.team.svc"));
    }
}
