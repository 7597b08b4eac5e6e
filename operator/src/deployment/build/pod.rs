//! The pods: one container with the server, as unprivileged as Kubernetes allows, and sidecars.
use super::{CACHE, config_map, environment, labels, resources, sidecars, tls};
use crate::{
    deployment::{
        monitoring::Plan,
        source::{CacheVolume, FetchedModel, ModelSource, ModelVolume},
        validate::Valid,
    },
    pod_security::{container_security, pod_security},
};
use candlepower_api::{
    deployment::SecretReference,
    names::{containers, labels as names, paths, ports},
};
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, EmptyDirVolumeSource, HTTPGetAction, HostPathVolumeSource,
        PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Probe, SecretVolumeSource,
        TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

/// The container that serves.
pub(in crate::deployment) const CONTAINER: &str = containers::SERVER;

/// How long a stopping pod still serves whatever comes, so that its address is withdrawn everywhere first. The server
/// itself waits, and not a hook before its signal: only so can it send clients with open connections elsewhere.
pub(super) const WITHDRAWAL_SECONDS: u64 = 5;
/// Time for the server's last words, on top of what running requests get: at most two seconds each to tell those
/// that were cut off, to close connections and to send spans, and one to end threads.
const FAREWELL_SECONDS: u64 = 8;
/// Loading has no deadline: kubelet never gives up while the start-up probe is asked.
const FOREVER: i32 = i32::MAX;

const CONFIG_VOLUME: &str = "config";
/// The volume with the API keys.
pub(in crate::deployment) const API_KEYS_VOLUME: &str = "api-keys";
const MODEL_VOLUME: &str = "model";
const TMP_VOLUME: &str = "tmp";

pub(super) fn template(valid: &Valid<'_>, plan: &Plan<'_>, config_hash: &str) -> PodTemplateSpec {
    let overrides = &valid.spec.pod;
    let mut pod_labels = overrides.labels.clone();
    pod_labels.extend(labels::all(&valid.name));
    let mut annotations = overrides.annotations.clone();
    annotations.insert(names::CONFIG_HASH.to_owned(), config_hash.to_owned());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(spec(valid, plan)),
    }
}

fn spec(valid: &Valid<'_>, plan: &Plan<'_>) -> PodSpec {
    let overrides = valid.spec.pod.clone();
    let beside = sidecars::containers(plan);
    let mut all_volumes = volumes(valid);
    all_volumes.extend(sidecars::volumes(valid, plan));
    PodSpec {
        containers: vec![container(valid)],
        init_containers: Some(beside).filter(|list| !list.is_empty()),
        volumes: Some(all_volumes),
        resource_claims: resources::claims(&valid.spec.resources),
        security_context: Some(pod_security()),
        // The server never talks to the API server.
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_period(valid)),
        topology_spread_constraints: Some(spread(&valid.name).into()),
        node_selector: Some(overrides.node_selector).filter(|labels| !labels.is_empty()),
        tolerations: Some(overrides.tolerations).filter(|list| !list.is_empty()),
        affinity: overrides.affinity,
        priority_class_name: overrides.priority_class_name,
        runtime_class_name: overrides.runtime_class_name,
        image_pull_secrets: Some(overrides.image_pull_secrets).filter(|list| !list.is_empty()),
        ..PodSpec::default()
    }
}

fn container(valid: &Valid<'_>) -> Container {
    let config_file = format!("{}/{}", paths::CONFIG_DIR, paths::CONFIG_FILE);
    Container {
        name: CONTAINER.to_owned(),
        image: Some(valid.server.image.clone()),
        image_pull_policy: Some(valid.server.pull_policy.as_str().to_owned()),
        args: Some(vec!["--config".to_owned(), config_file]),
        env: Some(environment::of_server(valid)),
        env_from: environment::credentials(valid),
        ports: Some(
            [container_port(ports::SERVER_HTTP_NAME, ports::SERVER_HTTP)]
                .into_iter()
                .chain(tls::port(valid))
                .collect(),
        ),
        resources: Some(resources::of_server(&valid.spec.resources)),
        security_context: Some(container_security()),
        startup_probe: Some(probe(paths::HEALTH_STARTUP, 1, FOREVER)),
        readiness_probe: Some(probe(paths::HEALTH_READY, 2, 2)),
        liveness_probe: Some(probe(paths::HEALTH_LIVE, 10, 3)),
        // A crash without last words shows its last log lines instead.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        termination_message_path: Some(paths::TERMINATION_LOG.to_owned()),
        volume_mounts: Some(mounts(valid)),
        ..Container::default()
    }
}

pub(super) fn container_port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn mounts(valid: &Valid<'_>) -> Vec<VolumeMount> {
    let mut mounts = vec![
        read_only(CONFIG_VOLUME, paths::CONFIG_DIR),
        match valid.model {
            ModelSource::Mounted(_) => read_only(MODEL_VOLUME, paths::MODELS_DIR),
            ModelSource::Fetched(_) => writable(CACHE, paths::CACHE_DIR),
        },
        writable(TMP_VOLUME, "/tmp"),
    ];
    if valid.spec.access.api_keys.is_some() {
        mounts.push(read_only(API_KEYS_VOLUME, paths::API_KEYS_DIR));
    }
    mounts.extend(tls::mount(valid));
    mounts
}

fn volumes(valid: &Valid<'_>) -> Vec<Volume> {
    let model = match &valid.model {
        ModelSource::Mounted(model) => model_volume(&model.volume),
        ModelSource::Fetched(model) => cache_volume(valid, model),
    };
    let keys = valid.spec.access.api_keys.as_ref();
    let keys = keys.map(|keys| secret_volume(API_KEYS_VOLUME, &keys.secret_ref));
    [
        config_map::volume(valid, CONFIG_VOLUME, &[paths::CONFIG_FILE]),
        model,
        Volume {
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..volume(TMP_VOLUME)
        },
    ]
    .into_iter()
    .chain(keys)
    .chain(tls::volume(valid))
    .collect()
}

/// Without the Secret the pod does not start, and its condition names what is missing.
pub(super) fn secret_volume(name: &str, secret: &SecretReference) -> Volume {
    Volume {
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..volume(name)
    }
}

fn volume(name: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        ..Volume::default()
    }
}

fn model_volume(model: &ModelVolume) -> Volume {
    match model {
        ModelVolume::Claim(claim) => Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                read_only: Some(true),
            }),
            ..volume(MODEL_VOLUME)
        },
        ModelVolume::HostFolder(folder) => Volume {
            host_path: Some(HostPathVolumeSource {
                path: folder.display().to_string(),
                // Without a type, a mistyped folder would be created on the node.
                type_: Some("Directory".to_owned()),
            }),
            ..volume(MODEL_VOLUME)
        },
    }
}

fn cache_volume(valid: &Valid<'_>, model: &FetchedModel) -> Volume {
    let claim = match &model.cache {
        CacheVolume::New { .. } => format!("{}-{CACHE}", valid.name),
        CacheVolume::Existing { claim, .. } => claim.clone(),
        // Without a limit: nobody knows the model's size, and the server asks for the room that is
        // left before it fetches.
        CacheVolume::Pod => {
            return Volume {
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..volume(CACHE)
            };
        }
    };
    Volume {
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim,
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..volume(CACHE)
    }
}

fn writable(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

pub(super) fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// Rounded up to whole seconds, because Kubernetes counts in them.
fn grace_period(valid: &Valid<'_>) -> i64 {
    let drain = valid.spec.rollout.drain_timeout.as_std();
    let seconds = drain.as_secs() + u64::from(drain.subsec_nanos() > 0);
    let all = seconds.saturating_add(WITHDRAWAL_SECONDS + FAREWELL_SECONDS);
    i64::try_from(all).unwrap_or(i64::MAX)
}

/// Replicas on different nodes and in different zones, as far as there is room. Single pods have the same, or another
/// number of replicas would replace them; and each roll-out counts for itself, because the pods before it go.
fn spread(name: &str) -> [TopologySpreadConstraint; 2] {
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone"].map(|key| TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew: 1,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some(labels::selector(name)),
            ..LabelSelector::default()
        }),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    })
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ports::SERVER_HTTP_NAME.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        failure_threshold: Some(failure_threshold),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{monitoring::Choice, testing};
    use serde_json::json;

    #[test]
    fn additions_reach_the_pod_and_cannot_replace_the_operators_own_labels() {
        let resource = testing::resource(json!({"pod": {
            "labels": {"team": "a", "app.kubernetes.io/name": "mine"},
            "annotations": {"note": "b", "candlepower.dev/config-hash": "mine"},
            "nodeSelector": {"gpu": "l4"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "registry"}],
            "env": [{"name": "A", "value": "b"}],
        }}));
        let template = template(
            &testing::valid(&resource),
            &Plan::new(
                Choice::default(),
                &testing::settings(&[]),
                &testing::observed(),
            ),
            "abc",
        );
        let metadata = template.metadata.unwrap();
        let labels = metadata.labels.unwrap();
        assert_eq!(labels["team"], "a");
        assert_eq!(labels["app.kubernetes.io/name"], "candlepower-server");
        let annotations = metadata.annotations.unwrap();
        assert_eq!(annotations["note"], "b");
        assert_eq!(annotations["candlepower.dev/config-hash"], "abc");
        let pod = template.spec.unwrap();
        assert_eq!(pod.node_selector.unwrap()["gpu"], "l4");
        assert_eq!(pod.tolerations.unwrap().len(), 1);
        assert_eq!(pod.runtime_class_name.unwrap(), "nvidia");
        assert_eq!(pod.image_pull_secrets.unwrap()[0].name, "registry");
        assert_eq!(pod.containers[0].env.as_ref().unwrap()[2].name, "A");
    }

    #[test]
    fn api_keys_are_files_for_reading_only_and_no_variables() {
        let resource = testing::resource(json!({"access": {"apiKeys": {
            "secretRef": {"name": "keys"},
        }}}));
        let valid = testing::valid(&resource);
        let volumes = json!(volumes(&valid));
        let secret =
            json!({"name": "api-keys", "secret": {"secretName": "keys", "defaultMode": 0o440}});
        assert!(volumes.as_array().unwrap().contains(&secret), "{volumes}");
        let container = container(&valid);
        let mount =
            json!({"name": "api-keys", "mountPath": "/etc/candlepower-api-keys", "readOnly": true});
        let mounts = json!(container.volume_mounts);
        assert!(mounts.as_array().unwrap().contains(&mount), "{mounts}");
        assert!(!json!(container.env).to_string().contains("keys"));
    }

    #[test]
    fn a_stopping_pod_gets_the_time_that_its_requests_get() {
        let seconds = |timeout: &str| {
            let resource = testing::resource(json!({"rollout": {"drainTimeout": timeout}}));
            grace_period(&testing::valid(&resource))
        };
        assert_eq!(seconds("60s"), 73);
        assert_eq!(seconds("500ms"), 14);
    }

    #[test]
    fn a_file_on_the_node_is_mounted_by_its_folder_for_reading_only() {
        let resource = testing::resource(json!({"model": {"source": "file:///srv/models/a.gguf"}}));
        let pod = spec(
            &testing::valid(&resource),
            &Plan::new(
                Choice::default(),
                &testing::settings(&[]),
                &testing::observed(),
            ),
        );
        let volumes = pod.volumes.unwrap();
        let model = volumes.iter().find(|v| v.name == MODEL_VOLUME).unwrap();
        assert_eq!(model.host_path.as_ref().unwrap().path, "/srv/models");
        let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
        let mount = mounts.iter().find(|m| m.name == MODEL_VOLUME).unwrap();
        assert_eq!(
            (mount.mount_path.as_str(), mount.read_only),
            ("/models", Some(true))
        );
    }
}
