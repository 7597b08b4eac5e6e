//! The operator's own logs, and the beginning of its traces.
use crate::{
    config::{Config, LogFormat},
    traces::{self, Exporter},
};
use std::{
    error::Error,
    io::{self, IsTerminal},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Starts logging to standard error; and tracing, where that is configured: then it gives back what sends the spans.
pub fn init(config: &Config) -> Result<Option<Exporter>, Box<dyn Error + Send + Sync>> {
    let filter = EnvFilter::builder()
        .parse(&config.log_filter)
        .map_err(|error| {
            format!(
                "cannot read --log-filter \"{}\" ({error}): write a level such as info, or candlepower_operator=debug,info",
                config.log_filter
            )
        })?
        .add_directive(format!("{}=off", traces::TARGET).parse()?);
    let lines = fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
        LogFormat::Text => lines.boxed(),
    };
    let logs = tracing_subscriber::registry().with(lines.with_filter(filter));
    let Some((spans, exporter)) = traces::pipeline(&config.tracing, &config.leader.pod_name)?
    else {
        logs.try_init()?;
        return Ok(None);
    };
    logs.with(spans.with_filter(traces::filter())).try_init()?;
    Ok(Some(exporter))
}
