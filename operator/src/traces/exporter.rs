//! Sends spans to a collector, in batches and beside the work: one that is slow or away costs spans, and never a
//! reconcile's time.
use super::{otlp, span::Recorded};
use crate::{deployment::fetch, metrics::Metrics};
use candlepower_api::names::operator_metrics as names;
use prometheus::IntCounter;
use serde_json::Value;
use std::time::Duration;
use tokio::{
    sync::{mpsc::Receiver, watch},
    task::JoinHandle,
    time::timeout,
};

/// Spans that wait to be sent; more are dropped.
pub(super) const QUEUE: usize = 4096;
const BATCH: usize = 512;
/// How old a span gets before it is sent.
const DELAY: Duration = Duration::from_secs(1);
/// A collector in the cluster answers at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer has a few bytes.
const LARGEST_ANSWER: usize = 64 * 1024;
/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";

/// What becomes of the spans.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    exported: IntCounter,
    pub(super) dropped: IntCounter,
    failures: IntCounter,
}

impl Counts {
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            exported: IntCounter::new(
                names::TRACE_SPANS_EXPORTED,
                "Spans of the operator that the collector took.",
            )?,
            dropped: IntCounter::new(
                names::TRACE_SPANS_DROPPED,
                "Spans of the operator lost because the queue was full or the collector did not take them.",
            )?,
            failures: IntCounter::new(
                names::TRACE_EXPORT_FAILURES,
                "Batches of the operator's spans that could not be sent.",
            )?,
        })
    }

    fn register(&self, metrics: &Metrics) -> prometheus::Result<()> {
        for counter in [&self.exported, &self.dropped, &self.failures] {
            metrics.add(Box::new(counter.clone()))?;
        }
        Ok(())
    }
}

/// Takes the spans that have ended to the collector, once it is started.
#[derive(Debug)]
pub struct Exporter {
    ended: Receiver<Recorded>,
    url: String,
    resource: Value,
    counts: Counts,
    /// Whether the last batch could not be sent.
    fails: bool,
}

impl Exporter {
    /// Sends what comes out of `ended`, as spans of `pod`, to the collector at `endpoint`.
    pub(super) fn new(
        endpoint: &str,
        pod: &str,
        ended: Receiver<Recorded>,
        counts: Counts,
    ) -> Self {
        let base = endpoint.trim_end_matches('/').trim_end_matches(PATH);
        Self {
            ended,
            url: format!("{base}{PATH}"),
            resource: otlp::resource(pod),
            counts,
            fails: false,
        }
    }

    /// Begins to send, and to tell `metrics` of it. To be called in the runtime.
    pub(crate) fn start(self, metrics: &Metrics) -> prometheus::Result<Sending> {
        self.counts.register(metrics)?;
        let (end, ending) = watch::channel(false);
        let task = tokio::spawn(self.run(ending));
        Ok(Sending { end, task })
    }

    async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let client = fetch::Client::new(PATIENCE);
        let mut batch = Vec::new();
        loop {
            let goes_on = tokio::select! {
                goes_on = gather(&mut self.ended, &mut batch) => goes_on,
                () = told(&mut ending) => false,
            };
            if !goes_on {
                break;
            }
            self.send(&client, &mut batch).await;
        }
        loop {
            while batch.len() < BATCH
                && let Ok(span) = self.ended.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                break;
            }
            self.send(&client, &mut batch).await;
        }
    }

    /// Sends a batch, once: to keep it for another try would only lose later spans instead.
    async fn send(&mut self, client: &fetch::Client, batch: &mut Vec<Recorded>) {
        let spans = batch.len() as u64;
        let body = otlp::request(&self.resource, batch).to_string();
        batch.clear();
        let answer = client.post_json(&self.url, body, LARGEST_ANSWER).await;
        let answer = answer.and_then(|(status, body)| otlp::refused(status, &body));
        let lost = match &answer {
            Ok(refused) => spans.min(*refused),
            Err(_) => spans,
        };
        self.counts.exported.inc_by(spans - lost);
        self.counts.dropped.inc_by(lost);
        self.note(answer.err().as_deref());
    }

    /// Says once when spans cannot be sent, and once when they can again.
    fn note(&mut self, failure: Option<&str>) {
        match failure {
            Some(error) => {
                self.counts.failures.inc();
                if !self.fails {
                    tracing::warn!(
                        url = self.url,
                        error,
                        "the operator's spans cannot be sent and are dropped; its work is not affected: --tracing-endpoint is to be a collector that speaks OTLP over HTTP, usually on port 4318"
                    );
                }
            }
            None if self.fails => tracing::info!(url = self.url, "the operator's spans are sent"),
            None => {}
        }
        self.fails = failure.is_some();
    }
}

/// Waits for spans, and a moment for others that go along. False once there will be no more.
async fn gather(ended: &mut Receiver<Recorded>, batch: &mut Vec<Recorded>) -> bool {
    if ended.recv_many(batch, BATCH).await == 0 {
        return false;
    }
    let others = async {
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            if ended.recv_many(batch, room).await == 0 {
                break;
            }
        }
    };
    // What comes later goes with the next batch.
    let _ = timeout(DELAY, others).await;
    true
}

async fn told(ending: &mut watch::Receiver<bool>) {
    // An error means that nobody is left to tell.
    let _ = ending.wait_for(|ends| *ends).await;
}

/// The exporter at work.
#[derive(Debug)]
pub(crate) struct Sending {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sending {
    /// Sends what is left, for as long as `patience`.
    pub(crate) async fn finish(self, patience: Duration) {
        self.end.send_replace(true);
        if timeout(patience, self.task).await.is_err() {
            tracing::warn!("the operator's last spans could not be sent in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, extract::State, http::StatusCode, routing::post};
    use std::{
        sync::{Arc, Mutex},
        time::Instant,
    };
    use tokio::{net::TcpListener, sync::mpsc};

    type Names = Arc<Mutex<Vec<Vec<String>>>>;

    /// A collector that answers `status`: its address, and the names of the spans of each request.
    async fn collector(status: StatusCode) -> (String, Names) {
        let names = Names::default();
        let take = move |State(names): State<Names>, request: String| async move {
            let request: Value = serde_json::from_str(&request).unwrap();
            let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
            let spans = spans.as_array().unwrap().iter();
            let of_request = spans.map(|span| span["name"].as_str().unwrap().to_owned());
            names.lock().unwrap().push(of_request.collect());
            status
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(names.clone());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (endpoint, names)
    }

    fn started(endpoint: &str) -> (mpsc::Sender<Recorded>, Sending, Counts) {
        let (ended, queue) = mpsc::channel(QUEUE);
        let counts = Counts::new().unwrap();
        let exporter = Exporter::new(endpoint, "pod", queue, counts.clone());
        let sending = exporter.start(&Metrics::new().unwrap()).unwrap();
        (ended, sending, counts)
    }

    fn counted(counts: &Counts) -> (u64, u64, u64) {
        (
            counts.exported.get(),
            counts.dropped.get(),
            counts.failures.get(),
        )
    }

    #[tokio::test]
    async fn what_has_ended_is_sent_at_the_latest_with_the_process_end() {
        let (endpoint, names) = collector(StatusCode::OK).await;
        let (ended, sending, counts) = started(&endpoint);
        for name in ["build", "reconcile"] {
            ended.try_send(Recorded::root(name, 1, 2)).unwrap();
        }
        let start = Instant::now();
        sending.finish(Duration::from_secs(5)).await;
        assert!(start.elapsed() < DELAY, "it waited for more");
        assert_eq!(*names.lock().unwrap(), [["build", "reconcile"]]);
        assert_eq!(counted(&counts), (2, 0, 0));
    }

    #[tokio::test]
    async fn a_full_batch_waits_for_nothing() {
        let (endpoint, names) = collector(StatusCode::OK).await;
        let (ended, sending, counts) = started(&endpoint);
        for _ in 0..=BATCH {
            ended.try_send(Recorded::root("build", 1, 2)).unwrap();
        }
        sending.finish(Duration::from_secs(5)).await;
        let sizes: Vec<_> = names.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(sizes, [BATCH, 1]);
        assert_eq!(counted(&counts), (BATCH as u64 + 1, 0, 0));
    }

    #[tokio::test]
    async fn spans_that_the_collector_does_not_take_are_counted() {
        let (endpoint, _) = collector(StatusCode::SERVICE_UNAVAILABLE).await;
        let (ended, sending, counts) = started(&endpoint);
        ended.try_send(Recorded::root("build", 1, 2)).unwrap();
        sending.finish(Duration::from_secs(5)).await;
        assert_eq!(counted(&counts), (0, 1, 1));
    }

    #[tokio::test]
    async fn a_collector_that_never_answers_does_not_keep_the_process() {
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let (ended, sending, _) = started(&endpoint);
        ended.try_send(Recorded::root("build", 1, 2)).unwrap();
        let start = Instant::now();
        sending.finish(Duration::from_millis(200)).await;
        assert!(start.elapsed() < PATIENCE / 2);
    }

    #[test]
    fn the_endpoint_may_be_written_with_its_path() {
        let url = |endpoint| {
            let (_, queue) = mpsc::channel(1);
            Exporter::new(endpoint, "pod", queue, Counts::new().unwrap()).url
        };
        assert_eq!(url("http://c:4318"), "http://c:4318/v1/traces");
        assert_eq!(url("http://c:4318/"), "http://c:4318/v1/traces");
        assert_eq!(url("http://c/otlp/v1/traces"), "http://c/otlp/v1/traces");
    }
}
