//! The operator's own logs.
use crate::config::{Config, LogFormat};
use std::{
    error::Error,
    io::{self, IsTerminal},
};
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error.
pub fn init(config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    let filter = EnvFilter::builder()
        .parse(&config.log_filter)
        .map_err(|error| {
            format!(
                "cannot read --log-filter \"{}\" ({error}): write a level such as info, or candlepower_operator=debug,info",
                config.log_filter
            )
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match config.log_format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init(),
        LogFormat::Text => lines.try_init(),
    }
}
