//! Flags and environment variables.
pub mod benchmark;
pub mod leader;
pub mod monitoring;
pub mod traces;

use benchmark::BenchmarkConfig;
use candlepower_api::{names::ports, value::Duration};
use clap::{ArgAction, Parser, ValueEnum};
use leader::LeaderConfig;
use monitoring::MonitoringConfig;
use std::net::{Ipv6Addr, SocketAddr};
use traces::TracingConfig;

/// Keeps each LLMDeployment of a Kubernetes cluster served, and says in its status why where it
/// is not.
#[derive(Clone, Debug, Parser)]
#[command(name = "candlepower-operator", version)]
pub struct Config {
    /// Namespaces to work in, separated by commas; all of them when empty
    #[arg(
        long,
        env = "WATCH_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE,…"
    )]
    pub watch_namespaces: Vec<String>,

    /// Image of the inference server for new LLMDeployments; existing ones keep theirs
    #[arg(long, env = "SERVER_IMAGE", value_name = "IMAGE", default_value = concat!("candlepower/server:", env!("CARGO_PKG_VERSION")))]
    pub server_image: String,

    /// The same for LLMDeployments with GPUs; without it they are refused
    #[arg(long, env = "SERVER_IMAGE_CUDA", value_name = "IMAGE")]
    pub server_image_cuda: Option<String>,

    /// When nodes pull these images
    #[arg(
        long,
        env = "SERVER_IMAGE_PULL_POLICY",
        value_enum,
        default_value = "if-not-present"
    )]
    pub server_image_pull_policy: PullPolicy,

    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "LISTEN", value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, ports::OPERATOR_HTTP)))]
    pub listen: SocketAddr,

    /// LLMDeployments to work on at the same time
    #[arg(long, env = "CONCURRENCY", value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// How often the pods are asked for their metrics, for figures and alerts in the status
    #[arg(long, env = "FIGURES_INTERVAL", value_name = "DURATION", default_value = "30s", value_parser = at_least_a_second)]
    pub figures_interval: Duration,

    /// Ask hf://, https:// and oci:// sources how large their models are, and schedule none that does not fit its memory limit, or
    /// the GPUs of the nodes
    #[arg(long, env = "ESTIMATE_MEMORY", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub estimate_memory: bool,

    /// Form of the log lines: for collectors or for people
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,

    /// What to log, such as info or candlepower_operator=debug,info
    #[arg(
        long,
        env = "LOG_FILTER",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log_filter: String,

    /// Which of several operators works
    #[command(flatten)]
    pub leader: LeaderConfig,

    /// Where the operator's own traces go
    #[command(flatten)]
    pub tracing: TracingConfig,

    /// How the models are monitored
    #[command(flatten)]
    pub monitoring: MonitoringConfig,

    /// How benchmarks put load on models
    #[command(flatten)]
    pub benchmark: BenchmarkConfig,
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let interval: Duration = text.parse().map_err(|error| format!("{error}"))?;
    if interval < Duration::from_secs(1) {
        return Err("write one second or more, such as 30s".to_owned());
    }
    Ok(interval)
}

/// When nodes pull the server's image.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum PullPolicy {
    /// Where the node does not hold it yet
    IfNotPresent,
    /// At each start of a pod
    Always,
    /// Never: it has been loaded onto the nodes
    Never,
}

impl PullPolicy {
    /// The name in a pod's specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IfNotPresent => "IfNotPresent",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line
    Json,
    /// Readable lines
    Text,
}

impl Config {
    /// The namespaces to work in; `None` stands for all of them.
    pub fn namespaces(&self) -> Vec<Option<String>> {
        let mut named: Vec<_> = self
            .watch_namespaces
            .iter()
            .map(|name| name.trim())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() {
            vec![None]
        } else {
            named.into_iter().map(Some).collect()
        }
    }

    /// The same for people.
    pub fn watched(&self) -> String {
        let names: Vec<_> = self.namespaces().into_iter().flatten().collect();
        if names.is_empty() {
            "all".to_owned()
        } else {
            names.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Config {
        Config::try_parse_from([&["candlepower-operator"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Config::command().debug_assert();
    }

    #[test]
    fn without_names_the_operator_works_in_all_namespaces() {
        assert_eq!(parse(&[]).namespaces(), [None]);
        assert_eq!(parse(&["--watch-namespaces", ""]).namespaces(), [None]);
        assert_eq!(parse(&[]).watched(), "all");
    }

    #[test]
    fn memory_is_estimated_unless_that_is_turned_off() {
        assert!(parse(&[]).estimate_memory);
        assert!(!parse(&["--estimate-memory=false"]).estimate_memory);
    }

    #[test]
    fn each_named_namespace_counts_once() {
        let config = parse(&["--watch-namespaces", "b, a,b,"]);
        assert_eq!(
            config.namespaces(),
            [Some("a".to_owned()), Some("b".to_owned())]
        );
        assert_eq!(config.watched(), "a, b");
    }
}
