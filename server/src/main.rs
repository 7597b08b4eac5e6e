//! Starts the inference server.
#![forbid(unsafe_code)]
use candlepower_api::{
    names::{paths, reasons::LoadFailure},
    server_config::ServerConfig,
};
use candlepower_server::{
    config::{self, Arguments},
    http::serve::{leave_last_words, serve},
    telemetry::logs,
    threads,
};
use clap::Parser;
use std::{path::Path, process::ExitCode, time::Duration};
use tokio::runtime::Builder;

/// The engine's threads need the cores; HTTP needs little.
const HTTP_THREADS: usize = 2;

fn main() -> ExitCode {
    let config = match config::load(Arguments::parse()) {
        Ok(config) => config,
        Err(error) => {
            let log = Path::new(paths::TERMINATION_LOG);
            return fail(log, LoadFailure::InvalidConfiguration, error.to_string());
        }
    };
    let log = config.termination_log.clone();
    if let Err(error) = threads::settle(config.engine.threads) {
        let message = format!("cannot start again with a fixed number of threads: {error}");
        return fail(&log, LoadFailure::EngineFailure, message);
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err((reason, message)) => fail(&log, reason, message),
    }
}

fn run(config: &ServerConfig) -> Result<(), (LoadFailure, String)> {
    logs::init(&config.log)
        .map_err(|error| (LoadFailure::InvalidConfiguration, error.to_string()))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(HTTP_THREADS)
        .max_blocking_threads(HTTP_THREADS)
        .enable_all()
        .build()
        .map_err(|error| (LoadFailure::EngineFailure, error.to_string()))?;
    let outcome = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome.map_err(|error| {
        tracing::error!(reason = error.reason().as_str(), "{error}");
        (error.reason(), error.to_string())
    })
}

fn fail(termination_log: &Path, reason: LoadFailure, message: String) -> ExitCode {
    eprintln!("candlepower-server: {message}");
    leave_last_words(termination_log, reason, message);
    ExitCode::FAILURE
}
