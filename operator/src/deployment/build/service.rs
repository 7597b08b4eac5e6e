//! The Service: one stable address for all pods.
use super::{labels, metadata};
use crate::deployment::validate::Valid;
use candlepower_api::names::ports;
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub(super) fn service(valid: &Valid<'_>) -> Service {
    Service {
        metadata: metadata(valid),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(labels::selector(&valid.name)),
            ports: Some(vec![ServicePort {
                name: Some(ports::SERVER_HTTP_NAME.to_owned()),
                port: i32::from(ports::SERVER_HTTP),
                target_port: Some(IntOrString::String(ports::SERVER_HTTP_NAME.to_owned())),
                protocol: Some("TCP".to_owned()),
                app_protocol: Some("http".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
