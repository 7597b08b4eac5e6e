//! Candlepower's operator: keeps each `LLMDeployment` served, and says why where it is not.
//!
//! - [`config`]: flags and environment;
//! - [`deployment`]: the controller of `LLMDeployment`;
//! - [`benchmark`]: the controller of `LLMBenchmark`;
//! - [`leader`]: which of several operators works;
//! - [`history`]: whether etcd was restored, so that the caches are wrong;
//! - [`http`], [`metrics`], [`telemetry`], [`traces`]: how the operator itself is watched;
//! - `queue`, `status`: what the controllers share: how reconciles are run, how a status is written;
//! - `requests`: what every request to the API server passes;
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
mod exposition;
mod guard;
pub mod history;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod observability;
mod pod_security;
mod queue;
mod requests;
pub mod shutdown;
mod sorted;
mod start_failure;
mod status;
pub mod telemetry;
pub mod traces;
mod watches;
mod written;

use config::Config;
use kube::{Client, client::ClientBuilder};
use leader::{Elector, Fence, Lost};
use metrics::Metrics;
use shutdown::Shutdown;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use traces::Exporter;

/// What the last spans get of the time that a stopping process has.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Why the operator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cluster is configured.
    #[error(
        "no cluster to talk to: run inside a pod with a service account, or set KUBECONFIG ({0})"
    )]
    Cluster(String),
    /// Another operator leads now.
    #[error("this operator leads no more, and ends so that it writes nothing: {0}")]
    Leadership(#[from] Lost),
    /// etcd was restored from a snapshot.
    #[error("{0}: this operator ends, so that the next one begins with fresh caches")]
    History(#[from] history::WentBack),
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

/// The API server's history is looked at each time that it has been asked so often what it serves.
const HISTORY_LOOKS: u32 = 4;

/// Runs until SIGTERM or SIGINT, then lets running reconciles finish. With an election, works only
/// while it leads. `traces` sends its spans, where it has any.
pub async fn run(config: Config, traces: Option<Exporter>) -> Result<(), StartError> {
    let metrics = Arc::new(Metrics::new()?);
    let sending = traces.map(|traces| traces.start(&metrics)).transpose()?;
    let result = work(config, metrics).await;
    if let Some(sending) = sending {
        sending.finish(LAST_SPANS).await;
    }
    result
}

async fn work(config: Config, metrics: Arc<Metrics>) -> Result<(), StartError> {
    let elects = config.leader.leader_elect;
    let fence = Arc::new(if elects {
        Fence::closed()
    } else {
        Fence::open()
    });
    let client = client(&metrics, &fence).await?;
    let shutdown = Shutdown::on_signal();
    let mut controllers = deployment::Controllers::new(&client, &config, &metrics);
    let views = controllers.take_views();
    let benchmarks = benchmark::Controllers::new(&client, &config, &metrics, views);
    let (standby, stands_by) = watch::channel(elects);
    let filling = controllers.filling().chain(benchmarks.filling());
    let ready = http::Readiness::new(filling, stands_by);
    let server = http::Server::bind(config.listen, metrics.clone(), ready.clone()).await?;

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
    let work = Box::pin(async {
        metrics.leads(true);
        standby.send_replace(false);
        let reconciling =
            async { tokio::join!(controllers.run(&shutdown), benchmarks.run(&shutdown)) };
        let namespace = config.namespaces().into_iter().next().flatten();
        let interval = config.monitoring.discovery_interval.as_std();
        let every = interval.saturating_mul(HISTORY_LOOKS);
        tokio::select! {
            _ = reconciling => Ok(()),
            back = history::went_back(&client, namespace, every) => Err(StartError::from(back)),
        }
    });
    let result = if elects {
        let elector = elector(&config, fence).await?;
        work_while_leading(elector, work, &shutdown).await
    } else {
        work.await
    };
    serving.abort();
    tracing::info!("the operator has stopped");
    result
}

/// What the controllers ask the API server with.
async fn client(metrics: &Arc<Metrics>, fence: &Arc<Fence>) -> Result<Client, StartError> {
    let watch = requests::Watch {
        metrics: metrics.clone(),
        fence: fence.clone(),
    };
    let cluster = kube::Config::infer().await.map_err(no_cluster)?;
    let builder = ClientBuilder::try_from(cluster).map_err(no_cluster)?;
    Ok(builder.with_layer(&watch).build())
}

/// This process in the election. It has a connection of its own, so that a renewal waits for nothing.
async fn elector(config: &Config, fence: Arc<Fence>) -> Result<Elector, StartError> {
    let client = Client::try_default().await.map_err(no_cluster)?;
    let identity = leader::identity(&config.leader.pod_name);
    let lease = &config.leader.leader_elect_lease;
    Ok(Elector::new(client, lease, identity, fence))
}

fn no_cluster(error: impl std::fmt::Display) -> StartError {
    StartError::Cluster(error.to_string())
}

/// Does `work` once this process leads. Where it leads no more, the work is dropped as it stands.
async fn work_while_leading(
    mut elector: Elector,
    work: impl Future<Output = Result<(), StartError>>,
    shutdown: &Shutdown,
) -> Result<(), StartError> {
    tokio::select! {
        () = elector.acquire() => {}
        () = shutdown.clone().wait() => return Ok(()),
    }
    let result = tokio::select! {
        result = work => result,
        lost = elector.keep() => return Err(lost.into()),
    };
    elector.release().await;
    result
}
