//! What is measured: where it answers, and what can be seen of it.
use super::{
    decide::{Obstacle, not_ready},
    dereference::Observed,
    nodes::Nodes,
};
use crate::watches::{ContainerStatus, Pod};
use candlepower_api::{
    benchmark::{
        LLMBenchmark, MetricsDialect, Target,
        job::{MetricsPage, Served, Termination},
    },
    deployment::{LLMDeployment, MetricsMode, TracingMode},
    names::{conditions, paths, ports},
};
use k8s_openapi::api::core::v1::ContainerStateTerminated;
use kube::ResourceExt;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The target of `resource`, or why it cannot be measured now.
pub(super) fn target(resource: &LLMBenchmark, observed: &Observed) -> Result<Served, Obstacle> {
    let Some(name) = &resource.spec.target.deployment else {
        return Ok(elsewhere(&resource.spec.target));
    };
    let target = observed.target.as_ref().ok_or_else(|| Obstacle {
        reason: conditions::TARGET_NOT_FOUND,
        message: format!(
            "there is no LLMDeployment {name} in this namespace; the benchmark begins once it exists and is ready"
        ),
    })?;
    match not_ready(target) {
        Some(obstacle) => Err(obstacle),
        None => Ok(deployment(target, &observed.target_pods, &observed.nodes)),
    }
}

/// A target that is under load already, however it stands.
pub(super) fn last_known(resource: &LLMBenchmark, observed: &Observed) -> Served {
    match &observed.target {
        Some(target) => deployment(target, &observed.target_pods, &observed.nodes),
        None => Served {
            deployment: resource.spec.target.deployment.clone(),
            ..elsewhere(&resource.spec.target)
        },
    }
}

/// Another server: all that is known is what the resource says.
fn elsewhere(target: &Target) -> Served {
    let metrics = target.metrics.as_ref();
    Served {
        url: target.url.clone().unwrap_or_default(),
        server_name: None,
        model: target.model.clone().unwrap_or_default(),
        deployment: None,
        deployment_spec: None,
        image: None,
        metrics: metrics
            .map(|metrics| MetricsPage {
                pod: None,
                node: None,
                url: metrics.url.clone(),
            })
            .into_iter()
            .collect(),
        dialect: metrics.map(|metrics| metrics.dialect).unwrap_or_default(),
        gpu_metrics: metrics
            .and_then(|metrics| metrics.gpu_url.clone())
            .into_iter()
            .collect(),
        prometheus: Vec::new(),
        jaeger: target.jaeger_url.iter().cloned().collect(),
        nodes: Vec::new(),
        nodes_missing: None,
        terminations: None,
    }
}

/// A temporary copy of `target`. It has its certificate, too, which is for the target's name and for no other.
pub(super) fn copy(
    copy: &LLMDeployment,
    pods: &[Arc<Pod>],
    nodes: &Nodes,
    target: &LLMDeployment,
) -> Served {
    let url = target.status.as_ref().and_then(|status| status.url.clone());
    let host = url.as_deref().and_then(host);
    Served {
        server_name: host
            .filter(|_| copy.spec.access.tls.is_some())
            .map(str::to_owned),
        ..deployment(copy, pods, nodes)
    }
}

/// A deployment of ours, with what its status and its pods say.
pub(super) fn deployment(deployment: &LLMDeployment, pods: &[Arc<Pod>], nodes: &Nodes) -> Served {
    let status = deployment.status.as_ref();
    let observability = status.and_then(|status| status.observability.as_ref());
    let addresses: Vec<_> = pods.iter().filter_map(address).collect();
    let on_each_pod = |port| {
        let urls = addresses.iter().map(|(_, ip)| at(*ip, port));
        urls.collect::<Vec<_>>()
    };
    let prometheus = match observability.map(|found| (found.metrics, &found.prometheus)) {
        Some((MetricsMode::Sidecar, _)) => on_each_pod(ports::PROMETHEUS),
        Some((_, address)) => address.iter().cloned().collect(),
        None => Vec::new(),
    };
    let jaeger = match observability.map(|found| (found.tracing, &found.traces)) {
        Some((TracingMode::Sidecar, _)) => on_each_pod(ports::JAEGER_QUERY),
        Some((TracingMode::Endpoint, Some(collector))) => beside(collector).into_iter().collect(),
        _ => Vec::new(),
    };
    let model = status.and_then(|status| status.model.as_ref());
    let name = deployment.name_any();
    let (nodes, nodes_missing) =
        nodes.of(addresses.iter().filter_map(|(pod, _)| pod.node.as_deref()));
    let served_name = deployment.spec.model.served_name.clone();
    Served {
        url: status
            .and_then(|status| status.url.clone())
            .unwrap_or_default(),
        server_name: None,
        model: model
            .map(|model| model.name.clone())
            .or(served_name)
            .unwrap_or_else(|| name.clone()),
        deployment: Some(name),
        deployment_spec: serde_json::to_value(&deployment.spec).ok(),
        image: status.and_then(|status| status.image.clone()),
        metrics: addresses
            .iter()
            .map(|(pod, ip)| MetricsPage {
                pod: Some(pod.name.to_string()),
                node: pod.node.as_deref().map(str::to_owned),
                url: format!("{}{}", at(*ip, ports::SERVER_HTTP), paths::METRICS),
            })
            .collect(),
        dialect: MetricsDialect::Candlepower,
        gpu_metrics: Vec::new(),
        prometheus,
        jaeger,
        nodes,
        nodes_missing,
        terminations: Some(pods.iter().flat_map(|pod| terminations(pod)).collect()),
    }
}

/// How the pod's containers ended.
fn terminations(pod: &Pod) -> Vec<Termination> {
    let status = &pod.status;
    Termination::of_ends(
        &pod.name,
        status.container_statuses.iter().flat_map(ends),
        status.init_container_statuses.iter().flat_map(ends),
    )
}

/// The end before the last start, and that of a container that was not started again.
fn ends(container: &ContainerStatus) -> impl Iterator<Item = (&str, &ContainerStateTerminated)> {
    let both = [&container.last_state, &container.state];
    let both = both
        .into_iter()
        .filter_map(|state| state.terminated.as_deref());
    both.map(|end| (&*container.name, end))
}

/// Where a pod answers, if it serves. One that has failed, starts or ends keeps its address for a while, and a page
/// that does not answer would cost those of all others: only together they are the target's metrics.
fn address(pod: &Arc<Pod>) -> Option<(&Pod, IpAddr)> {
    let ip = pod.status.pod_ip.as_ref()?.parse().ok()?;
    let runs = pod.status.phase.as_deref() == Some("Running");
    (runs && pod.is_ready() && !pod.is_ending).then_some((&**pod, ip))
}

fn at(ip: IpAddr, port: u16) -> String {
    format!("http://{}", SocketAddr::from((ip, port)))
}

/// Where a Jaeger that takes spans at `collector` usually answers questions.
fn beside(collector: &str) -> Option<String> {
    Some(format!(
        "http://{}:{}",
        host(collector)?,
        ports::JAEGER_QUERY
    ))
}

/// The host of an address.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    // An IPv6 address keeps its brackets, and has colons of its own.
    Some(match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use candlepower_api::benchmark::job::NodeFacts;
    use serde_json::json;

    #[test]
    fn a_deployment_is_known_by_its_status_and_its_pods() {
        let served = deployment(
            &testing::served("tiny"),
            &[testing::serving_pod("tiny-1", "10.0.0.7")],
            &Nodes::default(),
        );
        assert_eq!(served.url, "http://tiny.team.svc:8080");
        assert_eq!(served.model, "tiny");
        assert_eq!(served.metrics[0].url, "http://10.0.0.7:8080/metrics");
        assert_eq!(served.metrics[0].node.as_deref(), Some("node-1"));
        assert_eq!(served.prometheus, ["http://10.0.0.7:9090"]);
        assert_eq!(served.jaeger, ["http://10.0.0.7:16686"]);
    }

    #[test]
    fn a_copy_has_the_certificate_of_its_target() {
        let mut target = testing::served("tiny");
        target.status.as_mut().unwrap().url = Some("https://tiny.team.svc:8443".into());
        let mut one = testing::served("nightly-q8");
        let nodes = Nodes::default();
        assert_eq!(copy(&one, &[], &nodes, &target).server_name, None);
        one.spec.access = serde_json::from_value(json!({
            "tls": {"secretRef": {"name": "tiny-tls"}},
        }))
        .unwrap();
        let served = copy(&one, &[], &nodes, &target);
        assert_eq!(served.server_name.as_deref(), Some("tiny.team.svc"));
    }

    #[test]
    fn another_server_is_known_by_what_the_resource_says_and_nothing_is_made_up() {
        let resource = testing::benchmark(json!({"target": {
            "url": "http://vllm:8000", "model": "m",
            "metrics": {"url": "http://vllm:8000/metrics", "dialect": "vllm", "gpuUrl": "http://node-1:9400/metrics"},
        }}));
        let served = target(&resource, &Observed::default()).unwrap();
        assert_eq!(served.dialect, MetricsDialect::Vllm);
        assert_eq!(served.metrics.len(), 1);
        assert_eq!(served.gpu_metrics, ["http://node-1:9400/metrics"]);
        assert_eq!((served.prometheus.len(), served.jaeger.len()), (0, 0));
    }

    #[test]
    fn a_jaeger_that_another_server_traces_to_is_asked() {
        let resource = testing::benchmark(json!({"target": {
            "url": "http://vllm:8000", "model": "m", "jaegerUrl": "http://jaeger.tracing:16686",
        }}));
        let served = target(&resource, &Observed::default()).unwrap();
        assert_eq!(served.jaeger, ["http://jaeger.tracing:16686"]);
    }

    #[test]
    fn a_pod_that_does_not_serve_has_no_page_that_could_cost_those_of_the_others() {
        let serving = || testing::serving_pod("tiny-1", "10.0.0.7");
        let changed = |change: fn(&mut Pod)| {
            let mut pod = Arc::unwrap_or_clone(testing::serving_pod("tiny-0", "10.0.0.6"));
            change(&mut pod);
            Arc::new(pod)
        };
        let failed = changed(|pod| pod.status.phase = Some("Failed".into()));
        let starting = changed(|pod| pod.status.conditions[0].status = "False".into());
        let unknown = changed(|pod| pod.status.conditions = Box::default());
        let ending = changed(|pod| pod.is_ending = true);
        let homeless = changed(|pod| pod.status.pod_ip = None);
        for left in [failed, starting, unknown, ending, homeless] {
            let pods = [left, serving()];
            let served = deployment(&testing::served("tiny"), &pods, &Nodes::default());
            let pages: Vec<_> = served.metrics.iter().map(|page| &page.url).collect();
            assert_eq!(pages, ["http://10.0.0.7:8080/metrics"]);
            assert_eq!(served.prometheus, ["http://10.0.0.7:9090"]);
        }
    }

    #[test]
    fn the_nodes_of_the_pods_that_serve_are_described_each_once() {
        let nodes = Nodes::from([
            (
                "node-1",
                Ok(NodeFacts {
                    name: "node-1".into(),
                    ..NodeFacts::default()
                }),
            ),
            (
                "elsewhere",
                Ok(NodeFacts {
                    name: "elsewhere".into(),
                    ..NodeFacts::default()
                }),
            ),
        ]);
        let pods = [
            testing::serving_pod("tiny-1", "10.0.0.7"),
            testing::serving_pod("tiny-2", "10.0.0.8"),
        ];
        let served = deployment(&testing::served("tiny"), &pods, &nodes);
        let names: Vec<_> = served.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!((names, served.nodes_missing), (vec!["node-1"], None));
    }

    #[test]
    fn a_container_that_ended_is_told_although_its_pod_does_not_serve_now() {
        let mut pod = Arc::unwrap_or_clone(testing::serving_pod("tiny-1", "10.0.0.7"));
        let status = &mut pod.status;
        status.conditions = Box::default();
        status.container_statuses = serde_json::from_value(json!([{
            "name": "server", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "lastState": {"terminated": {
                "exitCode": 137, "reason": "OOMKilled", "finishedAt": testing::NOW,
            }},
        }]))
        .unwrap();
        let pods = [Arc::new(pod)];
        let resource = testing::benchmark(json!({"target": {"deployment": "tiny"}}));
        let observed = Observed {
            target: Some(Arc::new(testing::unready("tiny", "OOMKilled", ""))),
            target_pods: pods.to_vec(),
            ..Observed::default()
        };
        let served = last_known(&resource, &observed);
        assert_eq!(served.metrics, []);
        let told = served.terminations.unwrap();
        assert_eq!(told[0].reason, "OOMKilled");
        let copy = copy(
            &testing::served("nightly-q8"),
            &pods,
            &Nodes::default(),
            &testing::served("tiny"),
        );
        assert_eq!(copy.terminations, Some(told));
    }

    #[test]
    fn of_a_server_without_pods_of_ours_no_end_is_known_and_none_is_denied() {
        let resource = testing::benchmark(json!({"target": {"url": "http://a", "model": "m"}}));
        let served = target(&resource, &Observed::default()).unwrap();
        assert_eq!(served.terminations, None);
        let quiet = deployment(&testing::served("tiny"), &[], &Nodes::default());
        assert_eq!(quiet.terminations, Some(vec![]));
    }

    #[test]
    fn jaeger_answers_beside_its_collector() {
        for (collector, expected) in [
            ("http://jaeger.tracing:4317", "http://jaeger.tracing:16686"),
            ("http://jaeger", "http://jaeger:16686"),
            ("http://[fd00::1]:4317/", "http://[fd00::1]:16686"),
        ] {
            assert_eq!(beside(collector).as_deref(), Some(expected));
        }
    }
}
