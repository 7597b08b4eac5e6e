//! Prometheus and Jaeger beside the server, as native sidecars: they start before it, stop after it,
//! and their state is not the pod's.
use super::{config_map, environment, pod::read_only};
use crate::{
    deployment::{
        monitoring::{Choice, Plan, Sidecar},
        validate::Valid,
    },
    pod_security::container_security,
};
use candlepower_api::{
    deployment::{MetricsMode, TracingMode},
    names::ports,
    value::ByteSize,
};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EmptyDirVolumeSource, EnvVar, ResourceRequirements, Volume,
        VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use std::collections::BTreeMap;

/// Folder of Prometheus' configuration and rules.
pub(super) const PROMETHEUS_DIR: &str = "/etc/prometheus";
/// Prometheus' configuration.
pub(super) const PROMETHEUS_FILE: &str = "prometheus.yaml";
/// The rules.
pub(super) const RULES_FILE: &str = "rules.yaml";
/// The pod's name, for the labels of what leaves Prometheus.
pub(super) const POD_NAME: &str = "POD_NAME";
/// Folder of Jaeger's configuration.
const JAEGER_DIR: &str = "/etc/jaeger";
/// Jaeger's configuration.
pub(super) const JAEGER_FILE: &str = "jaeger.yaml";

const PROMETHEUS_CONFIG_VOLUME: &str = "prometheus-config";
const PROMETHEUS_DATA_VOLUME: &str = "prometheus-data";
const PROMETHEUS_DATA_DIR: &str = "/prometheus";
const JAEGER_CONFIG_VOLUME: &str = "jaeger-config";
/// How often Prometheus looks for another configuration, so that rules change without a restart.
const RELOAD_INTERVAL: &str = "15s";
/// A pod whose volume is full is evicted, model and all: that must never happen before
/// Prometheus' own limit works. It deletes whole blocks only, and its log comes on top.
const VOLUME_PER_RETENTION: u64 = 4;
/// Part of its limit, in hundredths, that Jaeger's runtime tries to keep to.
pub(super) const SOFT_LIMIT_PERCENT: u64 = 80;

pub(super) fn has_prometheus(choice: &Choice) -> bool {
    choice.metrics == MetricsMode::Sidecar
}

pub(super) fn has_jaeger(choice: &Choice) -> bool {
    choice.tracing == TracingMode::Sidecar
}

pub(super) fn containers(plan: &Plan<'_>) -> Vec<Container> {
    let prometheus = has_prometheus(&plan.choice).then(|| prometheus(plan));
    let jaeger = has_jaeger(&plan.choice).then(|| jaeger(plan));
    prometheus.into_iter().chain(jaeger).collect()
}

pub(super) fn volumes(valid: &Valid<'_>, plan: &Plan<'_>) -> Vec<Volume> {
    let mut volumes = Vec::new();
    if has_prometheus(&plan.choice) {
        let limit = plan.settings.prometheus_retention_size.bytes() * VOLUME_PER_RETENTION;
        let files = [PROMETHEUS_FILE, RULES_FILE];
        volumes.push(config_map::volume(valid, PROMETHEUS_CONFIG_VOLUME, &files));
        volumes.push(Volume {
            name: PROMETHEUS_DATA_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(quantity(&ByteSize::new(limit))),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    if has_jaeger(&plan.choice) {
        volumes.push(config_map::volume(
            valid,
            JAEGER_CONFIG_VOLUME,
            &[JAEGER_FILE],
        ));
    }
    volumes
}

fn prometheus(plan: &Plan<'_>) -> Container {
    let settings = plan.settings;
    Container {
        args: Some(vec![
            format!("--config.file={PROMETHEUS_DIR}/{PROMETHEUS_FILE}"),
            format!("--config.auto-reload-interval={RELOAD_INTERVAL}"),
            "--enable-feature=auto-reload-config,exemplar-storage".to_owned(),
            format!("--storage.tsdb.path={PROMETHEUS_DATA_DIR}"),
            format!(
                "--storage.tsdb.retention.time={}",
                settings.prometheus_retention_time
            ),
            format!(
                "--storage.tsdb.retention.size={}B",
                settings.prometheus_retention_size.bytes()
            ),
            format!("--web.listen-address=:{}", ports::PROMETHEUS),
        ]),
        env: Some(vec![environment::pod_name()]),
        ports: Some(vec![port(ports::PROMETHEUS_NAME, ports::PROMETHEUS)]),
        volume_mounts: Some(vec![
            read_only(PROMETHEUS_CONFIG_VOLUME, PROMETHEUS_DIR),
            VolumeMount {
                name: PROMETHEUS_DATA_VOLUME.to_owned(),
                mount_path: PROMETHEUS_DATA_DIR.to_owned(),
                ..VolumeMount::default()
            },
        ]),
        ..container(&plan.prometheus)
    }
}

fn jaeger(plan: &Plan<'_>) -> Container {
    let soft_limit = plan.jaeger.memory_limit.bytes() / 100 * SOFT_LIMIT_PERCENT;
    Container {
        args: Some(vec![
            "--config".to_owned(),
            format!("{JAEGER_DIR}/{JAEGER_FILE}"),
        ]),
        env: Some(vec![EnvVar {
            name: "GOMEMLIMIT".to_owned(),
            value: Some(soft_limit.to_string()),
            ..EnvVar::default()
        }]),
        ports: Some(vec![port(ports::JAEGER_QUERY_NAME, ports::JAEGER_QUERY)]),
        volume_mounts: Some(vec![read_only(JAEGER_CONFIG_VOLUME, JAEGER_DIR)]),
        ..container(&plan.jaeger)
    }
}

/// What both have in common. There are no probes: a sidecar that is unwell must take no pod out of
/// service.
fn container(sidecar: &Sidecar) -> Container {
    let limit = |name: &str, value: &dyn ToString| (name.to_owned(), quantity(value));
    let cpu_limit = sidecar.cpu_limit.as_ref().map(|cpu| limit("cpu", cpu));
    let limits = cpu_limit
        .into_iter()
        .chain([limit("memory", &sidecar.memory_limit)]);
    Container {
        name: sidecar.name.to_owned(),
        image: Some(sidecar.image.clone()),
        image_pull_policy: Some(sidecar.pull_policy.as_str().to_owned()),
        restart_policy: Some("Always".to_owned()),
        resources: Some(ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), quantity(&sidecar.cpu_request)),
                ("memory".to_owned(), quantity(&sidecar.memory_request)),
            ])),
            limits: Some(limits.collect()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn quantity(value: &dyn ToString) -> Quantity {
    Quantity(value.to_string())
}
