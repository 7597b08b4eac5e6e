//! Where the load goes: an address as it is, or a deployment by way of the cluster.
use super::{Error, connection};
use crate::evidence::cluster;
use candlepower_api::deployment::LLMDeploymentSpec;
use kube::ResourceExt;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// An address that this machine reaches.
pub(super) struct Reached {
    pub(super) url: String,
    /// What the way there does to figures.
    pub(super) warning: Option<String>,
    /// What the deployment asks for, where it is one of ours.
    pub(super) deployment: Option<LLMDeploymentSpec>,
}

/// Finds the way to a target.
pub(super) async fn reach(target: &str, flags: connection::Flags) -> Result<Reached, Error> {
    if target.contains("://") {
        return Ok(Reached {
            url: target.to_owned(),
            warning: None,
            deployment: None,
        });
    }
    let connection = flags.connect().await?;
    let deployment = connection.find(target).await?;
    let namespace = deployment.namespace().unwrap_or_default();
    let status = deployment.status.as_ref();
    let address = status
        .and_then(|status| status.url.clone())
        .ok_or_else(|| {
            Error::Other(format!(
                "LLMDeployment {target} has no address yet; see `candlepower status {target}`"
            ))
        })?;
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        return Ok(Reached {
            url: address,
            warning: None,
            deployment: Some(deployment.spec),
        });
    }
    let client = connection.client.clone();
    let service = cluster::service_behind(&client, &address, &namespace).await?;
    let pod = service
        .pod(&client, cluster::port(&address).unwrap_or(80))
        .await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let warning = format!(
        "the load goes to pod {} alone and through the API server's port-forward, which adds to every time and breaks under many connections; an LLMBenchmark measures inside the cluster",
        pod.pod
    );
    tokio::spawn(cluster::serve(client, pod, listener));
    Ok(Reached {
        url: format!("http://127.0.0.1:{port}"),
        warning: Some(warning),
        deployment: Some(deployment.spec),
    })
}
