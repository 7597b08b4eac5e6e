//! The job that makes the load: one pod with as few rights as the models' own.
use super::{metadata, names, trust, volumes};
use crate::{
    config::benchmark::BenchmarkConfig,
    pod_security::{container_security, pod_security},
};
use candlepower_api::{
    benchmark::{LLMBenchmark, job as contract},
    deployment::LLMDeployment,
    names::{containers, labels, paths},
};
use k8s_openapi::{
    api::{
        batch::v1::{
            Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
            PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        },
        core::v1::{
            Affinity, Container, EnvVar, EnvVarSource, ObjectFieldSelector, PodAffinityTerm,
            PodAntiAffinity, PodSpec, PodTemplateSpec, ResourceRequirements, SecretKeySelector,
            WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};
use kube::ResourceExt;
use std::{collections::BTreeMap, time::Duration};

/// A pod that is lost is replaced this often; the measurement then begins anew.
const RETRIES: i32 = 1;
/// Room for what lies between the scenarios: answers that are still under way, evidence, the report.
const SLACK: Duration = Duration::from_secs(10 * 60);
/// The same for each scenario.
const SLACK_PER_SCENARIO: Duration = Duration::from_secs(60);
/// Time for the last words.
const GRACE_SECONDS: i64 = 15;

pub(super) fn job(
    resource: &LLMBenchmark,
    target: Option<&LLMDeployment>,
    settings: &BenchmarkConfig,
) -> Job {
    let name = resource.name_any();
    let deadline = deadline(resource).as_secs();
    Job {
        metadata: metadata(resource, names::job(&name)),
        spec: Some(JobSpec {
            backoff_limit: Some(RETRIES),
            active_deadline_seconds: i64::try_from(deadline).ok(),
            // Two pods would load the target at the same time.
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(failure_policy()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::labels(&name)),
                    ..ObjectMeta::default()
                }),
                spec: Some(trust::add(resource, target, pod(resource, settings))),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// How long all attempts may take together.
fn deadline(resource: &LLMBenchmark) -> Duration {
    let spec = &resource.spec;
    let load = spec.profile.longest(&spec.scenarios);
    let scenarios = u32::try_from(spec.profile.count(&spec.scenarios)).unwrap_or(u32::MAX);
    let once = load
        .saturating_add(SLACK_PER_SCENARIO.saturating_mul(scenarios))
        .saturating_add(contract::MACHINE_KNOWN_WITHIN);
    let tries = u32::try_from(spec.try_recommendations).unwrap_or_default();
    let copies = u32::try_from(spec.variants.len())
        .unwrap_or(u32::MAX)
        .saturating_add(tries);
    // The deployment is measured again after its variants.
    let rounds = if copies == 0 {
        1
    } else {
        copies.saturating_add(2)
    };
    let attempt = once
        .saturating_mul(rounds)
        .saturating_add(contract::COPY_READY_WITHIN.saturating_mul(copies))
        .saturating_add(SLACK);
    attempt.saturating_mul(u32::try_from(RETRIES + 1).unwrap_or(1))
}

/// A pod that was evicted or lost its node is replaced; one that says that trying again is pointless
/// is not.
fn failure_policy() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "FailJob".to_owned(),
                on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                    container_name: Some(containers::BENCH.to_owned()),
                    operator: "In".to_owned(),
                    values: vec![contract::EXIT_POINTLESS],
                }),
                on_pod_conditions: None,
            },
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_exit_codes: None,
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".to_owned(),
                    status: "True".to_owned(),
                }]),
            },
        ],
    }
}

fn pod(resource: &LLMBenchmark, settings: &BenchmarkConfig) -> PodSpec {
    PodSpec {
        containers: vec![container(resource, settings)],
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(names::job(&resource.name_any())),
        automount_service_account_token: Some(true),
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        affinity: apart_from_target(resource),
        volumes: Some(volumes::of(resource)),
        ..PodSpec::default()
    }
}

fn container(resource: &LLMBenchmark, settings: &BenchmarkConfig) -> Container {
    Container {
        name: containers::BENCH.to_owned(),
        image: Some(settings.bench_image.clone()),
        image_pull_policy: Some(settings.bench_image_pull_policy.as_str().to_owned()),
        args: Some(vec!["job".to_owned()]),
        env: Some(environment(resource)),
        resources: Some(resources(settings)),
        security_context: Some(container_security()),
        // A crash without last words shows its last log lines instead.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        termination_message_path: Some(paths::TERMINATION_LOG.to_owned()),
        volume_mounts: Some(volumes::mounts(resource)),
        ..Container::default()
    }
}

fn environment(resource: &LLMBenchmark) -> Vec<EnvVar> {
    let text = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    };
    let mailbox = names::report(&resource.name_any());
    let namespace = resource.namespace().unwrap_or_default();
    let mut environment = vec![
        text(contract::MAILBOX_VARIABLE, mailbox),
        text(contract::NAMESPACE_VARIABLE, namespace),
        // So that the job knows whether what it reads of its machine is true of the target's.
        EnvVar {
            name: contract::NODE_VARIABLE.to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "spec.nodeName".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        },
    ];
    // Kubelet hands the keys over; the operator never reads a Secret.
    let secret = |variable: &str, name: &str, key: &str, optional| EnvVar {
        name: variable.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: name.to_owned(),
                key: key.to_owned(),
                optional,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let spec = &resource.spec;
    environment.extend(spec.target.api_key.as_ref().map(|one| {
        let name = &one.secret_ref.name;
        secret(
            contract::API_KEY_VARIABLE,
            name,
            contract::API_KEY_IN_SECRET,
            None,
        )
    }));
    let bucket = spec
        .records
        .as_ref()
        .and_then(|records| records.s3.as_ref());
    environment.extend(bucket.into_iter().flat_map(|bucket| {
        let name = &bucket.credentials.secret_ref.name;
        contract::S3_KEYS.map(|(variable, key)| {
            let optional = (key == contract::S3_TOKEN_IN_SECRET).then_some(true);
            secret(variable, name, key, optional)
        })
    }));
    environment
}

fn resources(settings: &BenchmarkConfig) -> ResourceRequirements {
    let both = |cpu: &dyn ToString, memory: &dyn ToString| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_string())),
            ("memory".to_owned(), Quantity(memory.to_string())),
        ]))
    };
    ResourceRequirements {
        requests: both(&settings.bench_cpu_request, &settings.bench_memory_request),
        limits: both(&settings.bench_cpu_limit, &settings.bench_memory_limit),
        ..ResourceRequirements::default()
    }
}

/// A load generator on the node of its target takes from it what it measures.
fn apart_from_target(resource: &LLMBenchmark) -> Option<Affinity> {
    let target = resource.spec.target.deployment.as_ref()?;
    Some(Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: PodAffinityTerm {
                        label_selector: Some(LabelSelector {
                            match_labels: Some(BTreeMap::from([(
                                labels::LLM_DEPLOYMENT.to_owned(),
                                target.clone(),
                            )])),
                            ..LabelSelector::default()
                        }),
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        ..PodAffinityTerm::default()
                    },
                },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use serde_json::{Value, json};

    fn minutes(spec: Value) -> u64 {
        deadline(&testing::benchmark(spec)).as_secs() / 60
    }

    #[test]
    fn the_deadline_covers_the_plan_twice_and_each_copys_start() {
        let target = json!({"deployment": "tiny"});
        // 40 minutes, 4 for the scenarios' ends, 2 for the machine, 10 for the rest.
        assert_eq!(minutes(json!({"target": target})), 2 * 56);
        let scenarios = json!([{"name": "a", "users": 1, "duration": "3m"}]);
        let variant = json!([{"name": "v", "patch": {}}]);
        assert_eq!(
            minutes(json!({
                "target": target, "profile": "custom", "scenarios": scenarios, "variants": variant
            })),
            2 * (3 * (3 + 1 + 2) + 20 + 10)
        );
    }

    #[test]
    fn a_key_reaches_the_job_without_being_read_by_the_operator() {
        let resource = testing::benchmark(json!({"target": {
            "url": "http://a", "model": "m", "apiKey": {"secretRef": {"name": "keys"}},
        }}));
        let key = environment(&resource).pop().unwrap();
        let reference = key.value_from.unwrap().secret_key_ref.unwrap();
        assert_eq!(
            (reference.name.as_str(), reference.key.as_str()),
            ("keys", "apiKey")
        );
        assert_eq!(key.value, None);
    }

    #[test]
    fn records_for_a_bucket_lie_with_the_pod_first_and_its_keys_come_from_a_secret() {
        let resource = testing::benchmark(json!({
            "target": {"deployment": "tiny"}, "records": {"s3": {
                "bucket": "abc", "credentials": {"secretRef": {"name": "keys"}},
            }},
        }));
        assert!(volumes::of(&resource)[0].empty_dir.is_some());
        let variables = environment(&resource).into_iter().filter_map(|one| {
            let reference = one.value_from?.secret_key_ref?;
            Some((one.name, reference.name, reference.key, reference.optional))
        });
        let expected = contract::S3_KEYS.map(|(variable, key)| {
            let optional = (key == "sessionToken").then_some(true);
            (
                variable.to_owned(),
                "keys".to_owned(),
                key.to_owned(),
                optional,
            )
        });
        assert_eq!(variables.collect::<Vec<_>>(), expected);
    }
}
