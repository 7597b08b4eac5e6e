//! Finds a run by what people call it: a folder, a report's file, or an LLMBenchmark.
use super::{Error, connection};
use crate::{
    analysis::{
        comparison::{self, Comparison, Side},
        cost::{Price, token_costs},
    },
    evidence::{
        Evidence,
        collect::{collect, complete},
        files,
        gpus::GpuScrapes,
        sources::{HardwareFrom, MetricsFrom, Sources},
    },
    load::plan::Target,
    objectives::{self, Objective},
    record::Run,
    record_files,
    report::{Options, Report, build},
};
use candlepower_api::benchmark::{LLMBenchmark, MetricsDialect, Objectives, job::REPORT_JSON};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use std::path::Path;

/// How a run becomes a report, where it is not one yet.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Reading {
    /// What has to be met, such as ttft-p95=1s; those of an LLMBenchmark's defaults where absent.
    #[arg(long = "objective", value_name = "FIGURE=LIMIT")]
    objectives: Vec<Objective>,
    /// What the serving machines cost per hour, for the cost of tokens.
    #[arg(long, value_name = "AMOUNT")]
    price_per_hour: Option<f64>,
    /// The price's currency.
    #[arg(long, default_value = "USD")]
    currency: String,
    /// A Prometheus that has the run's metrics, where the folder has no evidence of its own.
    #[arg(long, value_name = "URL")]
    prometheus_url: Option<String>,
    /// Label matchers of the server's series there, such as namespace="demo",pod=~"tiny-.*".
    #[arg(long, default_value = "", value_name = "MATCHERS")]
    selector: String,
    /// Whose metric names the server uses there: candlepower, vllm or llamacpp.
    #[arg(long, default_value = "candlepower", value_parser = dialect)]
    dialect: MetricsDialect,
    /// A Jaeger that has the run's traces.
    #[arg(long, value_name = "URL")]
    jaeger_url: Vec<String>,
    /// The server ran on this machine: read and probe its hardware.
    #[arg(long)]
    same_machine: bool,
}

fn dialect(text: &str) -> Result<MetricsDialect, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "write candlepower, vllm or llamacpp".to_owned())
}

impl Reading {
    /// The report of what is called `name`.
    pub(super) async fn report(
        &self,
        name: &str,
        connection: connection::Flags,
    ) -> Result<Report, Error> {
        let path = Path::new(name);
        if path.is_dir() {
            let run = record_files::read(path)?;
            let evidence = self.evidence(path, &run).await?;
            return Ok(build(&run, &evidence, &self.options()));
        }
        let text = if path.is_file() {
            std::fs::read_to_string(path).map_err(|error| Error::NoReport {
                name: name.to_owned(),
                problem: error.to_string(),
            })?
        } else {
            of_cluster(name, connection).await?
        };
        self.for_report(name)?;
        let read = serde_json::from_str::<Report>(&text);
        let mut report = read.map_err(|error| Error::NoReport {
            name: name.to_owned(),
            problem: error.to_string(),
        })?;
        if let Some(price) = self.price() {
            report.costs = token_costs(&report.levels, &price);
            report.price = Some(price);
        }
        Ok(report)
    }

    /// A report has no single requests and no series to judge anew: flags that would are refused.
    fn for_report(&self, name: &str) -> Result<(), Error> {
        let flags = [
            ("--objective", !self.objectives.is_empty()),
            ("--prometheus-url", self.prometheus_url.is_some()),
            ("--jaeger-url", !self.jaeger_url.is_empty()),
            ("--same-machine", self.same_machine),
        ];
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(Error::Other(format!(
                "{name} is a report and keeps the objectives and the evidence that it was made with: \
                 leave out {flag}, or name the run's folder"
            ))),
            None => Ok(()),
        }
    }

    fn price(&self) -> Option<Price> {
        self.price_per_hour.map(|per_hour| Price {
            per_hour,
            currency: self.currency.clone(),
        })
    }

    fn options(&self) -> Options {
        let defaults = || objectives::of_resource(&Objectives::default());
        Options {
            objectives: if self.objectives.is_empty() {
                defaults()
            } else {
                self.objectives.clone()
            },
            price: self.price(),
            ..Options::default()
        }
    }

    /// What was collected with the run; what was not is looked for where the flags say, and kept.
    async fn evidence(&self, folder: &Path, run: &Run) -> Result<Evidence, Error> {
        let sources = self.sources(run);
        let asked = self.prometheus_url.is_some() || !self.jaeger_url.is_empty();
        let Some(mut known) = files::read(folder)? else {
            let found = collect(run, sources).await;
            if asked && (!found.series.is_empty() || !found.traces.is_empty()) {
                files::write(folder, &found)?;
            }
            return Ok(found);
        };
        if asked {
            if complete(run, &mut known, sources).await {
                files::write(folder, &known)?;
            } else {
                eprintln!(
                    "metrics and traces were collected with the run; nothing is asked for anew"
                );
            }
        }
        Ok(known)
    }

    fn sources(&self, run: &Run) -> Sources {
        Sources {
            target: Target {
                url: run.url.clone(),
                ..Target::default()
            },
            metrics: match &self.prometheus_url {
                Some(url) => MetricsFrom::Prometheus {
                    urls: vec![url.clone()],
                    dialect: self.dialect,
                    selector: self.selector.clone(),
                },
                None => MetricsFrom::Nowhere {
                    why: "nothing scraped them during the run, and no --prometheus-url was given"
                        .to_owned(),
                },
            },
            gpus: GpuScrapes::default(),
            jaegers: if self.jaeger_url.is_empty() {
                Err("no --jaeger-url was given".to_owned())
            } else {
                Ok(self.jaeger_url.clone())
            },
            origin: None,
            deployment: None,
            hardware: HardwareFrom::of_command(self.same_machine),
            pods: 0,
            nodes: vec![],
            nodes_missing: None,
        }
    }
}

/// The report that an LLMBenchmark left in the cluster.
async fn of_cluster(name: &str, connection: connection::Flags) -> Result<String, Error> {
    let (client, namespace) = connection.connect().await?.one_namespace()?;
    let benchmarks = Api::<LLMBenchmark>::namespaced(client.clone(), &namespace);
    let nothing = |what: String| Error::Other(what);
    let benchmark = benchmarks.get_opt(name).await?.ok_or_else(|| {
        nothing(format!(
            "{name} is no folder, no file, and no LLMBenchmark in namespace {namespace}"
        ))
    })?;
    let place = benchmark.status.and_then(|status| status.report_ref);
    let place = place.ok_or_else(|| {
        nothing(format!(
            "LLMBenchmark {name} has no report yet; see its condition Complete"
        ))
    })?;
    let config_maps = Api::<ConfigMap>::namespaced(client, &namespace);
    let report = config_maps
        .get(&place)
        .await?
        .data
        .unwrap_or_default()
        .remove(REPORT_JSON);
    report.ok_or_else(|| nothing(format!("ConfigMap {place} has no {REPORT_JSON}")))
}

/// Compares two reports under the names that people gave them.
pub(super) fn compare(
    before: &Report,
    before_name: &str,
    after: &Report,
    after_name: &str,
) -> Result<Comparison, Error> {
    fn side<'a>(name: &'a str, report: &'a Report) -> Side<'a> {
        Side {
            name,
            workload: &report.run.workload,
            levels: &report.levels,
        }
    }
    let compared = comparison::compare(side(before_name, before), side(after_name, after));
    compared.map_err(|unlike| Error::Other(unlike.to_string()))
}
