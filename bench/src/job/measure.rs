//! One round: load, and the evidence beside it.
use super::{Error, ends::Ends, follow::Follow, machines::Machines};
use crate::{
    evidence::{
        Evidence,
        collect::collect,
        gpus::GpuScraper,
        scrape::Scraper,
        sources::{MetricsFrom, Sources},
        trace::Origin,
    },
    load::{
        self, CancellationToken,
        plan::{Plan, Target},
    },
    record::Run,
};
use candlepower_api::benchmark::job::{MetricsPage, Served};
use hyper::Uri;
use std::time::Duration;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

/// How often a server's metrics are read.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);

/// How long a Service may take until it leads to a pod that has become ready.
const ROUTING: Duration = Duration::from_secs(30);

/// A round's records and evidence.
pub(super) struct Measured {
    pub(super) run: Run,
    pub(super) evidence: Evidence,
}

/// Applies `plan` to `served` and collects what can be seen of it.
pub(super) async fn measure(
    plan: &Plan,
    served: &Served,
    place: &Place<'_>,
    machines: &mut Machines,
    ends: Ends,
    follow: &mut Follow,
    cancel: &CancellationToken,
) -> Result<Measured, Error> {
    wait_for_connections(&served.url, cancel).await;
    let same_machine = place.is_node_of(&served.metrics);
    let scraper = start(served, &plan.target, same_machine);
    let gpus = start_gpus(served, &plan.target);
    let run = load::run(plan, follow, cancel.clone()).await?;
    if cancel.is_cancelled() {
        return Err(Error::Interrupted);
    }
    let metrics = match scraper {
        Ok((pages, scraper)) => MetricsFrom::Scrapes {
            pages,
            scraped: scraper.stop(),
            instead: from_prometheus(served, place.namespace).map(Box::new),
        },
        Err(why) => {
            from_prometheus(served, place.namespace).unwrap_or(MetricsFrom::Nowhere { why })
        }
    };
    follow.collecting();
    let hardware = tokio::select! {
        hardware = machines.below(served) => hardware?,
        () = cancel.cancelled() => return Err(Error::Interrupted),
    };
    let sources = Sources {
        target: plan.target.clone(),
        metrics,
        gpus: gpus.stop(),
        jaegers: jaegers(served),
        origin: served.deployment.clone().map(|deployment| Origin {
            namespace: Some(place.namespace.to_owned()),
            deployment,
        }),
        deployment: served
            .deployment_spec
            .clone()
            .and_then(|spec| serde_json::from_value(spec).ok()),
        hardware,
        pods: u32::try_from(served.metrics.len()).unwrap_or_default(),
        nodes: served.nodes.clone(),
        nodes_missing: served.nodes_missing.clone(),
    };
    let mut evidence = collect(&run, sources).await;
    evidence.container_ends = ends.of(&run, &evidence).await;
    Ok(Measured { run, evidence })
}

/// Nodes learn of a ready pod a moment after the operator does. Where nothing listens in the end, the
/// load says so.
async fn wait_for_connections(url: &str, cancel: &CancellationToken) {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
        return;
    };
    let deadline = Instant::now() + ROUTING;
    while Instant::now() < deadline && !cancel.is_cancelled() {
        if TcpStream::connect((host, port)).await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Where the job runs.
pub(super) struct Place<'a> {
    pub(super) namespace: &'a str,
    pub(super) node: Option<&'a str>,
}

impl Place<'_> {
    /// Whether all pods are on this node, so that what is read here under load is true of them.
    fn is_node_of(&self, pages: &[MetricsPage]) -> bool {
        self.node.is_some()
            && !pages.is_empty()
            && pages.iter().all(|page| page.node.as_deref() == self.node)
    }
}

/// The pages themselves are read more often than any Prometheus would.
fn start(
    served: &Served,
    target: &Target,
    same_machine: bool,
) -> Result<(Vec<String>, Scraper), String> {
    let pages: Vec<_> = served.metrics.iter().map(|page| page.url.clone()).collect();
    if pages.is_empty() {
        return Err("no page with its metrics is known; set spec.target.metrics".to_owned());
    }
    let scraper = Scraper::start(
        &pages,
        target,
        Some(served.dialect),
        SCRAPE_EVERY,
        same_machine,
    );
    let scraper = scraper.map_err(|error| error.to_string())?;
    Ok((pages, scraper))
}

/// Pages of dcgm-exporter, of whose GPUs only those of the target's pods count.
fn start_gpus(served: &Served, target: &Target) -> GpuScraper {
    let pods = served.metrics.iter().filter_map(|page| page.pod.clone());
    let pages = &served.gpu_metrics;
    GpuScraper::start(pages, target, pods.collect(), SCRAPE_EVERY)
        .unwrap_or_else(|error| GpuScraper::refused(pages, &error))
}

fn from_prometheus(served: &Served, namespace: &str) -> Option<MetricsFrom> {
    let deployment = served.deployment.as_ref()?;
    (!served.prometheus.is_empty()).then(|| MetricsFrom::Prometheus {
        urls: served.prometheus.clone(),
        dialect: served.dialect,
        selector: format!("namespace=\"{namespace}\",llmdeployment=\"{deployment}\""),
    })
}

fn jaegers(served: &Served) -> Result<Vec<String>, String> {
    if served.jaeger.is_empty() {
        return Err("no Jaeger is known for this target".to_owned());
    }
    Ok(served.jaeger.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(node: &str) -> MetricsPage {
        MetricsPage {
            pod: None,
            node: Some(node.to_owned()),
            url: String::new(),
        }
    }

    #[tokio::test]
    async fn a_service_that_leads_nowhere_yet_is_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let later = tokio::spawn(async move {
            sleep(Duration::from_millis(300)).await;
            tokio::net::TcpListener::bind(address).await.unwrap()
        });
        let begun = Instant::now();
        wait_for_connections(&format!("http://{address}"), &CancellationToken::new()).await;
        assert!(later.is_finished() && begun.elapsed() < ROUTING);
    }

    #[test]
    fn what_is_read_here_is_true_of_a_target_on_this_node_only() {
        let here = |node| Place {
            namespace: "a",
            node,
        };
        assert!(here(Some("n1")).is_node_of(&[page("n1"), page("n1")]));
        assert!(!here(Some("n1")).is_node_of(&[page("n1"), page("n2")]));
        assert!(!here(Some("n1")).is_node_of(&[]));
        assert!(!here(None).is_node_of(&[page("n1")]));
    }
}
