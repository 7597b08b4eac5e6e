//! Commands and what they print.
mod analyze;
mod bench;
mod compare;
mod completion;
mod connection;
mod dashboards;
mod evidence_flags;
mod fleet;
mod probe;
mod report;
mod runs;
mod status;
#[cfg(test)]
mod testing;
mod text;
mod top;
mod traces;

use crate::{
    evidence::{self, cluster, http, jaeger},
    job, load, record_files,
    report::render,
};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Shows what an LLMDeployment does and where the time of its requests goes.
#[derive(Debug, Parser)]
#[command(name = "candlepower", version)]
pub struct Arguments {
    #[command(flatten)]
    flags: connection::Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One deployment on one screen, or a list of all; ends with 3 where something is not ready.
    Status(status::Status),
    /// A live table of all deployments.
    Top(top::Top),
    /// The slowest operations, by the time that requests waited for them.
    Traces(traces::Traces),
    /// Puts load on a deployment or any server that speaks OpenAI's API.
    Bench(Box<bench::Bench>),
    /// The slowest operations of any service that a Jaeger knows; no cluster is needed.
    #[command(visible_alias = "analyze_traces")]
    Analyze(analyze::Analyze),
    /// The latency report of a run: HTML, Markdown, JSON or Confluence's storage format.
    Report(report::ReportCommand),
    /// The JSON schema of reports.
    #[command(hide = true)]
    ReportSchema,
    /// Two runs of the same workload side by side; ends with 3 where something became worse.
    Compare(compare::Compare),
    /// The load generator of an LLMBenchmark, in the pod that the operator makes.
    #[command(hide = true)]
    Job,
    /// Reads this machine's hardware and probes its speed, for a benchmark whose server runs on it.
    #[command(hide = true)]
    Probe(probe::ProbeCommand),
    /// Opens the way to Prometheus, Jaeger and Grafana until Ctrl-C.
    Dashboards(dashboards::Dashboards),
    /// A completion script for a shell, or for kubectl.
    Completion {
        /// Who completes.
        #[arg(value_enum)]
        shell: completion::Completer,
    },
    /// Completes a command line for kubectl.
    #[command(hide = true)]
    Complete {
        /// The words so far; the last one is to be completed.
        #[arg(last = true)]
        words: Vec<std::ffi::OsString>,
    },
}

/// Why a command failed, and the cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster is configured.
    #[error("no cluster is configured ({0}); set KUBECONFIG or use --kubeconfig")]
    Config(#[from] kube::config::InferConfigError),
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used ({0}); see `kubectl config get-contexts`")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The deployment's Jaeger cannot be found.
    #[error("its Jaeger cannot be found: {0}; name one that you reach with --jaeger-url")]
    NoJaeger(#[source] cluster::Error),
    /// What was found cannot be written.
    #[error("the answer cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The API server refused, or cannot be reached.
    #[error("the cluster did not answer: {0}")]
    Kube(#[from] kube::Error),
    /// The cluster does not know the resource type.
    #[error("this cluster does not serve LLMDeployments; install Candlepower's CRDs first")]
    NotInstalled,
    /// No resource of that name.
    #[error("no LLMDeployment {name} in {place}; there: {there}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// Where, in words.
        place: String,
        /// The names that exist.
        there: String,
    },
    /// A service inside the cluster did not answer.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Jaeger's answer cannot be read.
    #[error(transparent)]
    Jaeger(#[from] jaeger::Error),
    /// The load could not be applied.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// A recorded trace cannot be replayed.
    #[error(transparent)]
    Replay(#[from] load::trace::Error),
    /// A run's files cannot be written or read.
    #[error(transparent)]
    Files(#[from] record_files::Error),
    /// An address that was named did not answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// A run's evidence cannot be read or kept.
    #[error(transparent)]
    Evidence(#[from] evidence::files::Error),
    /// The report cannot be written.
    #[error(transparent)]
    Render(#[from] render::Error),
    /// A report's file cannot be written.
    #[error(
        "{file} cannot be written ({source}); name a file in a folder that is there and has space"
    )]
    Write {
        /// The file.
        file: std::path::PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// What is called a report is none.
    #[error(
        "{name} holds no report in JSON ({problem}); name a folder that `candlepower bench --out` wrote, \
         a file of `candlepower report -o json`, or an LLMBenchmark"
    )]
    NoReport {
        /// What was named.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The terminal or a local port cannot be used.
    #[error("the terminal or a port of this machine cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// The command cannot do its work here.
    #[error("{0}")]
    Other(String),
}

impl Arguments {
    /// The process's arguments; as kubectl's plugin it calls itself `kubectl candlepower`.
    pub fn of_process() -> Self {
        let called = std::env::args_os().next().map(std::path::PathBuf::from);
        let file = called.as_deref().and_then(std::path::Path::file_stem);
        let plugin = file.is_some_and(|name| name == completion::PLUGIN);
        let name = if plugin {
            "kubectl candlepower"
        } else {
            "candlepower"
        };
        let matches = Self::command().bin_name(name).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Runs a command.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::Completion { shell } => {
            completion::script(shell, &mut std::io::stdout())?;
        }
        Command::Complete { words } => print!("{}", completion::complete(&words)),
        Command::Status(status) => {
            return status.run(&arguments.flags.connect().await?).await;
        }
        Command::Job => return Ok(job::run().await),
        Command::Bench(bench) => return Box::pin(bench.run(arguments.flags)).await,
        Command::Top(top) => top.run(&arguments.flags.connect().await?).await?,
        Command::Dashboards(dashboards) => {
            dashboards.run(&arguments.flags.connect().await?).await?;
        }
        Command::Probe(probe) => probe.run()?,
        Command::Analyze(analyze) => return analyze.run().await,
        Command::Report(report) => report.run(arguments.flags).await?,
        Command::ReportSchema => text::print_json(&crate::report::schema())?,
        Command::Compare(compare) => return compare.run(arguments.flags).await,
        Command::Traces(traces) => traces.run(&arguments.flags.connect().await?).await?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_whole() {
        Arguments::command().debug_assert();
    }
}
