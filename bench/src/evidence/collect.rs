//! Puts a run's evidence together from whatever answers; what does not is listed with the reason.
use super::{
    Evidence, facts, gpus,
    hardware::Hardware,
    http::Server,
    model_load::{self, MODEL_LOAD},
    prometheus,
    sample::{SAMPLE, fetch, wanted},
    scrape::Scraped,
    series::Series,
    sources::{HardwareFrom, MetricsFrom, Sources},
    versions,
};
use crate::{
    load::plan::Target,
    record::{Micros, Run},
};
use candlepower_api::benchmark::{MetricsDialect, job::NodeFacts};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const UNREAD_HARDWARE: &str = "hardware and probe of memory bandwidth";
/// What reports call the two main parts where they are missing.
const METRICS: &str = "server metrics";
const TRACES: &str = "traces";

/// Servers send spans in batches, every few seconds.
const SPANS_ARRIVE: Duration = Duration::from_secs(8);
/// Points that Prometheus is asked for at most; it refuses more than 11,000.
const MOST_POINTS: f64 = 2_000.0;

/// Collects it. Never fails: a report with less evidence is still a report.
pub async fn collect(run: &Run, sources: Sources) -> Evidence {
    let mut evidence = Evidence {
        deployment: sources.deployment,
        replicas: sources.pods,
        ..Evidence::default()
    };
    // First, so that what a server says of its own GPUs counts instead.
    sources.gpus.add_to(&mut evidence, run.started_at);
    metrics(run, sources.metrics.or_instead(), &mut evidence).await;
    listed(run, &sources.target, &mut evidence).await;
    match sources.jaegers {
        Ok(urls) => {
            traces(run, &urls, &mut evidence).await;
            model_load::add(run, &urls, sources.origin.as_ref(), &mut evidence).await;
        }
        Err(why) => evidence.lacks(TRACES, why),
    }
    if let Some(why) = sources.nodes_missing {
        evidence.lacks("what Kubernetes knows of the server's nodes", why);
    }
    hardware(sources.hardware, sources.nodes, &mut evidence).await;
    evidence
}

async fn hardware(from: HardwareFrom, nodes: Vec<NodeFacts>, evidence: &mut Evidence) {
    let found = match from {
        HardwareFrom::Read(found) => Ok(*found),
        HardwareFrom::ThisMachine => tokio::task::spawn_blocking(Hardware::read)
            .await
            .map_err(|error| error.to_string()),
        HardwareFrom::Nowhere { why } => Err(why),
    };
    let found = found
        .map_err(|why| evidence.lacks(UNREAD_HARDWARE, why))
        .ok();
    if found.is_some() || !nodes.is_empty() {
        let (machine, probe) = found.map(|found| (found.machine, found.probe)).unzip();
        let mut machine = machine.unwrap_or_default();
        // The server's own are those that it may use.
        machine.gpus = evidence.machine.take().unwrap_or_default().gpus;
        evidence.machine = Some(machine.or_of_nodes(&nodes));
        evidence.probe = probe;
    }
    evidence.nodes = nodes;
}

/// Fills in what an earlier collection could not have: metrics and traces from the `sources` that are known by now.
/// Returns whether there was anything to fill in.
pub async fn complete(run: &Run, evidence: &mut Evidence, sources: Sources) -> bool {
    let wants_metrics = evidence.metrics_source.is_none()
        && !matches!(sources.metrics, MetricsFrom::Nowhere { .. });
    let wants_traces = evidence.traces.is_empty() && sources.jaegers.is_ok();
    if wants_metrics {
        evidence.missing.retain(|one| one.what != METRICS);
        metrics(run, sources.metrics, evidence).await;
    }
    if wants_traces && let Ok(urls) = &sources.jaegers {
        evidence.missing.retain(|one| one.what != TRACES);
        traces(run, urls, evidence).await;
        evidence.missing.retain(|one| one.what != MODEL_LOAD);
        model_load::add(run, urls, sources.origin.as_ref(), evidence).await;
    }
    wants_metrics || wants_traces
}

async fn metrics(run: &Run, from: MetricsFrom, evidence: &mut Evidence) {
    match from {
        MetricsFrom::Nowhere { why } => evidence.lacks(METRICS, why),
        MetricsFrom::Scrapes { pages, scraped, .. } => {
            scrapes(run, &pages.join(", "), scraped, evidence);
        }
        MetricsFrom::Prometheus {
            urls,
            dialect,
            selector,
        } => {
            let url = urls.join(", ");
            let ahead = of_clocks(&urls, evidence).await;
            let (span, step) = span(run, ahead);
            match query(span, step, &urls, dialect, &selector).await {
                Ok(series) if series.is_empty() => evidence.lacks(
                    METRICS,
                    format!("Prometheus at {url} has no series for {{{selector}}} in the time of the run"),
                ),
                Ok(series) => {
                    evidence.metrics_source = Some(format!("Prometheus at {url}"));
                    evidence.versions.metrics = of_prometheus(&urls).await;
                    evidence.dialect = Some(dialect);
                    evidence.put(series);
                }
                Err(error) => return evidence.lacks(METRICS, error.to_string()),
            }
            // Our own server says itself what its GPUs do.
            if dialect != MetricsDialect::Candlepower {
                gpus::ask(evidence, &urls, &selector, span, step).await;
            }
        }
    }
}

/// How far the first one's clock is ahead, in seconds; a report says so, because its points are moved by that.
async fn of_clocks(urls: &[String], evidence: &mut Evidence) -> i64 {
    let Some(Ok(server)) = urls.first().map(|url| Server::at(url)) else {
        return 0;
    };
    let ahead = server.clock_ahead().await.unwrap_or_default();
    if ahead != 0 {
        let why = format!(
            "the clock of Prometheus is {ahead} s ahead of this machine's (negative: behind), and its points were moved by that; set both clocks"
        );
        evidence.lacks("clocks that agree", why);
    }
    ahead
}

/// The version of the first of them: a deployment's sidecars come from one image.
async fn of_prometheus(urls: &[String]) -> Option<String> {
    let server = Server::at(urls.first()?).ok()?;
    versions::of_prometheus(&server).await
}

fn scrapes(run: &Run, url: &str, scraped: Scraped, evidence: &mut Evidence) {
    if let Some((count, why)) = &scraped.failed {
        let what = if scraped.answered == 0 {
            METRICS
        } else {
            "some scrapes of the server's metrics"
        };
        evidence.lacks(
            what,
            format!("{count} scrapes of {url} failed; the last one: {why}"),
        );
    } else if scraped.answered == 0 {
        evidence.lacks(METRICS, format!("{url} was never scraped"));
    }
    if scraped.answered > 0 {
        evidence.metrics_source = Some(format!("{} scrapes of {url}", scraped.answered));
        // Whoever put the load on has scraped, too.
        let generator = Some(run.generator.clone());
        evidence.versions.metrics = generator.filter(|version| !version.is_empty());
    }
    let scraped = scraped.on(run.started_at);
    if !scraped.gpus.is_empty() {
        let machine = evidence.machine.get_or_insert_default();
        machine.gpus.clone_from(&scraped.gpus);
    }
    evidence.dialect = scraped.dialect;
    evidence.put(scraped.series);
    evidence.model = scraped.model;
}

/// A run's time on a clock that is so many seconds ahead, in microseconds since 1970, and the seconds between points.
fn span(run: &Run, ahead: i64) -> ((Micros, Micros), f64) {
    let end = run.scenarios.iter().map(|one| one.ended).max();
    let started = run.started_at.saturating_add_signed(ahead * 1_000_000);
    let span: (Micros, Micros) = (started, started + end.unwrap_or_default());
    let seconds = (span.1 - span.0) as f64 / 1e6;
    (span, (seconds / MOST_POINTS).max(1.0).ceil())
}

async fn query(
    span: (Micros, Micros),
    step: f64,
    urls: &[String],
    dialect: MetricsDialect,
    selector: &str,
) -> Result<Vec<Series>, prometheus::Error> {
    let mut parts = vec![];
    for url in urls {
        let server = Server::at(url)?;
        parts.push(prometheus::range(&server, dialect, selector, span, step).await?);
    }
    Ok(prometheus::merge(parts))
}

async fn listed(run: &Run, target: &Target, evidence: &mut Evidence) {
    let server = match Server::of_target(&run.url, target) {
        Ok(server) => server,
        Err(error) => return evidence.lacks("the server's model list", error.to_string()),
    };
    match facts::listed(&server, &run.model).await {
        Ok((listed, owner)) => {
            evidence.server = owner;
            // Only of a server that answers: each question to a silent one takes its time.
            evidence.versions.server = versions::of_server(&server).await;
            let model = evidence.model.get_or_insert_default();
            model.name = listed.name;
            model.context_length = model.context_length.or(listed.context_length);
        }
        Err(why) => evidence.lacks("the server's model list", why),
    }
}

async fn traces(run: &Run, urls: &[String], evidence: &mut Evidence) {
    let jaegers: Result<Vec<_>, _> = urls.iter().map(|url| Server::at(url)).collect();
    let jaegers = match jaegers {
        Ok(jaegers) => jaegers,
        Err(error) => return evidence.lacks(TRACES, error.to_string()),
    };
    let url = urls.join(", ");
    let wanted = wanted(run, SAMPLE);
    tokio::time::sleep(until_spans_arrive(run)).await;
    let fetched = fetch(&jaegers, &wanted).await;
    if let Some(why) = fetched.failure {
        evidence.lacks(TRACES, why);
    } else if fetched.traces.is_empty() && !wanted.is_empty() {
        let why = format!(
            "Jaeger at {url} has none of the {} that were asked for; is the server's sampling \
             ratio 1, and does it export to this Jaeger?",
            wanted.len()
        );
        evidence.lacks(TRACES, why);
    } else if fetched.absent > 0 {
        let why = format!(
            "Jaeger at {url} does not have {} of the traces",
            fetched.absent
        );
        evidence.lacks("some traces", why);
    }
    if !fetched.traces.is_empty() {
        evidence.traces_source = Some(format!("Jaeger at {url}"));
        if let Some(jaeger) = jaegers.first() {
            evidence.versions.traces = versions::of_jaeger(jaeger).await;
        }
    }
    evidence.traces = fetched.traces;
}

/// How long spans may still be on their way: servers send them in batches, seconds after the request.
fn until_spans_arrive(run: &Run) -> Duration {
    let end = run.scenarios.iter().map(|one| one.ended).max();
    let end = Duration::from_micros(run.started_at + end.unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = now.unwrap_or_default().saturating_sub(end);
    SPANS_ARRIVE.saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        evidence::gpus::GpuScrapes,
        figures::tests::{request, scenario},
        load::plan::Target,
    };

    /// A run against an address where nothing listens.
    fn run() -> Run {
        serde_json::from_value(serde_json::json!({
            "startedAt": 1_700_000_000_000_000u64, "url": "http://127.0.0.1:9", "model": "m",
            "workload": {}, "promptLengths": "", "scenarios": [],
        }))
        .map(|mut run: Run| {
            let mut one = request(0, 0, &[5]);
            one.trace_id = "a".to_owned();
            run.scenarios = vec![scenario((0, 10), vec![one])];
            run
        })
        .unwrap()
    }

    #[tokio::test]
    async fn what_does_not_answer_is_missing_with_a_reason_and_nothing_is_invented() {
        let nowhere = "http://127.0.0.1:9".to_owned();
        let sources = Sources {
            target: Target::default(),
            metrics: MetricsFrom::Prometheus {
                urls: vec![nowhere.clone()],
                dialect: MetricsDialect::Candlepower,
                selector: String::new(),
            },
            jaegers: Ok(vec![nowhere]),
            origin: None,
            deployment: None,
            hardware: HardwareFrom::of_command(false),
            pods: 0,
            nodes: vec![],
            nodes_missing: None,
            gpus: GpuScrapes::default(),
        };
        let evidence = collect(&run(), sources).await;
        let missing: Vec<_> = evidence.missing.iter().map(|one| &*one.what).collect();
        assert_eq!(
            missing,
            [
                "server metrics",
                "the server's model list",
                "traces",
                "hardware and probe of memory bandwidth"
            ]
        );
        assert!(evidence.series.is_empty() && evidence.probe.is_none());
        assert!(evidence.missing.iter().all(|one| !one.why.is_empty()));
    }
}
