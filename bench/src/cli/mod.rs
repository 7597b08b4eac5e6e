//! Commands and what they print.
mod traces;

use crate::evidence::{cluster, jaeger};
use candlepower_api::deployment::LLMDeployment;
use clap::{CommandFactory, Parser, Subcommand};
use kube::{Api, Client, api::ListParams};
use std::process::ExitCode;

/// Shows what an LLMDeployment does and where the time of its requests goes.
#[derive(Debug, Parser)]
#[command(name = "candlepower", version)]
pub struct Arguments {
    /// Namespace; that of the context where absent.
    #[arg(short, long, global = true)]
    namespace: Option<String>,
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
    #[error("no cluster is configured ({0}); set KUBECONFIG")]
    Config(#[from] kube::config::InferConfigError),
    /// The API server refused, or cannot be reached.
    #[error("the cluster did not answer: {0}")]
    Kube(#[from] kube::Error),
    /// The cluster does not know the resource type.
    #[error("this cluster does not serve LLMDeployments; install Candlepower's CRDs first")]
    NotInstalled,
    /// No resource of that name.
    #[error("no LLMDeployment {name} in namespace {namespace}; there: {there}")]
    NotFound {
        /// What was asked for.
        name: String,
        /// Where.
        namespace: String,
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
        Command::Traces(traces) => {
            let config = kube::Config::infer().await?;
            let namespace = arguments.namespace;
            let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
            traces.run(&Client::try_from(config)?, &namespace).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The resource `name`, or which there are instead.
async fn find(client: &Client, namespace: &str, name: &str) -> Result<LLMDeployment, Error> {
    let api = Api::<LLMDeployment>::namespaced(client.clone(), namespace);
    let all = match api.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Err(Error::NotInstalled),
        answer => answer?,
    };
    let names: Vec<_> = all.iter().filter_map(|d| d.metadata.name.clone()).collect();
    let found = all
        .into_iter()
        .find(|d| d.metadata.name.as_deref() == Some(name));
    found.ok_or_else(|| Error::NotFound {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        there: if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        },
    })
}
