//! Candlepower's operator: keeps each `LLMDeployment` served, and says why where it is not.
//!
//! - [`config`]: flags and environment;
//! - [`deployment`]: the controller of `LLMDeployment`;
//! - [`benchmark`]: the controller of `LLMBenchmark`;
//! - [`http`], [`metrics`], [`telemetry`]: how the operator itself is watched;
//! - `queue`, `status`: what the controllers share: how reconciles are run, how a status is written;
//! - [`backoff`]: when to try again after a failure.
#![forbid(unsafe_code)]

pub mod backoff;
pub mod benchmark;
mod children;
mod conditions;
pub mod config;
pub mod deployment;
mod error;
mod events;
pub mod http;
pub mod metrics;
pub mod observability;
mod pod_security;
mod queue;
pub mod shutdown;
mod sorted;
mod status;
pub mod telemetry;
mod watches;
mod written;

use config::Config;
use metrics::Metrics;
use shutdown::Shutdown;
use std::sync::Arc;

/// Why the operator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cluster is configured.
    #[error(
        "no cluster to talk to: run inside a pod with a service account, or set KUBECONFIG ({0})"
    )]
    Cluster(#[source] kube::Error),
    /// The own HTTP endpoint cannot listen.
    #[error("cannot listen on {address}: {source}; choose another --listen address")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The metrics contradict each other.
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs until SIGTERM or SIGINT, then lets running reconciles finish.
pub async fn run(config: Config) -> Result<(), StartError> {
    let client = kube::Client::try_default()
        .await
        .map_err(StartError::Cluster)?;
    let metrics = Arc::new(Metrics::new()?);
    let shutdown = Shutdown::on_signal();
    let mut controllers = deployment::Controllers::new(&client, &config, &metrics)?;
    let views = controllers.take_views();
    let benchmarks = benchmark::Controllers::new(&client, &config, &metrics, views)?;
    let ready = http::Readiness::new(controllers.filling().chain(benchmarks.filling()));
    let server = http::Server::bind(config.listen, metrics, ready.clone()).await?;

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespaces = %config.watched(),
        listen = %config.listen,
        server_image = config.server_image,
        "the operator runs"
    );
    tokio::spawn(ready.announce());
    // The endpoint goes last, so that the last reconciles can still be scraped.
    let serving = tokio::spawn(server.serve());
    tokio::join!(controllers.run(&shutdown), benchmarks.run(&shutdown));
    serving.abort();
    tracing::info!("the operator has stopped");
    Ok(())
}
