//! `candlepower analyze`: the slowest operations of any service in a Jaeger.
use super::{
    Error,
    text::{self, Format},
    traces::{self, Place},
};
use crate::evidence::{http::Server, jaeger, trace::Trace};
use candlepower_api::value::Duration;
use std::process::ExitCode;

/// Where Jaeger's pages are after a port-forward.
const LOCAL: &str = "http://localhost:16686";

/// Ranks the operations of a service by critical-path self time; no cluster is needed.
#[derive(Debug, clap::Args)]
pub(super) struct Analyze {
    /// The service, as its spans name it.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// How far to look back, such as 30m or 2h.
    #[arg(value_name = "LOOKBACK", conflicts_with = "lookback")]
    positional_lookback: Option<Duration>,
    /// Most traces to ask for.
    #[arg(value_name = "LIMIT", conflicts_with = "limit")]
    positional_limit: Option<u32>,
    /// How far to look back.
    #[arg(long, default_value = "1h", value_name = "TIME")]
    lookback: Duration,
    /// Most traces to ask for.
    #[arg(long, default_value_t = 200)]
    limit: u32,
    /// How many of the slowest traces to draw.
    #[arg(long, default_value_t = traces::DRAWN)]
    slowest: usize,
    /// The Jaeger.
    #[arg(long, value_name = "URL", default_value = LOCAL)]
    jaeger_url: String,
    /// Text for people or JSON for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Analyze {
    pub(super) async fn run(self) -> Result<ExitCode, Error> {
        let lookback = self.positional_lookback.unwrap_or(self.lookback);
        let limit = self.positional_limit.unwrap_or(self.limit);
        let jaeger = Server::at(&self.jaeger_url)?;
        let ahead = jaeger.clock_ahead().await.unwrap_or_default();
        if ahead != 0 {
            eprintln!(
                "warning: the clock of {} is {ahead} s ahead of this machine's (negative: behind); the last {lookback} are taken by Jaeger's",
                self.jaeger_url
            );
        }
        let window = traces::Window::of_last(lookback, ahead);
        let (from, to) = (window.from.to_string(), window.to.to_string());
        let path = jaeger::search_path(&self.service, &from, &to, limit);
        let found = traces::read(jaeger.get(&path).await?)?;
        let requests: Vec<_> = found.into_iter().filter(Trace::is_request).collect();
        if requests.is_empty() {
            return Err(Error::Other(format!(
                "{} has no request of service {} in the last {lookback}; look further back with \
                 --lookback, or see the service's name in Jaeger's pages",
                self.jaeger_url, self.service
            )));
        }
        let place = Place::Service {
            service: self.service,
        };
        let report = traces::Report::of(place, lookback, requests, self.slowest);
        match self.output {
            Format::Json => text::print_json(&report)?,
            Format::Text => print!("{}", traces::text(&report)),
        }
        Ok(ExitCode::SUCCESS)
    }
}
