//! `candlepower bench`: puts load on a deployment or any OpenAI-compatible server.
mod flags;
mod summary;
pub(in crate::cli) mod target;
mod view;
mod words;

use super::{
    Error, connection,
    evidence_flags::EvidenceFlags,
    text::{Format, Paint, print_json},
};
use crate::{load, record_files};
use std::{path::PathBuf, process::ExitCode};

/// Puts load on a deployment, or on any server that speaks OpenAI's API.
///
/// Ends with 0 where every objective was met (or none was given), with 3 where one was missed, and
/// with 4 where there is no verdict: nothing succeeded, the load generator was the bottleneck, or the
/// run was interrupted.
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// An address such as <http://vllm.models:8000>, or the name of an LLMDeployment.
    #[arg(value_name = "URL|NAME")]
    target: String,
    /// The model that requests ask for; the server's first one where absent.
    #[arg(long)]
    model: Option<String>,
    /// Sent as a bearer token.
    #[arg(long, env = "CANDLEPOWER_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// A file with certificates, of an authority or the server's own, to check an https server by; this machine's where
    /// absent.
    #[arg(long, visible_alias = "ca-file", value_name = "FILE")]
    ca_certificate: Option<PathBuf>,
    #[command(flatten)]
    load: flags::Load,
    #[command(flatten)]
    workload: flags::Workload,
    #[command(flatten)]
    limits: flags::Limits,
    #[command(flatten)]
    evidence: EvidenceFlags,
    /// The folder to write run.json, records.jsonl.gz and the evidence for `candlepower report` to.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Text for people or JSON for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Bench {
    pub(super) async fn run(self, connection: connection::Flags) -> Result<ExitCode, Error> {
        let objectives = self.limits.objectives();
        let (scenarios, search) = self.load.plan(&objectives)?;
        let files = self.out.as_deref().map(record_files::Writer::new);
        let reached = target::reach(&self.target, connection).await?;
        if let Some(warning) = &reached.way.warning {
            eprintln!("{warning}");
        }
        let target = load::plan::Target {
            url: reached.way.url,
            model: self.model,
            api_key: self.api_key,
            trust: load::plan::Trust {
                certificates: self.ca_certificate.into_iter().collect(),
                server_name: reached.way.server_name,
            },
        };
        let watch = self.evidence.watch(target.clone(), &reached.way.metrics)?;
        let plan = load::plan::Plan {
            target,
            workload: self.workload.workload(),
            scenarios,
            search,
            texts: self.workload.texts,
            stop_when: self.limits.stop_error_rate,
            timeout: self.limits.timeout.as_std(),
        };
        let cancel = load::CancellationToken::new();
        let interrupted = cancel.clone();
        tokio::spawn(cancel_on_signal(cancel.clone()));
        let mut view = view::View::new(files.transpose()?);
        let run = load::run(&plan, &mut view, cancel).await?;
        view.end();
        let is_interrupted = interrupted.is_cancelled() && run.stopped.is_some();
        let judged = summary::Summary::of(&run, &objectives, is_interrupted);
        match self.output {
            Format::Json => print_json(&judged)?,
            Format::Text => print!("{}", judged.text(&run, Paint::for_stdout())),
        }
        // What could not be written is lost, and the figures above are not.
        view.into_files(&run)?;
        if let Some(folder) = &self.out {
            self.evidence
                .keep(watch, reached.deployed, reached.jaegers, &run, folder)
                .await?;
        }
        Ok(judged.exit_code())
    }
}

/// The first Ctrl-C ends the run and keeps what there is; the second one ends the process.
async fn cancel_on_signal(cancel: load::CancellationToken) {
    if tokio::signal::ctrl_c().await.is_err() {
        return;
    }
    eprintln!("\nending the run; Ctrl-C again leaves without a summary");
    cancel.cancel();
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}
