//! What a certificate adds to the pods: its Secret, and a port for HTTPS. Probes and metrics stay on the other port, in the
//! clear, so that nothing that asks for them needs to know of it.
use super::pod::{container_port, read_only, secret_volume};
use crate::deployment::validate::Valid;
use candlepower_api::{
    deployment::Tls,
    names::{paths, ports},
};
use k8s_openapi::api::core::v1::{ContainerPort, Volume, VolumeMount};

/// The volume with the certificate.
pub(in crate::deployment) const TLS_VOLUME: &str = "tls";

fn wanted<'a>(valid: &Valid<'a>) -> Option<&'a Tls> {
    valid.spec.access.tls.as_ref()
}

pub(super) fn port(valid: &Valid<'_>) -> Option<ContainerPort> {
    wanted(valid).map(|_| container_port(ports::SERVER_HTTPS_NAME, ports::SERVER_HTTPS))
}

pub(super) fn mount(valid: &Valid<'_>) -> Option<VolumeMount> {
    wanted(valid).map(|_| read_only(TLS_VOLUME, paths::TLS_DIR))
}

pub(super) fn volume(valid: &Valid<'_>) -> Option<Volume> {
    wanted(valid).map(|tls| secret_volume(TLS_VOLUME, &tls.secret_ref))
}

#[cfg(test)]
mod tests {
    use crate::deployment::{
        build::{Children, children},
        monitoring::Plan,
        testing,
    };
    use serde_json::{Value, json};

    fn made(access: &Value) -> Children {
        let resource = testing::resource(json!({"access": access}));
        let settings = testing::settings(&["--monitoring-namespace", "monitoring"]);
        let choice = testing::choice(
            &resource,
            testing::STACK,
            &["--otlp-endpoint=http://c:4317"],
        );
        let plan = Plan::new(choice, &settings, &testing::observed());
        children(&testing::valid(&resource), &plan).unwrap()
    }

    fn tls() -> Value {
        json!({"tls": {"secretRef": {"name": "tiny-tls"}}})
    }

    #[test]
    fn a_certificate_is_mounted_for_reading_only_and_probes_and_scrapes_stay_where_they_are() {
        let (plain, secure) = (made(&json!({})), made(&tls()));
        let pod = |children: &Children| {
            let spec = children.deployment.spec.clone().unwrap();
            spec.template.spec.unwrap()
        };
        let (before, pod) = (pod(&plain), pod(&secure));
        let secret =
            json!({"name": "tls", "secret": {"secretName": "tiny-tls", "defaultMode": 0o440}});
        let volumes = json!(pod.volumes);
        assert!(volumes.as_array().unwrap().contains(&secret), "{volumes}");
        let (container, before) = (&pod.containers[0], &before.containers[0]);
        let mount = json!({"name": "tls", "mountPath": "/etc/candlepower-tls", "readOnly": true});
        let mounts = json!(container.volume_mounts);
        assert!(mounts.as_array().unwrap().contains(&mount), "{mounts}");
        assert_eq!(
            json!(container.ports),
            json!([
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "https", "containerPort": 8443, "protocol": "TCP"},
            ])
        );
        assert_eq!(container.startup_probe, before.startup_probe);
        assert_eq!(container.readiness_probe, before.readiness_probe);
        assert_eq!(container.liveness_probe, before.liveness_probe);
        assert_eq!(secure.pod_monitor, plain.pod_monitor);
        assert!(secure.pod_monitor.is_some());
        assert_ne!(secure.config_hash, plain.config_hash);
    }

    #[test]
    fn the_service_offers_https_alone() {
        let ports = made(&tls()).service.spec.unwrap().ports;
        assert_eq!(
            json!(ports),
            json!([{
                "name": "https", "port": 8443, "targetPort": "https", "protocol": "TCP",
                "appProtocol": "https",
            }])
        );
    }

    #[test]
    fn metrics_are_for_the_monitoring_and_benchmarks_also_where_everybody_may_send_requests() {
        let policy = made(&tls()).network_policy.unwrap();
        assert_eq!(
            json!(policy.spec.unwrap().ingress),
            json!([
                {
                    "from": [{"namespaceSelector": {}}],
                    "ports": [{"port": 8443, "protocol": "TCP"}],
                },
                {
                    "from": [
                        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
                        {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "candlepower-bench"}}},
                    ],
                    "ports": [{"port": 8080, "protocol": "TCP"}],
                },
            ])
        );
    }
}
