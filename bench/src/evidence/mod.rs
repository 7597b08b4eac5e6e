//! What is known about a run besides its requests: metrics, traces, the model and the machine.
pub mod cluster;
pub mod collect;
mod dcgm;
pub mod dialect;
pub mod ends;
pub mod exposition;
pub mod facts;
pub mod files;
pub mod gpus;
pub mod hardware;
pub mod http;
pub mod jaeger;
pub mod model_load;
mod node;
pub mod places;
pub mod probe;
pub mod prometheus;
pub mod sample;
pub mod scrape;
pub mod series;
pub mod sources;
pub mod trace;
pub mod versions;

use candlepower_api::{
    benchmark::{MetricsDialect, job::NodeFacts},
    deployment::LLMDeploymentSpec,
};
use ends::ContainerEnd;
use facts::{Machine, ModelFacts};
use probe::Probe;
use sample::Sampled;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use series::{Quantity, Series};
use trace::Trace;
use versions::Versions;

/// Everything that was collected beside the requests of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Evidence {
    /// Whose metric names the server uses.
    pub dialect: Option<MetricsDialect>,
    /// Where the series come from, in words.
    pub metrics_source: Option<String>,
    /// What the server said about itself over time.
    pub series: Vec<Series>,
    /// Where figures of its GPUs come from, in words, where the server itself does not export them.
    pub gpu_source: Option<String>,
    /// Where the traces come from, in words.
    pub traces_source: Option<String>,
    /// Traces of chosen requests.
    pub traces: Vec<Sampled>,
    /// The last load of the model, where a server of ours told it.
    pub model_load: Option<Trace>,
    /// The served model.
    pub model: Option<ModelFacts>,
    /// The software that serves it.
    pub server: Option<String>,
    /// Versions of the software that took part.
    pub versions: Versions,
    /// The machine that the server runs on, where it is known.
    pub machine: Option<Machine>,
    /// What Kubernetes knows of the nodes that its pods ran on.
    pub nodes: Vec<NodeFacts>,
    /// How fast that machine is.
    pub probe: Option<Probe>,
    /// What the deployment asks for, where it is one of ours.
    pub deployment: Option<LLMDeploymentSpec>,
    /// Pods whose metrics the series are sums of; 0, as in evidence of earlier versions, counts as 1.
    pub replicas: u32,
    /// Containers of its pods that ended while the load was on; absent where nobody told how they fare.
    pub container_ends: Option<Vec<ContainerEnd>>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

/// Something that could not be had, and why.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// Why, and what to do about it.
    pub why: String,
}

impl Evidence {
    /// A quantity over time, where it was exported.
    pub fn series(&self, quantity: Quantity) -> Option<&Series> {
        self.series.iter().find(|one| one.quantity == quantity)
    }

    /// Adds series, in place of those that there are of the same quantities.
    fn put(&mut self, series: Vec<Series>) {
        let is_new = |known: &Series| series.iter().any(|one| one.quantity == known.quantity);
        self.series.retain(|known| !is_new(known));
        self.series.extend(series);
    }

    /// Pods that what is summed over all of them is divided by to be one pod's.
    pub fn pods(&self) -> f64 {
        f64::from(self.replicas.max(1))
    }

    /// Notes that something could not be had.
    pub fn lacks(&mut self, what: &str, why: impl Into<String>) {
        self.missing.push(Missing {
            what: what.to_owned(),
            why: why.into(),
        });
    }
}
