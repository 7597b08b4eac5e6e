//! `candlepower traces`: the slowest operations of a deployment's requests.
use super::{Error, find};
use crate::{
    analysis::operations::{Ranking, rank},
    evidence::{cluster, jaeger},
};
use candlepower_api::names::ports::JAEGER_QUERY;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Client;
use std::fmt::Write as _;

/// The service name under which servers report.
const SERVICE: &str = "candlepower-server";

#[derive(Debug, clap::Args)]
pub(super) struct Traces {
    /// The LLMDeployment.
    name: String,
    /// How many minutes to look back.
    #[arg(long, default_value_t = 60)]
    lookback_minutes: u32,
    /// Most traces to read.
    #[arg(long, default_value_t = 200)]
    limit: u32,
}

impl Traces {
    pub(super) async fn run(&self, client: &Client, namespace: &str) -> Result<(), Error> {
        let deployment = find(client, namespace, &self.name).await?;
        let status = deployment.status.and_then(|status| status.observability);
        let endpoint = status
            .and_then(|status| status.traces)
            .or(deployment.spec.observability.tracing.endpoint)
            .ok_or_else(|| {
                Error::Other(format!(
                    "{} has no trace endpoint; set observability.tracing.endpoint",
                    self.name
                ))
            })?;
        let at = cluster::behind(client, &endpoint, namespace, JAEGER_QUERY).await?;
        let now = Timestamp::now();
        let from = now - SignedDuration::from_mins(self.lookback_minutes.into());
        let path = jaeger::search_path(SERVICE, &from.to_string(), &now.to_string(), self.limit);
        let (code, body) = cluster::get(client, &at, &path).await?;
        let traces = match code.as_u16() {
            200 => jaeger::parse(&body)?,
            404 => vec![],
            other => return Err(Error::Other(format!("Jaeger answered {other}"))),
        };
        if traces.is_empty() {
            return Err(Error::Other(format!(
                "no traces in the last {} minutes; observability.tracing.samplingRatio may be low, \
                 or look further back with --lookback-minutes",
                self.lookback_minutes
            )));
        }
        print!("{}", table(&rank(&traces)));
        Ok(())
    }
}

/// The five slowest operations, as text.
fn table(ranking: &Ranking) -> String {
    let mut text = format!("{} traces of all {SERVICE}s there\n", ranking.traces);
    let _ = writeln!(
        text,
        "{:<32} {:>7} {:>11} {:>11} {:>6}",
        "OPERATION", "SHARE", "SELF P50", "SELF P95", "CALLS"
    );
    for o in ranking.operations.iter().take(5) {
        let share = format!("{:.1} %", o.share * 100.0);
        let [p50, p95] = [o.p50, o.p95].map(|time| format!("{:.2} ms", time as f64 / 1e6));
        let _ = writeln!(
            text,
            "{:<32} {share:>7} {p50:>11} {p95:>11} {:>6}",
            o.name, o.calls
        );
    }
    let share = format!("{:.1} %", ranking.unattributed * 100.0);
    let _ = writeln!(text, "{:<32} {share:>7}", "(unattributed)");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_the_slowest_operation_first() {
        let traces = jaeger::parse(include_bytes!("../../tests/data/jaeger-v3.json")).unwrap();
        let table = table(&rank(&traces));
        let line = table.lines().nth(2).unwrap();
        assert!(
            line.starts_with("decode ") && line.contains("500.25 ms"),
            "{table}"
        );
        assert!(
            table.ends_with("(unattributed)                     0.0 %\n"),
            "{table}"
        );
    }
}
