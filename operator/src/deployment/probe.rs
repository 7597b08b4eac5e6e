//! Asks a pod's start-up probe how far loading has come.
use axum::{body::Body, http::Request};
use candlepower_api::{
    names::{paths, ports},
    server_config::LoadReport,
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{net::IpAddr, time::Duration};
use tokio::time::timeout;

/// A report is asked for again soon, so a slow one is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A report has a few hundred bytes.
const LARGEST_BODY: usize = 64 * 1024;

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
        let address: IpAddr = pod_ip.parse().ok()?;
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let url = format!(
            "http://{host}:{}{}",
            ports::SERVER_HTTP,
            paths::HEALTH_STARTUP
        );
        match timeout(PATIENCE, self.get(&url)).await {
            Ok(Ok(report)) => Some(report),
            Ok(Err(error)) => {
                tracing::debug!(url, error, "no load report");
                None
            }
            Err(_) => {
                tracing::debug!(url, "no load report in time");
                None
            }
        }
    }

    async fn get(&self, url: &str) -> Result<LoadReport, String> {
        let request = Request::get(url)
            .body(Body::empty())
            .map_err(|error| error.to_string())?;
        let response = self
            .0
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let body = Limited::new(response.into_body(), LARGEST_BODY)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        // 503 while loading and 200 afterwards carry the same body.
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }
}
