//! What the certificate of a deployment with TLS is checked by: kubelet hands the public half of its Secret to the job,
//! and the operator reads no Secret.
use candlepower_api::{benchmark::job as contract, deployment::LLMDeployment, names::paths};
use k8s_openapi::api::core::v1::{KeyToPath, PodSpec, SecretVolumeSource, Volume, VolumeMount};

const VOLUME: &str = "target-tls";

/// The pod of a job that measures `target`.
pub(super) fn add(target: Option<&LLMDeployment>, mut pod: PodSpec) -> PodSpec {
    let Some(tls) = target.and_then(|target| target.spec.access.tls.as_ref()) else {
        return pod;
    };
    pod.volumes
        .get_or_insert_default()
        .push(volume(&tls.secret_ref.name));
    for container in &mut pod.containers {
        container
            .volume_mounts
            .get_or_insert_default()
            .push(VolumeMount {
                name: VOLUME.to_owned(),
                mount_path: contract::TARGET_TLS_DIR.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            });
    }
    pod
}

/// Without the private key. Many Secrets have no authority's certificate, because their own is signed by itself.
fn volume(secret: &str) -> Volume {
    let items = [paths::TLS_AUTHORITY, paths::TLS_CERTIFICATE].map(|file| KeyToPath {
        key: file.to_owned(),
        path: file.to_owned(),
        mode: None,
    });
    Volume {
        name: VOLUME.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(items.into()),
            optional: Some(true),
            default_mode: Some(0o440),
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use k8s_openapi::api::core::v1::Container;
    use serde_json::json;

    #[test]
    fn the_job_gets_the_certificate_of_its_target_and_not_the_key() {
        let mut target = testing::served("tiny");
        let pod = PodSpec {
            containers: vec![Container::default()],
            ..PodSpec::default()
        };
        assert_eq!(add(Some(&target), pod.clone()), pod);
        assert_eq!(add(None, pod.clone()), pod);
        target.spec.access = serde_json::from_value(json!({
            "tls": {"secretRef": {"name": "tiny-tls"}},
        }))
        .unwrap();
        let pod = json!(add(Some(&target), pod));
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
}
