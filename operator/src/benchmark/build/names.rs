//! Names and labels of a benchmark's children.
use candlepower_api::names::labels;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The job, its account and its rights.
pub(in crate::benchmark) fn job(benchmark: &str) -> String {
    format!("{benchmark}-bench")
}

/// The ConfigMap of the report.
pub(in crate::benchmark) fn report(benchmark: &str) -> String {
    format!("{benchmark}-report")
}

/// What stands before the name of each job that looks at a node, and of its pods.
pub(in crate::benchmark) fn probes(benchmark: &str) -> String {
    let head: String = benchmark.chars().take(LONGEST_HEAD).collect();
    format!("{}-probe-", head.trim_end_matches('-'))
}

/// The job of the look that the load's job wished for by this number: another look has another one, whatever became of it.
pub(in crate::benchmark) fn probe(benchmark: &str, wish: u32) -> String {
    format!(
        "{}{}",
        probes(benchmark),
        digest(&format!("{benchmark}/{wish}"))
    )
}

/// A temporary copy with this change: short enough for an `LLMDeployment`, and the same each time.
pub(in crate::benchmark) fn copy(benchmark: &str, change: &str) -> String {
    let head: String = benchmark.chars().take(LONGEST_HEAD).collect();
    let head = head.trim_end_matches('-');
    format!("{head}-{}", digest(&format!("{benchmark}/{change}")))
}

/// Six characters that tell names apart.
fn digest(text: &str) -> String {
    let [a, b, c, ..]: [u8; 32] = Sha256::digest(text).into();
    format!("{a:02x}{b:02x}{c:02x}")
}

/// An `LLMDeployment` has a name of at most 50 characters.
const LONGEST_HEAD: usize = 43;

/// All labels of a child of the benchmark `name`.
pub(in crate::benchmark) fn labels(name: &str) -> BTreeMap<String, String> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    BTreeMap::from([
        pair(labels::APP_NAME, labels::BENCH_NAME),
        pair(labels::APP_INSTANCE, name),
        pair(labels::APP_COMPONENT, labels::BENCH_COMPONENT),
        pair(labels::APP_MANAGED_BY, labels::OPERATOR_NAME),
        pair(labels::LLM_BENCHMARK, name),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_of_a_look_are_known_by_their_names() {
        let long = "a".repeat(50);
        let name = probe(&long, 1);
        // Kubernetes shortens what is longer than 57 characters when it names a pod.
        assert!(
            name.starts_with(&probes(&long)) && name.len() <= 57,
            "{name}"
        );
        assert_eq!(probe("nightly", 1), probe("nightly", 1));
        assert_ne!(probe("nightly", 1), probe("nightly", 3));
        assert!(!job("nightly").starts_with(&probes("nightly")));
    }

    #[test]
    fn a_copy_has_a_name_that_a_deployment_may_have() {
        let long = "a".repeat(50);
        assert_eq!(copy(&long, "int8").len(), 50);
        assert_eq!(copy("nightly", "int8"), copy("nightly", "int8"));
        assert_ne!(copy("nightly", "int8"), copy("nightly", "q4"));
        assert!(copy("nightly", "Größer & besser").starts_with("nightly-"));
    }
}
