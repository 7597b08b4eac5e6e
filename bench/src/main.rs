//! `candlepower`, also found as `kubectl candlepower`.
#![forbid(unsafe_code)]

use candlepower_bench::cli::{Arguments, run};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Arguments::of_process())).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
