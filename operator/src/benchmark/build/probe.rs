//! The short job that looks at the node of a server: what it is, and how fast it is with as many cores as the server may
//! use.
use super::{metadata, names};
use crate::{
    config::benchmark::BenchmarkConfig,
    pod_security::{container_security, pod_security},
};
use candlepower_api::{
    benchmark::{LLMBenchmark, job as contract},
    deployment::LLMDeployment,
    names::{containers, paths},
    value::CpuQuantity,
};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Affinity, Container, NodeAffinity, NodeSelector, NodeSelectorRequirement,
            NodeSelectorTerm, PodSpec, PodTemplateSpec, ResourceRequirements,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// Time for whoever asked to read what was found, before Kubernetes removes the job.
const KEPT_SECONDS: i32 = 120;
/// The probe reads 256 MiB over and over.
const MEMORY: &str = "384Mi";

/// The job of this wish: it looks at `node` for `measured`, which has a pod there.
pub(in crate::benchmark) fn job(
    resource: &LLMBenchmark,
    wish: u32,
    node: &str,
    measured: &LLMDeployment,
    settings: &BenchmarkConfig,
) -> Job {
    let benchmark = resource.name_any();
    let cpu = whole_cores(measured.spec.resources.cpu);
    let deadline = contract::MACHINE_KNOWN_WITHIN.as_secs();
    Job {
        metadata: metadata(resource, names::probe(&benchmark, wish)),
        spec: Some(JobSpec {
            backoff_limit: Some(0),
            active_deadline_seconds: i64::try_from(deadline).ok(),
            ttl_seconds_after_finished: Some(KEPT_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::labels(&benchmark)),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container(cpu, settings)],
                    restart_policy: Some("Never".to_owned()),
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    security_context: Some(pod_security()),
                    affinity: Some(only_on(node)),
                    // Whatever keeps others away from that node.
                    tolerations: Some(measured.spec.pod.tolerations.clone())
                        .filter(|list| !list.is_empty()),
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// A quota of half a core would stop the probe's only thread half of the time, and its best pass would be anything
/// between the two.
fn whole_cores(cpu: CpuQuantity) -> CpuQuantity {
    CpuQuantity::from_millicores(cpu.millicores().div_ceil(1000).max(1) * 1000)
}

fn container(cpu: CpuQuantity, settings: &BenchmarkConfig) -> Container {
    let args = ["probe", "--out", paths::TERMINATION_LOG];
    let quantities = |cpu: CpuQuantity| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_string())),
            ("memory".to_owned(), Quantity(MEMORY.to_owned())),
        ]))
    };
    Container {
        name: containers::PROBE.to_owned(),
        image: Some(settings.bench_image.clone()),
        image_pull_policy: Some(settings.bench_image_pull_policy.as_str().to_owned()),
        args: Some(args.map(str::to_owned).into()),
        resources: Some(ResourceRequirements {
            // The server is idle meanwhile, but its cores are set aside for it.
            requests: quantities(settings.bench_cpu_request.min(cpu)),
            limits: quantities(cpu),
            ..ResourceRequirements::default()
        }),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        termination_message_path: Some(paths::TERMINATION_LOG.to_owned()),
        ..Container::default()
    }
}

/// By the scheduler, which sees to it that there is room.
fn only_on(node: &str) -> Affinity {
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_fields: Some(vec![NodeSelectorRequirement {
                        key: "metadata.name".to_owned(),
                        operator: "In".to_owned(),
                        values: Some(vec![node.to_owned()]),
                    }]),
                    ..NodeSelectorTerm::default()
                }],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_quota_stops_the_threads_of_a_probe() {
        let cores = |text: &str| whole_cores(text.parse().unwrap()).to_string();
        assert_eq!(cores("2"), "2");
        assert_eq!(cores("200m"), "1");
        assert_eq!(cores("1500m"), "2");
    }
}
