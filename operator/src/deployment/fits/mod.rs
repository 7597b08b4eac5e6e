//! Whether a model will fit, before anything is scheduled: an estimate from what its source says about it.
//!
//! Nobody waits for long: a source that is silent is asked for a few seconds, and then the server is left to find out.
//! Nothing is asked about what runs already, so that a system at rest, or a new operator, asks nobody.
//!
//! - [`learn`], [`registry`]: what to ask a source, by [`web`];
//! - [`gguf`], [`facts`]: what the beginnings of files say;
//! - [`nodes`]: which GPUs there are;
//! - [`judge`], [`gpus`]: whether it fits a [`room`], or the GPUs, as pure functions.
mod facts;
mod gguf;
mod gpus;
mod judge;
mod learn;
mod nodes;
mod registry;
mod room;
mod web;

pub(crate) use gpus::PRODUCT as GPU_PRODUCT;

use super::{
    asking::{Answer, Asking, Known, growing},
    build::GPU,
    dereference::Observed,
    validate::Rejection,
};
use crate::children::Workload;
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentSpec},
    names::conditions,
};
use facts::Facts;
use gpus::Gpus;
use judge::judge;
use kube::Client;
use learn::Question;
use nodes::{Nodes, Untold};
use room::Room;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// What nodes say of their GPUs is asked for anew after this time: others may have come.
pub(super) const NODES_LIFETIME: Duration = Duration::from_secs(60);
/// How long a source, or the API server, may take to say everything. For so long, nothing is scheduled.
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
    /// The same of all GPUs that nodes have now; others may come.
    NoGpu(String),
}

impl Fit {
    /// Why nothing is to be scheduled.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        let (Self::TooLarge(message) | Self::NoGpu(message)) = self else {
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
    nodes: Nodes,
    turns: Arc<Semaphore>,
}

/// What a source says, or why nothing was learnt.
#[derive(Clone, Debug, PartialEq)]
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
            nodes: Nodes::default(),
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
        client: &Client,
        late: impl FnOnce() + Send + 'static,
    ) -> Option<Fit> {
        if runs(observed, config_hash, &resource.spec) {
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
        let gpus = match self.gpus(resource, observed, client).await {
            Ok(gpus) => gpus,
            Err(fit) => return Some(fit),
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
            Ok(facts) => decide(&facts, &resource.spec, gpus.as_ref()),
            Err(problem) => unlearnt(resource, observed, &problem),
        })
    }

    /// The GPUs that the model may get, where it wants one; or what is to be said where they are not known.
    async fn gpus(
        &self,
        resource: &LLMDeployment,
        observed: &Observed,
        client: &Client,
    ) -> Result<Option<Gpus>, Fit> {
        let spec = &resource.spec;
        if spec.resources.gpus == 0 {
            return Ok(None);
        }
        let gpus = self.nodes.gpus(&spec.pod.node_selector, client).await;
        gpus.map(Some).map_err(|untold| match untold {
            Untold::Silence => unlearnt(resource, observed, &untold.to_string()),
            Untold::Forbidden | Untold::Unlabelled => unknown(&untold.to_string()),
        })
    }
}

/// Whether the model of these `facts` fits its container, or one of the GPUs.
fn decide(facts: &Facts, spec: &LLMDeploymentSpec, gpus: Option<&Gpus>) -> Fit {
    match gpus {
        Some(gpus) => gpus.judge(facts, spec),
        None => judge(facts, spec, Room::Container(spec.resources.memory)),
    }
}

/// Whether the Deployment's pods have this configuration, on the same GPUs.
fn runs(observed: &Observed, config_hash: &str, spec: &LLMDeploymentSpec) -> bool {
    let deployment = observed.deployments.first();
    let workload = deployment.map(|deployment| deployment.workload());
    workload.is_some_and(|workload| {
        workload.config_hash.as_deref() == Some(config_hash) && has_same_gpus(&workload, spec)
    })
}

/// Whether the pods may get those GPUs that are asked for, of which their configuration does not tell.
fn has_same_gpus(workload: &Workload, spec: &LLMDeploymentSpec) -> bool {
    let is_on_gpus = workload.limited.iter().any(|resource| resource == GPU);
    if spec.resources.gpus == 0 {
        return !is_on_gpus;
    }
    is_on_gpus && workload.node_selector == spec.pod.node_selector
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
    match refused.map(|refused| refused.message.clone()) {
        Some(message) if resource.spec.resources.gpus > 0 => Fit::NoGpu(message),
        Some(message) => Fit::TooLarge(message),
        None => unknown(problem),
    }
}

fn unknown(problem: &str) -> Fit {
    Fit::Unknown(format!(
        "not estimated: {problem}; the server checks it before it loads the weights"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{self, api_server};
    use axum::http::StatusCode;
    use serde_json::json;
    use std::future::pending;

    /// A client whose API server allows nothing.
    fn client() -> Client {
        api_server(|_| (StatusCode::FORBIDDEN, json!({"code": 403}).to_string())).0
    }

    fn observed(config_hash: &str) -> Observed {
        with_pods(config_hash, &json!({"containers": []}))
    }

    fn with_pods(config_hash: &str, pod: &serde_json::Value) -> Observed {
        let annotations = json!({"candlepower.dev/config-hash": config_hash});
        let template = json!({"metadata": {"annotations": annotations}, "spec": pod});
        let deployment = json!({"spec": {"selector": {}, "template": template}});
        Observed {
            deployments: vec![Arc::new(serde_json::from_value(deployment).unwrap())],
            ..Observed::default()
        }
    }

    async fn fit(is_on: bool, spec: serde_json::Value, observed: &Observed) -> Option<Fit> {
        let resource = testing::resource(spec);
        Estimates::new(is_on)
            .of(&resource, "new", observed, &client(), || {})
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

    #[test]
    fn pods_that_are_to_have_other_gpus_are_asked_about_although_their_configuration_stays() {
        let limits = json!({"limits": {"nvidia.com/gpu": "1"}});
        let container = json!({"name": "server", "resources": limits});
        let pod = json!({"containers": [container], "nodeSelector": {"pool": "a"}});
        let observed = with_pods("same", &pod);
        let runs = |gpus: i32, selector: serde_json::Value| {
            let spec = json!({"resources": {"gpus": gpus}, "pod": {"nodeSelector": selector}});
            runs(&observed, "same", &testing::resource(spec).spec)
        };
        assert!(runs(1, json!({"pool": "a"})));
        for (gpus, selector) in [
            (1, json!({"pool": "b"})),
            (1, json!({})),
            (0, json!({"pool": "a"})),
        ] {
            assert!(!runs(gpus, selector.clone()), "{gpus} {selector}");
        }
    }

    #[tokio::test]
    async fn gpus_that_nobody_tells_of_are_left_to_the_server_with_the_cure_and_ask_no_source() {
        let spec = json!({"model": {"source": "hf://a/b"}, "resources": {"gpus": 1}});
        let fit = fit(true, spec, &Observed::default()).await;
        let Some(Fit::Unknown(message)) = &fit else {
            panic!("{fit:?}");
        };
        assert!(message.contains("the verb list on nodes"), "{message}");
        assert!(message.contains("the server checks it"), "{message}");
    }

    #[test]
    fn gpus_have_the_place_of_the_limit() {
        let shape = facts::Shape {
            layers: 32,
            kv_heads: 8,
            head_dim: 128,
            context_length: 8192,
        };
        let facts = Facts {
            shape,
            stored: facts::Stored::Blocks,
            bytes: 30 << 30,
        };
        let spec = json!({"resources": {"memory": "64Gi"}, "engine": {"maxBatchSize": 1}});
        let spec = testing::resource(spec).spec;
        assert!(matches!(decide(&facts, &spec, None), Fit::Fits(_)));
        let labels = [("nvidia.com/gpu.memory".to_owned(), "16384".to_owned())];
        let gpus = Gpus::new(gpus::Gpu::of_node(&labels.into()).into_iter().collect());
        let fit = decide(&facts, &spec, gpus.as_ref());
        assert!(matches!(fit, Fit::NoGpu(_)), "{fit:?}");
        assert_eq!(fit.rejection().unwrap().reason, "MemoryTooSmall");
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
        let client = client();
        let fit = estimates.of(&resource, "new", &nothing, &client, || {});
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
        let spec = json!({"model": {"source": "hf://a/b"}, "resources": {"gpus": 1}});
        let on_gpus = testing::resource(spec);
        let fit = unlearnt(&on_gpus, &before(3), "it is silent");
        assert_eq!(fit, Fit::NoGpu("8 of 4".to_owned()));
    }

    #[test]
    fn a_source_that_is_silent_is_asked_ever_more_rarely() {
        let silence = Learnt(Err(String::new()));
        let pauses = [1, 2, 50].map(|silences| silence.lifetime(PATIENCE, silences));
        assert_eq!(pauses, [FIRST_PAUSE, 2 * FIRST_PAUSE, LONGEST_PAUSE]);
    }
}
