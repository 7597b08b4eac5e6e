//! Log lines to standard output: text for people, JSON for collectors. Prompts are never in them.
use super::json_lines::JsonLines;
use candlepower_api::server_config::{LogConfig, LogFormat};
use std::io::{self, IsTerminal};
use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    fmt::{self, format::JsonFields},
};

/// A log configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not valid.
    #[error(
        "log.filter is \"{filter}\": {problem}; write a level such as info or debug, or target=level pairs"
    )]
    Filter {
        /// What was configured.
        filter: String,
        /// What is wrong with it.
        problem: ParseError,
    },
    /// A subscriber is there already.
    #[error("logging cannot be set up: {0}")]
    Setup(String),
}

/// Writes the log lines of this process from now on.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = filter(&config.filter)?;
    let lines = fmt::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stdout().is_terminal());
    let result = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .try_init(),
    };
    result.map_err(|error| LogError::Setup(error.to_string()))
}

fn filter(text: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(text).map_err(|problem| LogError::Filter {
        filter: text.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_says_what_to_write() {
        let message = filter("candlepower_server=loud").unwrap_err().to_string();
        assert!(message.contains("write a level such as info"), "{message}");
        assert!(filter("candlepower_server=debug,info").is_ok());
    }
}
