//! What `candlepower bench` collects beside the requests, so that the report can say why.
use super::{Error, bench::target::Deployed};
use crate::{
    evidence::{
        collect::collect,
        ends::until_told,
        files,
        gpus::GpuScraper,
        scrape::Scraper,
        sources::{HardwareFrom, MetricsFrom, Sources},
    },
    load::plan::Target,
    record::Run,
};
use candlepower_api::{names::paths, value::Duration};
use std::path::Path;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct EvidenceFlags {
    /// Pages with the server's metrics, one for each pod; the target's own /metrics where absent.
    #[arg(long, value_name = "URL")]
    metrics_url: Vec<String>,
    /// Pages of NVIDIA's dcgm-exporter with the server's GPUs, one for each node, where the server says nothing of them.
    #[arg(long, value_name = "URL")]
    gpu_metrics_url: Vec<String>,
    /// How often they are read.
    #[arg(long, default_value = "2s", value_name = "TIME")]
    scrape_interval: Duration,
    /// A Jaeger that has the server's traces; a deployment's own is found where absent.
    #[arg(long, value_name = "URL")]
    jaeger_url: Vec<String>,
    /// The server runs on this machine: read its hardware, and probe its memory after the load.
    #[arg(long)]
    same_machine: bool,
}

/// Scrapes that go on.
pub(super) struct Watch {
    target: Target,
    pages: Vec<String>,
    scraper: Scraper,
    gpus: GpuScraper,
}

impl EvidenceFlags {
    /// Begins to scrape `target`, whose metrics are at the address `metrics` where no flag says otherwise.
    pub(super) fn watch(&self, target: Target, metrics: &str) -> Result<Watch, Error> {
        let pages = if self.metrics_url.is_empty() {
            vec![format!(
                "{}{}",
                metrics.trim_end_matches('/'),
                paths::METRICS
            )]
        } else {
            self.metrics_url.clone()
        };
        let scraper = Scraper::start(
            &pages,
            &target,
            None,
            self.scrape_interval.as_std(),
            self.same_machine,
        )?;
        let interval = self.scrape_interval.as_std();
        let gpus = GpuScraper::start(&self.gpu_metrics_url, &target, vec![], interval)?;
        Ok(Watch {
            target,
            pages,
            scraper,
            gpus,
        })
    }

    /// Ends the scrapes, collects the rest, and writes all of it beside the run's records.
    pub(super) async fn keep(
        &self,
        watch: Watch,
        deployed: Option<Deployed>,
        jaegers: Result<Vec<String>, String>,
        run: &Run,
        folder: &Path,
    ) -> Result<(), Error> {
        let sources = Sources {
            pods: u32::try_from(watch.pages.len()).unwrap_or_default(),
            nodes: vec![],
            nodes_missing: None,
            target: watch.target,
            metrics: MetricsFrom::Scrapes {
                pages: watch.pages,
                scraped: watch.scraper.stop(),
                instead: None,
            },
            gpus: watch.gpus.stop(),
            jaegers: if self.jaeger_url.is_empty() {
                jaegers
            } else {
                Ok(self.jaeger_url.clone())
            },
            origin: deployed.as_ref().map(|one| one.origin.clone()),
            deployment: deployed.as_ref().map(|one| one.spec.clone()),
            hardware: HardwareFrom::of_command(self.same_machine),
        };
        let mut evidence = collect(run, sources).await;
        if let Some(deployed) = deployed {
            tokio::time::sleep(until_told(run, &evidence)).await;
            match deployed.ends(run).await {
                Ok(ends) => evidence.container_ends = Some(ends),
                Err(error) => eprintln!("how its containers ended is not known: {error}"),
            }
        }
        for missing in &evidence.missing {
            eprintln!("no {}: {}", missing.what, missing.why);
        }
        Ok(files::write(folder, &evidence)?)
    }
}
