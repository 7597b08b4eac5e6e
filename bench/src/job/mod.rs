//! `candlepower job`: the load generator of an `LLMBenchmark`, in its pod.
//!
//! It may read and patch one ConfigMap. There it finds what to do, tells how far it is, wishes for
//! copies of the deployment, which the operator makes, and leaves the report.
//!
//! - `mailbox`: that ConfigMap;
//! - `plan`: from the assignment to a plan of load;
//! - `rounds`: the deployment, each change, and the deployment again;
//! - `measure`: one round with its evidence;
//! - `machines`: what is below it, looked at after the load;
//! - `ends`: containers that end meanwhile;
//! - `follow`: how far it is, told every few seconds;
//! - `outcome`: what the rounds come to;
//! - `shorten`: a report that fits;
//! - `bucket`: their copies in a bucket of S3's protocol;
//! - `store`: the rounds' files, with which another pod goes on where one was lost.
mod baseline;
mod bucket;
mod changes;
mod ends;
mod follow;
mod machines;
mod mailbox;
mod measure;
mod outcome;
mod plan;
mod rounds;
mod shorten;
mod store;

use crate::load;
use candlepower_api::benchmark::job::{
    API_KEY_VARIABLE, EXIT_POINTLESS, MAILBOX_VARIABLE, NAMESPACE_VARIABLE,
};
use mailbox::Mailbox;
use std::{env, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// It was not started by the operator.
    #[error(
        "the variable {0} is not set; this command runs in the pod of an LLMBenchmark, elsewhere use `candlepower bench`"
    )]
    Variable(&'static str),
    /// The ConfigMap cannot be read or written.
    #[error(transparent)]
    Mailbox(#[from] mailbox::Error),
    /// No load could be applied.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// The benchmark asks for what makes no sense.
    #[error(transparent)]
    Plan(#[from] load::plan::Invalid),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] crate::report::render::Error),
    /// It was told to stop.
    #[error("it was stopped before it had ended")]
    Interrupted,
    /// The signal cannot be caught.
    #[error("SIGTERM cannot be caught: {0}")]
    Signal(#[from] std::io::Error),
}

impl Error {
    /// Whether another pod would fail for the same reason.
    fn is_pointless_to_repeat(&self) -> bool {
        matches!(
            self,
            Self::Variable(_) | Self::Plan(_) | Self::Load(load::Error::Plan(_))
        )
    }
}

/// Does what the mailbox asks for.
pub async fn run() -> ExitCode {
    match measure_all().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last line becomes the pod's termination message.
            eprintln!("error: {error}");
            if error.is_pointless_to_repeat() {
                u8::try_from(EXIT_POINTLESS).map_or(ExitCode::FAILURE, ExitCode::from)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn measure_all() -> Result<(), Error> {
    let namespace = variable(NAMESPACE_VARIABLE)?;
    let name = variable(MAILBOX_VARIABLE)?;
    let cancel = load::CancellationToken::new();
    let mut terminated = signal(SignalKind::terminate())?;
    let on_signal = cancel.clone();
    tokio::spawn(async move {
        terminated.recv().await;
        on_signal.cancel();
    });
    let mailbox = Mailbox::open(&namespace, &name).await?;
    let work = rounds::Rounds::new(mailbox, env::var(API_KEY_VARIABLE).ok(), namespace, cancel);
    Box::pin(work.run()).await
}

fn variable(name: &'static str) -> Result<String, Error> {
    env::var(name).map_err(|_| Error::Variable(name))
}
