//! Pods whose metrics cannot be read. It is told only when it lasts, so that one answer that was
//! lost changes no status. A pod that does not answer at all is asked ever more rarely.
use super::Key;
use crate::events::find;
use candlepower_api::{deployment::LLMDeploymentStatus, names::conditions};
use std::{borrow::Cow, collections::HashMap};

/// Rounds without metrics before a pod is told of.
const LASTING: u32 = 2;
/// Rounds of silence before a pod is left out of one.
const SILENT: u32 = 2;
/// Rounds that it is left out of at most.
const LONGEST_PAUSE: u32 = 9;

/// How the message begins where pods give the operator no metrics.
pub(in crate::deployment) const UNREAD: &str =
    "status.performance and status.alerts leave pods out that give the operator no metrics";
/// Pods that a message names.
const MOST_TOLD: usize = 3;

/// A pod that gives no metrics, and why.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::deployment) struct Unread {
    pub(in crate::deployment) pod: String,
    pub(in crate::deployment) why: String,
}

/// The pods of one resource that give no metrics. Two of them are equal where they are told in the same words.
#[derive(Clone, Debug, Eq)]
pub(in crate::deployment) enum Unreads {
    /// Those of the status, in its words: an operator that has just started knows no better yet.
    AsTold(String),
    /// These.
    These(Vec<Unread>),
}

impl Default for Unreads {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl PartialEq for Unreads {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::These(one), Self::These(other)) => one == other,
            _ => self.words() == other.words(),
        }
    }
}

impl Unreads {
    /// What a status says.
    pub(super) fn told(status: &LLMDeploymentStatus) -> Self {
        let told = find(&status.conditions, conditions::OBSERVABILITY_READY);
        let told = told
            .filter(|it| it.reason == conditions::NOT_SCRAPED && it.message.starts_with(UNREAD));
        told.map_or_else(Self::default, |it| Self::AsTold(it.message.clone()))
    }

    /// What a status is to say, where there are any.
    pub(in crate::deployment) fn words(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::AsTold(words) => Some(words.into()),
            Self::These(unread) if unread.is_empty() => None,
            Self::These(unread) => Some(words(unread).into()),
        }
    }
}

fn words(unread: &[Unread]) -> String {
    let mut told: Vec<_> = unread
        .iter()
        .take(MOST_TOLD)
        .map(|unread| format!("{}: {}", unread.pod, unread.why))
        .collect();
    if unread.len() > MOST_TOLD {
        told.push(format!("and {} more", unread.len() - MOST_TOLD));
    }
    format!(
        "{UNREAD}: look at their logs, and at network policies ({})",
        told.join("; ")
    )
}

/// An attempt to read a pod's metrics that failed.
pub(super) struct Failed<'a> {
    pub(super) uid: &'a str,
    pub(super) resource: &'a Key,
    pub(super) pod: &'a str,
    pub(super) why: &'a str,
    /// It did not answer at all, which takes time to find out.
    pub(super) is_silent: bool,
}

/// The pods that gave no metrics in the last round, by uid.
#[derive(Default)]
pub(super) struct Failures {
    pods: HashMap<String, Failure>,
    /// How many there were so far.
    rounds: u32,
}

struct Failure {
    resource: Key,
    pod: Unread,
    /// How often in a row.
    rounds: u32,
    /// Rounds to come that leave it out.
    pause: u32,
    /// Whether the present round does.
    is_left_out: bool,
}

impl Failures {
    /// Whether a pod takes part in the round that begins. To be called once for each pod that there is.
    pub(super) fn takes_part(&mut self, uid: &str) -> bool {
        let Some(failure) = self.pods.get_mut(uid) else {
            return true;
        };
        failure.is_left_out = failure.pause > 0;
        failure.pause = failure.pause.saturating_sub(1);
        !failure.is_left_out
    }

    /// Whether the present round leaves out a pod that is there.
    pub(super) fn leaves_out(&self, uid: &str) -> bool {
        self.pods
            .get(uid)
            .is_some_and(|failure| failure.is_left_out)
    }

    /// Takes in a round.
    pub(super) fn take<'a>(&mut self, failed: impl Iterator<Item = Failed<'a>>) {
        self.rounds = self.rounds.saturating_add(1);
        let mut before = std::mem::take(&mut self.pods);
        self.pods = failed
            .map(|failed| {
                let rounds = before.get(failed.uid).map_or(0, |failure| failure.rounds);
                let rounds = rounds.saturating_add(1);
                let failure = Failure {
                    resource: failed.resource.clone(),
                    pod: Unread {
                        pod: failed.pod.to_owned(),
                        why: failed.why.to_owned(),
                    },
                    rounds,
                    pause: if failed.is_silent { pause(rounds) } else { 0 },
                    is_left_out: false,
                };
                (failed.uid.to_owned(), failure)
            })
            .collect();
        before.retain(|_, failure| std::mem::take(&mut failure.is_left_out));
        self.pods.extend(before);
    }

    /// By resource the pods that have given no metrics for some rounds, in the order of their names; `None` while there
    /// were too few rounds to tell.
    pub(super) fn lasting(&self) -> Option<HashMap<&Key, Vec<Unread>>> {
        if self.rounds < LASTING {
            return None;
        }
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for failure in self.pods.values() {
            if failure.rounds >= LASTING {
                let of_resource = found.entry(&failure.resource).or_default();
                of_resource.push(failure.pod.clone());
            }
        }
        for pods in found.values_mut() {
            pods.sort_unstable();
        }
        Some(found)
    }
}

/// How many rounds leave out a pod that was silent in so many.
fn pause(rounds: u32) -> u32 {
    let doublings = rounds.saturating_sub(SILENT - 1).min(8);
    ((1 << doublings) - 1).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{Condition, Time},
        jiff::Timestamp,
    };

    fn tiny() -> Key {
        ("team".to_owned(), "tiny".to_owned())
    }

    fn take(failures: &mut Failures, pods: &[&str], is_silent: bool) {
        let resource = tiny();
        failures.take(pods.iter().map(|pod| Failed {
            uid: pod,
            resource: &resource,
            pod,
            why: "late",
            is_silent,
        }));
    }

    fn after(rounds: &[&[&str]]) -> Vec<String> {
        let mut failures = Failures::default();
        for failed in rounds {
            take(&mut failures, failed, false);
        }
        let lasting = failures.lasting().unwrap().remove(&tiny());
        let lasting = lasting.unwrap_or_default().into_iter();
        lasting.map(|unread| unread.pod).collect()
    }

    #[test]
    fn one_lost_answer_is_not_told() {
        assert_eq!(after(&[&["a"], &[]]), [""; 0]);
        assert_eq!(after(&[&["a"], &[], &["a"]]), [""; 0]);
    }

    #[test]
    fn what_lasts_is_told_until_the_pod_answers_or_goes() {
        assert_eq!(after(&[&["b", "a"], &["a", "b"]]), ["a", "b"]);
        assert_eq!(after(&[&["a"], &["a"], &[]]), [""; 0]);
    }

    #[test]
    fn after_one_round_nobody_knows() {
        let mut failures = Failures::default();
        take(&mut failures, &["a"], false);
        assert!(failures.lasting().is_none());
    }

    #[test]
    fn a_silent_pod_is_asked_ever_more_rarely_and_stays_told() {
        let mut failures = Failures::default();
        let mut asked = Vec::new();
        for round in 0..60 {
            let takes_part = failures.takes_part("a");
            asked.extend(takes_part.then_some(round));
            take(&mut failures, if takes_part { &["a"] } else { &[] }, true);
        }
        assert_eq!(asked, [0, 1, 3, 7, 15, 25, 35, 45, 55]);
        assert_eq!(failures.lasting().unwrap()[&tiny()].len(), 1);
    }

    #[test]
    fn a_pod_that_answers_with_an_error_is_asked_in_every_round() {
        let mut failures = Failures::default();
        for _ in 0..20 {
            assert!(failures.takes_part("a"));
            take(&mut failures, &["a"], false);
        }
    }

    #[test]
    fn a_silent_pod_that_goes_is_forgotten() {
        let mut failures = Failures::default();
        for _ in 0..SILENT {
            failures.takes_part("a");
            take(&mut failures, &["a"], true);
        }
        take(&mut failures, &[], true);
        assert_eq!(failures.lasting().unwrap().len(), 0);
    }

    #[test]
    fn what_a_status_tells_is_not_forgotten_at_a_start() {
        let with = |message: &str| LLMDeploymentStatus {
            conditions: vec![Condition {
                type_: conditions::OBSERVABILITY_READY.to_owned(),
                status: "False".to_owned(),
                reason: conditions::NOT_SCRAPED.to_owned(),
                message: message.to_owned(),
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
                observed_generation: None,
            }],
            ..LLMDeploymentStatus::default()
        };
        let silent = |pod: &str| {
            let unread = Unread {
                pod: pod.to_owned(),
                why: "late".to_owned(),
            };
            Unreads::These(vec![unread])
        };
        let told = Unreads::told(&with(&silent("a").words().unwrap()));
        assert!(told == silent("a"), "it is no news that it is silent still");
        assert!(told != silent("b") && told != Unreads::default());
        assert!(Unreads::told(&with("another")) == Unreads::default());
    }
}
