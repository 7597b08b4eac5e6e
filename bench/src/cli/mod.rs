//! Commands and what they print.
mod connection;
#[cfg(test)]
mod testing;
mod text;
mod traces;

use crate::evidence::{cluster, jaeger};
use clap::{CommandFactory, Parser, Subcommand};
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
    /// The slowest operations, by the time that requests waited for them.
    Traces(traces::Traces),
    /// A completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
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
    /// The command cannot do its work here.
    #[error("{0}")]
    Other(String),
}

/// Runs a command.
pub async fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    match arguments.command {
        Command::Completion { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "candlepower", &mut std::io::stdout());
        }
        Command::Traces(traces) => traces.run(&arguments.flags.connect().await?).await?,
    }
    Ok(ExitCode::SUCCESS)
}
