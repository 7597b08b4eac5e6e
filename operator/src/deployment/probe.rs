//! Asks pods: how far loading has come, and for their metrics.
use super::fetch;
use axum::{body::Bytes, http::StatusCode};
use candlepower_api::{
    names::{paths, ports},
    server_config::LoadReport,
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Everything here is asked for again soon, so a slow answer is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A report has a few hundred bytes.
const LARGEST_REPORT: usize = 64 * 1024;
/// A server's metrics have some 40 KiB.
const LARGEST_METRICS: usize = 1024 * 1024;

/// Asks the servers in pods.
#[derive(Clone, Debug)]
pub(super) struct Client(fetch::Client);

impl Client {
    pub(super) fn new() -> Self {
        Self(fetch::Client::new(PATIENCE))
    }

    /// What the server in the pod says; `None` while it does not answer.
    pub(super) async fn load_report(&self, pod_ip: &str) -> Option<LoadReport> {
        // 503 while loading and 200 afterwards carry the same body.
        self.get(pod_ip, paths::HEALTH_STARTUP, LARGEST_REPORT)
            .await
            .and_then(|(_, body)| serde_json::from_slice(&body).map_err(|error| error.to_string()))
            .inspect_err(|error| tracing::debug!(pod_ip, error, "no load report"))
            .ok()
    }

    /// The pod's metrics in Prometheus' text format, or why there are none.
    pub(super) async fn metrics(&self, pod_ip: &str) -> Result<String, String> {
        let (status, body) = self.get(pod_ip, paths::METRICS, LARGEST_METRICS).await?;
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        String::from_utf8(body.into()).map_err(|error| error.to_string())
    }

    async fn get(
        &self,
        pod_ip: &str,
        path: &str,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let address: IpAddr = pod_ip
            .parse()
            .map_err(|_| format!("{pod_ip} is not an address"))?;
        let url = format!(
            "http://{}{path}",
            SocketAddr::from((address, ports::SERVER_HTTP))
        );
        self.0.get(&url, largest).await
    }
}
