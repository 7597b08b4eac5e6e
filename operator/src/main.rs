//! The operator's process.
#![forbid(unsafe_code)]
use candlepower_operator::{config::Config, run, telemetry};
use clap::Parser;
use std::process::ExitCode;

// Caches hold small things for long, between which whole objects come and go: the C library's allocator keeps a heap of
// twice that size for them, and takes half of a busy operator's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: reconciling waits for the API server nearly all the time, and each further thread
// costs memory for its stack and its allocator's arena.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = Config::parse();
    let traces = match telemetry::init(&config) {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("candlepower-operator: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run(config, traces).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the operator cannot run");
            ExitCode::FAILURE
        }
    }
}
