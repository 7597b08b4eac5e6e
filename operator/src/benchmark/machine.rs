//! The look at a machine that the load's job wishes for: what there is to do about it, and how far it is. Pure.
use super::{
    build::probe,
    dereference::Observed,
    pod::{self, JobEnd, job_end},
};
use crate::{
    config::benchmark::BenchmarkConfig,
    watches::{self, Pod},
};
use candlepower_api::{
    benchmark::{
        LLMBenchmark,
        job::{MachineAnswer, MachineState, MachineWish},
    },
    deployment::LLMDeployment,
};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::Value;
use std::sync::Arc;

/// How far a look is.
#[derive(Debug)]
pub(super) enum Look {
    /// None is wished for.
    NotWanted,
    /// This job is to be made.
    Begin(Box<Job>),
    /// It goes on, and how it stands.
    Waiting(String),
    /// It has ended with this.
    Known(Value),
    /// It came to nothing.
    Failed(String),
}

/// How far the look is that `wish` is for.
pub(super) fn look(
    resource: &LLMBenchmark,
    wish: &MachineWish,
    observed: &Observed,
    settings: &BenchmarkConfig,
) -> Look {
    let Some(node) = &wish.node else {
        return Look::NotWanted;
    };
    // It asks about what it measures: the copy, where there is one.
    let measured = observed.copies.first().or(observed.target.as_ref());
    // A pod that takes in what models answer is not to choose any node of the cluster.
    let measured = measured.filter(|measured| runs_on(measured, node, observed));
    let Some(measured) = measured else {
        return Look::Failed(format!("no pod that is measured runs on {node} any more"));
    };
    let wanted = probe::job(resource, wish.number, node, measured, settings);
    let mut probes = observed.probes.iter();
    match probes.find(|probe| probe.metadata.name == wanted.metadata.name) {
        None => Look::Begin(Box::new(wanted)),
        Some(probe) => how_far(probe, observed),
    }
}

fn runs_on(deployment: &LLMDeployment, node: &str, observed: &Observed) -> bool {
    let name = deployment.name_any();
    let mut pods = observed.target_pods.iter().chain(&observed.copy_pods);
    pods.any(|pod| pod.deployment.as_deref() == Some(&*name) && pod.node.as_deref() == Some(node))
}

fn how_far(probe: &watches::Job, observed: &Observed) -> Look {
    let prefix = format!("{}-", probe.name_any());
    let pods = observed.probe_pods.iter();
    let pods: Vec<_> = pods
        .filter(|pod| pod.name.starts_with(&prefix))
        .cloned()
        .collect();
    let last_words =
        || pod::last_words(&pods).unwrap_or_else(|| "its pod left no message".to_owned());
    let end = job_end(probe);
    match (end, pod::result(&pods)) {
        (_, Some(text)) => match serde_json::from_str(text) {
            Ok(found) => Look::Known(found),
            Err(error) => Look::Failed(format!("what its pod left is no JSON: {error}")),
        },
        // Watches of jobs and pods are not in step.
        (Some(JobEnd::Complete), None) => Look::Waiting("its pod has ended".to_owned()),
        (Some(JobEnd::DeadlineExceeded), None) => {
            Look::Failed(format!("it took too long: {}", why_pending(&pods)))
        }
        (Some(JobEnd::Failed(_)), None) => Look::Failed(last_words()),
        (Some(JobEnd::Deleted), None) => Look::Failed("somebody deleted its job".to_owned()),
        (None, None) => Look::Waiting(why_pending(&pods)),
    }
}

fn why_pending(pods: &[Arc<Pod>]) -> String {
    pod::pending(pods, None).map_or_else(|| "its pod runs".to_owned(), |found| found.message)
}

/// What the job is told.
pub(super) fn answer(wish: &MachineWish, look: &Look) -> Option<MachineAnswer> {
    let (state, message, found) = match look {
        Look::NotWanted => return None,
        Look::Begin(_) => (MachineState::Waiting, "it begins", None),
        Look::Waiting(how) => (MachineState::Waiting, how.as_str(), None),
        Look::Known(found) => (MachineState::Known, "it has ended", Some(found.clone())),
        Look::Failed(why) => (MachineState::Failed, why.as_str(), None),
    };
    Some(MachineAnswer {
        number: wish.number,
        state,
        message: message.to_owned(),
        found,
    })
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::needless_pass_by_value,
        reason = "literals read better without a reference"
    )]
    use super::*;
    use crate::benchmark::testing;
    use serde_json::json;

    fn resource() -> LLMBenchmark {
        testing::benchmark(json!({"target": {"deployment": "tiny"}}))
    }

    fn wish(node: &str) -> MachineWish {
        MachineWish {
            number: 3,
            node: Some(node.to_owned()),
        }
    }

    /// A pod of this deployment on `node-1`.
    fn serving(deployment: &str) -> Arc<Pod> {
        let mut pod = Arc::unwrap_or_clone(testing::serving_pod("tiny-1", "10.0.0.7"));
        pod.deployment = Some(deployment.into());
        Arc::new(pod)
    }

    fn observed() -> Observed {
        Observed {
            target: Some(Arc::new(testing::served("tiny"))),
            target_pods: vec![serving("tiny")],
            ..Observed::default()
        }
    }

    fn looked(node: &str, observed: &Observed) -> Look {
        look(&resource(), &wish(node), observed, &testing::settings())
    }

    /// The job that looks at `node-1`, with this condition and a pod in this state.
    fn under_way(condition: Option<&str>, state: Value) -> Observed {
        let mut observed = observed();
        let Look::Begin(job) = looked("node-1", &observed) else {
            panic!("it does not begin");
        };
        let condition = condition.map(|type_| json!({"type": type_, "status": "True"}));
        let conditions: Vec<_> = condition.into_iter().collect();
        let made = json!({"metadata": job.metadata, "status": {"conditions": conditions}});
        let pod = json!({
            "metadata": {"name": format!("{}-x7k2p", job.name_any())},
            "status": {"phase": "Running", "containerStatuses": [{
                "name": "probe", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }]},
        });
        observed.probes = vec![Arc::new(serde_json::from_value(made).unwrap())];
        observed.probe_pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
        observed
    }

    #[test]
    fn a_job_is_made_on_the_node_of_what_is_measured() {
        let Look::Begin(job) = looked("node-1", &observed()) else {
            panic!("it does not begin");
        };
        insta::assert_yaml_snapshot!(job);
    }

    #[test]
    fn a_node_that_nothing_measured_runs_on_is_not_looked_at() {
        for (node, observed) in [
            ("control-plane", observed()),
            ("node-1", Observed::default()),
        ] {
            assert!(matches!(looked(node, &observed), Look::Failed(_)));
        }
        let withdrawn = MachineWish {
            number: 4,
            node: None,
        };
        let none = look(&resource(), &withdrawn, &observed(), &testing::settings());
        assert!(answer(&withdrawn, &none).is_none());
    }

    #[test]
    fn of_a_copy_that_is_measured_its_own_node_is_looked_at_with_its_own_cpu() {
        let mut copied = observed();
        let mut copy = testing::served("nightly-abc");
        copy.spec.resources.cpu = "5".parse().unwrap();
        copied.copies = vec![Arc::new(copy)];
        assert!(matches!(looked("node-1", &copied), Look::Failed(_)));
        copied.copy_pods = vec![serving("nightly-abc")];
        let Look::Begin(job) = looked("node-1", &copied) else {
            panic!("it does not begin");
        };
        let text = serde_json::to_string(&job).unwrap();
        assert!(text.contains(r#""cpu":"5""#), "{text}");
    }

    #[test]
    fn its_result_is_told_as_soon_as_its_pod_has_ended_well() {
        let ended = json!({"terminated": {"exitCode": 0, "message": "{\"machine\": {}}"}});
        let look = looked("node-1", &under_way(None, ended));
        let told = answer(&wish("node-1"), &look).unwrap();
        assert_eq!((told.number, told.state), (3, MachineState::Known));
        assert_eq!(told.found, Some(json!({"machine": {}})));
    }

    #[test]
    fn what_keeps_it_or_went_wrong_is_told() {
        let told = |condition, state| {
            let look = looked("node-1", &under_way(condition, state));
            let told = answer(&wish("node-1"), &look).unwrap();
            (told.state, told.message)
        };
        let (state, message) = told(None, json!({"waiting": {"reason": "ImagePullBackOff"}}));
        assert_eq!(state, MachineState::Waiting);
        assert!(message.contains("bench.image"), "{message}");
        let (state, message) = told(
            Some("Failed"),
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        );
        assert_eq!(state, MachineState::Failed);
        assert!(message.contains("OOMKilled"), "{message}");
        let garbled = json!({"terminated": {"exitCode": 0, "message": "{\"machine\": {"}});
        assert_eq!(told(Some("Complete"), garbled).0, MachineState::Failed);
        assert_eq!(
            told(Some("Complete"), json!({"running": {}})).0,
            MachineState::Waiting
        );
    }
}
