//! Pods whose metrics cannot be read. It is told only when it lasts, so that one answer that was
//! lost changes no status.
use super::Key;
use std::collections::HashMap;

/// Rounds without metrics before a pod is told of.
const LASTING: u32 = 2;

/// A pod that gives no metrics, and why.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::deployment) struct Unread {
    pub(in crate::deployment) pod: String,
    pub(in crate::deployment) why: String,
}

/// The pods that gave no metrics in the last round, by uid.
#[derive(Default)]
pub(super) struct Failures(HashMap<String, Failure>);

struct Failure {
    resource: Key,
    pod: Unread,
    /// How often in a row.
    rounds: u32,
}

impl Failures {
    /// Takes in a round: uid, resource, name and reason of each pod that gave no metrics.
    pub(super) fn take<'a>(
        &mut self,
        failed: impl Iterator<Item = (&'a str, &'a Key, &'a str, &'a str)>,
    ) {
        let before = std::mem::take(&mut self.0);
        self.0 = failed
            .map(|(uid, resource, pod, why)| {
                let rounds = before.get(uid).map_or(0, |failure| failure.rounds);
                let failure = Failure {
                    resource: resource.clone(),
                    pod: Unread {
                        pod: pod.to_owned(),
                        why: why.to_owned(),
                    },
                    rounds: rounds.saturating_add(1),
                };
                (uid.to_owned(), failure)
            })
            .collect();
    }

    /// The resource's pods that have given no metrics for some rounds, in the order of their names.
    pub(super) fn lasting(&self, resource: &Key) -> Vec<Unread> {
        let mut found: Vec<_> = self
            .0
            .values()
            .filter(|failure| failure.rounds >= LASTING && failure.resource == *resource)
            .map(|failure| failure.pod.clone())
            .collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny() -> Key {
        ("team".to_owned(), "tiny".to_owned())
    }

    fn after(rounds: &[&[&str]]) -> Vec<String> {
        let mut failures = Failures::default();
        for failed in rounds {
            let resource = tiny();
            let failed = failed.iter().map(|pod| (*pod, &resource, *pod, "late"));
            failures.take(failed);
        }
        let lasting = failures.lasting(&tiny()).into_iter();
        lasting.map(|unread| unread.pod).collect()
    }

    #[test]
    fn one_lost_answer_is_not_told() {
        assert_eq!(after(&[&["a"]]), [""; 0]);
        assert_eq!(after(&[&["a"], &[], &["a"]]), [""; 0]);
    }

    #[test]
    fn what_lasts_is_told_until_the_pod_answers_or_goes() {
        assert_eq!(after(&[&["b", "a"], &["a", "b"]]), ["a", "b"]);
        assert_eq!(after(&[&["a"], &["a"], &[]]), [""; 0]);
    }

    #[test]
    fn another_resource_is_not_blamed() {
        let mut failures = Failures::default();
        for _ in 0..3 {
            failures.take([("a", &tiny(), "a", "late")].into_iter());
        }
        let other = ("elsewhere".to_owned(), "tiny".to_owned());
        assert_eq!(failures.lasting(&other), []);
    }
}
