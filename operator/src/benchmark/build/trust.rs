//! What the target's certificate is checked by. Kubelet hands it to the job: of a deployment with TLS the public half of
//! its Secret, of another server what `target.ca` names. The operator reads no Secret.
use candlepower_api::{
    benchmark::{CertificateAuthority, LLMBenchmark, job as contract},
    deployment::LLMDeployment,
    names::paths,
};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, PodSpec, SecretVolumeSource, Volume, VolumeMount,
};

const DEPLOYMENTS_VOLUME: &str = "target-tls";
/// Kubelet's messages name it.
pub(in crate::benchmark) const AUTHORITY_VOLUME: &str = "target-ca";

/// The pod of a job that measures the target of `resource`, which is `target` where it is a deployment.
pub(super) fn add(
    resource: &LLMBenchmark,
    target: Option<&LLMDeployment>,
    mut pod: PodSpec,
) -> PodSpec {
    let tls = target.and_then(|target| target.spec.access.tls.as_ref());
    let volume = match (tls, &resource.spec.target.ca) {
        (Some(tls), _) => of_deployment(&tls.secret_ref.name),
        (None, Some(ca)) => of_authority(ca),
        (None, None) => return pod,
    };
    for container in &mut pod.containers {
        container
            .volume_mounts
            .get_or_insert_default()
            .push(VolumeMount {
                name: volume.name.clone(),
                mount_path: contract::TARGET_TLS_DIR.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            });
    }
    pod.volumes.get_or_insert_default().push(volume);
    pod
}

/// Without the private key. Many Secrets have no authority's certificate, because their own is signed by itself.
fn of_deployment(secret: &str) -> Volume {
    let items = [paths::TLS_AUTHORITY, paths::TLS_CERTIFICATE].map(|file| item(file, file));
    Volume {
        name: DEPLOYMENTS_VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(items.into()),
            optional: Some(true),
            default_mode: Some(0o440),
        }),
        ..Volume::default()
    }
}

/// Without it the pod does not start, and the condition says what is missing.
fn of_authority(ca: &CertificateAuthority) -> Volume {
    let items = Some(vec![item(&ca.key, paths::TLS_AUTHORITY)]);
    Volume {
        name: AUTHORITY_VOLUME.to_owned(),
        secret: ca.secret_ref.as_ref().map(|secret| SecretVolumeSource {
            secret_name: Some(secret.name.clone()),
            items: items.clone(),
            optional: None,
            default_mode: Some(0o440),
        }),
        config_map: ca
            .config_map_ref
            .as_ref()
            .map(|config_map| ConfigMapVolumeSource {
                name: config_map.name.clone(),
                items,
                optional: None,
                default_mode: Some(0o440),
            }),
        ..Volume::default()
    }
}

fn item(key: &str, file: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: file.to_owned(),
        mode: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use k8s_openapi::api::core::v1::Container;
    use serde_json::{Value, json};

    fn pod() -> PodSpec {
        PodSpec {
            containers: vec![Container::default()],
            ..PodSpec::default()
        }
    }

    fn of_server(ca: &Value) -> LLMBenchmark {
        testing::benchmark(json!({"target": {"url": "https://a", "model": "m", "ca": ca}}))
    }

    #[test]
    fn the_job_gets_the_certificate_of_its_target_and_not_the_key() {
        let resource = testing::benchmark(json!({"target": {"deployment": "tiny"}}));
        let mut target = testing::served("tiny");
        assert_eq!(add(&resource, Some(&target), pod()), pod());
        assert_eq!(add(&resource, None, pod()), pod());
        target.spec.access = serde_json::from_value(json!({
            "tls": {"secretRef": {"name": "tiny-tls"}},
        }))
        .unwrap();
        let pod = json!(add(&resource, Some(&target), pod()));
        assert_eq!(
            pod["volumes"],
            json!([{"name": "target-tls", "secret": {
                "secretName": "tiny-tls", "optional": true, "defaultMode": 0o440,
                "items": [{"key": "ca.crt", "path": "ca.crt"}, {"key": "tls.crt", "path": "tls.crt"}],
            }}])
        );
        assert_eq!(
            pod["containers"][0]["volumeMounts"],
            json!([{
                "name": "target-tls", "mountPath": "/etc/candlepower-target-tls", "readOnly": true,
            }])
        );
    }

    #[test]
    fn the_authority_of_another_server_lies_where_the_job_looks_whatever_its_key() {
        let resource = of_server(&json!({"secretRef": {"name": "corporate"}, "key": "root.pem"}));
        let pod = json!(add(&resource, None, pod()));
        assert_eq!(
            pod["volumes"],
            json!([{"name": "target-ca", "secret": {
                "secretName": "corporate", "defaultMode": 0o440,
                "items": [{"key": "root.pem", "path": "ca.crt"}],
            }}])
        );
        assert_eq!(
            pod["containers"][0]["volumeMounts"],
            json!([{
                "name": "target-ca", "mountPath": "/etc/candlepower-target-tls", "readOnly": true,
            }])
        );
    }

    #[test]
    fn an_authority_may_be_in_a_config_map() {
        let resource = of_server(&json!({"configMapRef": {"name": "bundle"}}));
        let pod = json!(add(&resource, None, pod()));
        assert_eq!(
            pod["volumes"],
            json!([{"name": "target-ca", "configMap": {
                "name": "bundle", "defaultMode": 0o440,
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }}])
        );
    }
}
