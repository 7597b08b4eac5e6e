//! Asks pods: how far loading has come, and for their metrics.
use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use candlepower_api::{
    names::{paths, ports},
    server_config::LoadReport,
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::time::timeout;

/// Everything here is asked for again soon, so a slow answer is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A report has a few hundred bytes.
const LARGEST_REPORT: usize = 64 * 1024;
/// A server's metrics have some 40 KiB.
const LARGEST_METRICS: usize = 1024 * 1024;

/// A small HTTP client for pods.
#[derive(Clone, Debug)]
pub(super) struct Client(legacy::Client<HttpConnector, Body>);

impl Client {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        Self(
            legacy::Client::builder(TokioExecutor::new())
                // Pods come and go: a connection that is kept only costs memory.
                .pool_max_idle_per_host(0)
                .build(connector),
        )
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
        timeout(PATIENCE, self.fetch(&url, largest))
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }

    async fn fetch(&self, url: &str, largest: usize) -> Result<(StatusCode, Bytes), String> {
        let request = Request::get(url)
            .body(Body::empty())
            .map_err(|error| error.to_string())?;
        let response = self
            .0
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), largest)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok((status, body))
    }
}
