//! The Service: one stable address for all pods.
use super::{
    labels, metadata,
    sidecars::{has_jaeger, has_prometheus},
};
use crate::deployment::{monitoring::Choice, validate::Valid};
use candlepower_api::names::ports;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub(super) fn service(valid: &Valid<'_>, choice: &Choice) -> Service {
    let (name, number) = match &valid.spec.access.tls {
        None => (ports::SERVER_HTTP_NAME, ports::SERVER_HTTP),
        // No request can go to a pod of before, which would take it in the clear: such pods have no port of this name.
        Some(_) => (ports::SERVER_HTTPS_NAME, ports::SERVER_HTTPS),
    };
    let mut ports = vec![ServicePort {
        app_protocol: Some(name.to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..port(name, number)
    }];
    if has_prometheus(choice) {
        ports.push(port(ports::PROMETHEUS_NAME, ports::PROMETHEUS));
    }
    if has_jaeger(choice) {
        ports.push(port(ports::JAEGER_QUERY_NAME, ports::JAEGER_QUERY));
    }
    Service {
        metadata: metadata(valid),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(labels::selector(&valid.name)),
            ports: Some(ports),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// A sidecar's port, by number: clients look for names among ordinary containers only.
fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
