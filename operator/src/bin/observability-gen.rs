//! Writes what is generated about observability: the dashboards of all resources, or the rules of
//! given ones.
#![forbid(unsafe_code)]

use candlepower_api::deployment::LLMDeployment;
use candlepower_operator::observability::{Subject, dashboards, rules};
use clap::{Parser, Subcommand};
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

/// Writes dashboards and rules without a cluster.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the dashboards of all resources as `<folder>/<name>.json`.
    Dashboards {
        /// Where to; created where it is missing.
        folder: PathBuf,
    },
    /// Write the rules of one resource in Prometheus' form to the standard output.
    Rules {
        /// An `LLMDeployment` as YAML.
        resource: PathBuf,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match Arguments::parse().command {
        Command::Dashboards { folder } => write_dashboards(&folder),
        Command::Rules { resource } => print_rules(&resource),
    }
}

fn write_dashboards(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    for (name, board) in dashboards::generic() {
        let text = serde_json::to_string_pretty(&board)? + "\n";
        fs::write(folder.join(name).with_extension("json"), text)?;
    }
    Ok(())
}

fn print_rules(path: &Path) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let resource: LLMDeployment = serde_saphyr::from_str(&text)?;
    let subject = Subject {
        namespace: resource.metadata.namespace.as_deref().unwrap_or("default"),
        name: resource.metadata.name.as_deref().unwrap_or_default(),
        spec: &resource.spec,
    };
    print!(
        "{}",
        serde_saphyr::to_string(&rules::of_resource(&subject, rules::DEFAULT_RUNBOOKS))?
    );
    Ok(())
}
