//! Whether a model will fit, before anything is scheduled: an estimate from what its source says about it.
//!
//! Nobody waits for long: a source that is silent is asked for a few seconds, and then the server is left to find out.
//! Nothing is asked about what runs already, so that a system at rest, or a new operator, asks nobody.
//!
//! - [`learn`]: what to ask a source, by [`web`];
//! - [`gguf`], [`facts`]: what the beginnings of files say;
//! - [`judge`]: whether that fits, as a pure function.
mod facts;
mod gguf;
mod judge;
mod learn;
mod web;

use super::{
    asking::{Answer, Asking, Known, growing},
    dereference::Observed,
    validate::Rejection,
};
use candlepower_api::{
    deployment::LLMDeployment,
    names::{conditions, labels},
};
use facts::Facts;
use judge::judge;
use learn::Question;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// How long a source may take to say everything. For so long, nothing is scheduled.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sources that are asked at the same time: each may hand out some hundred KiB.
const AT_ONCE: usize = 4;
/// What is in a repository may change.
const LIFETIME: Duration = Duration::from_secs(600);
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// What is known, before it is scheduled, of the memory that a model needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) enum Fit {
    /// Nobody asked now: the pods have this configuration already, or the resource is refused for something else.
    #[default]
    NotAsked,
    /// Only the server can tell, for this reason.
    Unknown(String),
    /// It fits, by this sum.
    Fits(String),
    /// It does not fit; the message has the sum and the cure.
    TooLarge(String),
}

impl Fit {
    /// Why nothing is to be scheduled.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        let Self::TooLarge(message) = self else {
            return None;
        };
        Some(Rejection {
            reason: conditions::MEMORY_TOO_SMALL,
            message: message.clone(),
        })
    }
}

/// Estimates, by what the sources of models have said.
#[derive(Debug)]
pub(super) struct Estimates {
    /// Whether sources may be asked.
    is_on: bool,
    known: Asking<Question, Learnt>,
    turns: Arc<Semaphore>,
}

/// What a source says, or why nothing was learnt.
#[derive(Clone, Debug)]
struct Learnt(Result<Facts, String>);

impl Answer for Learnt {
    fn is_silence(&self) -> bool {
        self.0.is_err()
    }

    fn lifetime(&self, _: Duration, silences: u32) -> Duration {
        if self.0.is_ok() {
            LIFETIME
        } else {
            growing(FIRST_PAUSE, 2, LONGEST_PAUSE, silences)
        }
    }
}

impl Estimates {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            known: Asking::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Whether the model of `resource` fits, whose pods are to have this configuration; `None` while its source is being
    /// asked. An answer that comes later calls `late`.
    pub(super) async fn of(
        &self,
        resource: &LLMDeployment,
        config_hash: &str,
        observed: &Observed,
        late: impl FnOnce() + Send + 'static,
    ) -> Option<Fit> {
        if runs(observed, config_hash) {
            return Some(Fit::NotAsked);
        }
        if !self.is_on {
            let message = "estimates are turned off (--estimate-memory); the server checks it before it loads the weights";
            return Some(Fit::Unknown(message.to_owned()));
        }
        let question = match Question::of(&resource.spec) {
            Ok(question) => question,
            Err(message) => return Some(Fit::Unknown(message)),
        };
        let (asked, turns) = (question.clone(), self.turns.clone());
        // A large future, which the reconcile is not to carry along.
        let ask = Box::pin(async move {
            let learnt = timeout(PATIENCE, async {
                // It is never closed.
                let _turn = turns.acquire().await;
                asked.ask().await
            });
            let silence = |_| Err("its source does not answer in time".to_owned());
            Learnt(learnt.await.unwrap_or_else(silence))
        });
        let key = question.key();
        let Known { answer, .. } = self.known.about(&key, question, ask, late).await;
        Some(match answer?.0 {
            Ok(facts) => judge(&facts, &resource.spec),
            Err(problem) => unlearnt(resource, observed, &problem),
        })
    }
}

/// Whether the Deployment's pods have this configuration.
fn runs(observed: &Observed, config_hash: &str) -> bool {
    let hash_of_pods = || {
        let template = &observed.deployments.first()?.spec.as_ref()?.template;
        let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
        annotations.get(labels::CONFIG_HASH)
    };
    hash_of_pods().is_some_and(|hash| hash == config_hash)
}

/// What was refused before stays so while its source is silent. Anything else is the server's to find out.
fn unlearnt(resource: &LLMDeployment, observed: &Observed, problem: &str) -> Fit {
    let previous = &observed.previous;
    let is_same = previous.observed_generation == resource.metadata.generation;
    let refused = previous.conditions.iter().find(|condition| {
        is_same
            && condition.type_ == conditions::FITS_MEMORY
            && condition.reason == conditions::MEMORY_TOO_SMALL
    });
    match refused {
        Some(refused) => Fit::TooLarge(refused.message.clone()),
        None => Fit::Unknown(format!(
            "not estimated: {problem}; the server checks it before it loads the weights"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;
    use std::future::pending;

    fn observed(config_hash: &str) -> Observed {
        let deployment = json!({"spec": {"selector": {}, "template": {"metadata": {
            "annotations": {"candlepower.dev/config-hash": config_hash},
        }}}});
        Observed {
            deployments: vec![Arc::new(serde_json::from_value(deployment).unwrap())],
            ..Observed::default()
        }
    }

    async fn fit(is_on: bool, spec: serde_json::Value, observed: &Observed) -> Option<Fit> {
        let resource = testing::resource(spec);
        Estimates::new(is_on)
            .of(&resource, "new", observed, || {})
            .await
    }

    #[tokio::test]
    async fn nobody_is_asked_about_what_runs_already_or_cannot_be_asked() {
        let hub = json!({"model": {"source": "hf://a/b"}});
        let same = fit(true, hub.clone(), &observed("new")).await;
        assert_eq!(same, Some(Fit::NotAsked));
        let off = fit(false, hub, &observed("old")).await;
        assert!(matches!(off, Some(Fit::Unknown(message)) if message.contains("turned off")));
        let mounted = fit(true, json!({}), &Observed::default()).await;
        assert!(matches!(mounted, Some(Fit::Unknown(message)) if message.contains("pvc://")));
    }

    #[tokio::test]
    async fn nothing_is_decided_while_a_source_is_asked_and_its_answer_is_kept() {
        let estimates = Estimates::new(true);
        let resource = testing::resource(json!({"model": {"source": "hf://a/b"}}));
        let question = Question::of(&resource.spec).unwrap();
        let key = question.key();
        let asking = estimates.known.about(&key, question, pending(), || {});
        asking.await;
        let nothing = Observed::default();
        let fit = estimates.of(&resource, "new", &nothing, || {});
        assert_eq!(fit.await, None);
    }

    #[test]
    fn a_silent_source_opens_the_way_but_not_for_what_it_was_closed_to() {
        let resource = testing::resource(json!({"model": {"source": "hf://a/b"}}));
        let before = |generation: i64| Observed {
            previous: serde_json::from_value(json!({
                "observedGeneration": generation,
                "conditions": [{"type": "FitsMemory", "status": "False", "reason": "MemoryTooSmall",
                    "message": "8 of 4", "lastTransitionTime": testing::NOW}],
            }))
            .unwrap(),
            ..Observed::default()
        };
        let fit = |observed: &Observed| unlearnt(&resource, observed, "it is silent");
        assert_eq!(fit(&before(3)), Fit::TooLarge("8 of 4".to_owned()));
        for other in [before(2), Observed::default()] {
            let message = fit(&other);
            assert!(matches!(message, Fit::Unknown(message) if message.contains("it is silent")));
        }
    }

    #[test]
    fn a_source_that_is_silent_is_asked_ever_more_rarely() {
        let silence = Learnt(Err(String::new()));
        let pauses = [1, 2, 50].map(|silences| silence.lifetime(PATIENCE, silences));
        assert_eq!(pauses, [FIRST_PAUSE, 2 * FIRST_PAUSE, LONGEST_PAUSE]);
    }
}
