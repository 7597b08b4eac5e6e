//! Figures of the GPUs of servers that export none: from pages of NVIDIA's dcgm-exporter while the load runs, or from a
//! Prometheus that scrapes it.
use super::{
    Evidence,
    dcgm::{self, ROWS},
    exposition::Sample,
    http::{Error, Server},
    prometheus,
    scrape::{repeat, servers},
    series::{Quantity, Series},
};
use crate::{load::plan::Target, record::Micros};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::AbortHandle;

/// What reports call them where they are missing.
const FIGURES: &str = "figures of the GPU";
/// What to do about it.
pub(crate) const CURE: &str =
    "name a page of NVIDIA's dcgm-exporter (--gpu-metrics-url, or target.metrics.gpuUrl)";

/// What pages of dcgm-exporter brought.
#[derive(Clone, Debug, Default)]
pub struct GpuScrapes {
    /// The pages' addresses.
    pages: Vec<String>,
    /// Times are microseconds since 1970.
    series: BTreeMap<Quantity, Series>,
    names: Vec<String>,
    which: String,
    answered: u32,
    failed: Option<(u32, String)>,
}

impl GpuScrapes {
    fn of(pages: &[String]) -> Self {
        Self {
            pages: pages.to_vec(),
            ..Self::default()
        }
    }

    fn took(&mut self, time: Micros, samples: &[Sample], pods: &[String]) {
        let told = match dcgm::read(samples, pods) {
            Ok(told) => told,
            Err(why) => return self.failure(why),
        };
        self.answered += 1;
        (self.names, self.which) = (told.gpus, told.which);
        for (quantity, reading) in told.quantities {
            let series = self.series.entry(quantity).or_insert_with(|| Series {
                quantity,
                metric: reading.metric,
                points: vec![],
            });
            series.points.push((time, reading.value));
        }
    }

    fn failure(&mut self, why: String) {
        let failures = self.failed.as_ref().map_or(0, |(count, _)| *count);
        self.failed = Some((failures + 1, why));
    }

    /// Adds what was read to the evidence of a run that started at `started_at`; or why nothing was.
    pub(super) fn add_to(self, evidence: &mut Evidence, started_at: u64) {
        if self.pages.is_empty() {
            return;
        }
        let url = self.pages.join(", ");
        match &self.failed {
            Some((count, why)) => {
                let what = if self.answered == 0 {
                    FIGURES.to_owned()
                } else {
                    format!("some {FIGURES}")
                };
                let why = format!("{count} scrapes of {url} failed; the last one: {why}");
                evidence.lacks(&what, why);
            }
            None if self.answered == 0 => {
                evidence.lacks(FIGURES, format!("{url} was never scraped"));
            }
            None => {}
        }
        if self.answered == 0 {
            return;
        }
        let (answered, which) = (self.answered, &self.which);
        evidence.gpu_source = Some(format!("{answered} scrapes of {url} ({which})"));
        if !self.names.is_empty() {
            evidence.machine.get_or_insert_default().gpus = self.names;
        }
        let mut series: Vec<_> = self.series.into_values().collect();
        for one in &mut series {
            one.start_at(started_at);
        }
        evidence.put(series);
    }
}

/// Scrapes pages of dcgm-exporter until it is told to stop.
#[derive(Debug)]
pub struct GpuScraper {
    collected: Arc<Mutex<GpuScrapes>>,
    task: Option<AbortHandle>,
}

impl Drop for GpuScraper {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl GpuScraper {
    /// Begins to scrape `pages` every `interval`; without any it does nothing. Of their GPUs those of `pods` count, where
    /// these are known and the pages tell whose they are.
    pub fn start(
        pages: &[String],
        target: &Target,
        pods: Vec<String>,
        interval: Duration,
    ) -> Result<Self, Error> {
        let servers = servers(pages, target)?;
        let collected = Arc::new(Mutex::new(GpuScrapes::of(pages)));
        let shared = collected.clone();
        let task = (!pages.is_empty()).then(|| {
            let take = move |time, (), answer: Result<Vec<Vec<Sample>>, Error>| {
                let mut scrapes = shared.lock().unwrap_or_else(PoisonError::into_inner);
                match answer {
                    Ok(pages) => scrapes.took(time, &pages.concat(), &pods),
                    Err(error) => scrapes.failure(error.to_string()),
                }
            };
            tokio::spawn(repeat(servers, interval, || (), take)).abort_handle()
        });
        Ok(Self { collected, task })
    }

    /// One that has nothing to say but why, for a load that needs no figures of GPUs.
    pub fn refused(pages: &[String], error: &Error) -> Self {
        let mut scrapes = GpuScrapes::of(pages);
        scrapes.failure(error.to_string());
        Self {
            collected: Arc::new(Mutex::new(scrapes)),
            task: None,
        }
    }

    /// Ends it.
    pub fn stop(self) -> GpuScrapes {
        let mut collected = self
            .collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut collected)
    }
}

/// Asks Prometheus for what dcgm-exporter says of the GPUs of the pods that `selector` selects, unless the evidence has
/// figures of GPUs already. `span` is in microseconds since 1970.
pub(super) async fn ask(
    evidence: &mut Evidence,
    urls: &[String],
    selector: &str,
    span: (Micros, Micros),
    step: f64,
) {
    for url in urls {
        if ROWS
            .iter()
            .any(|&(quantity, ..)| evidence.series(quantity).is_some())
        {
            return;
        }
        if let Err(error) = ask_one(evidence, url, selector, span, step).await {
            evidence.lacks(FIGURES, error.to_string());
        }
    }
}

async fn ask_one(
    evidence: &mut Evidence,
    url: &str,
    selector: &str,
    span: (Micros, Micros),
    step: f64,
) -> Result<(), prometheus::Error> {
    let server = Server::at(url)?;
    for selector in dcgm::selectors(selector) {
        let found = series(&server, &selector, span, step).await?;
        if found.is_empty() {
            continue;
        }
        evidence.put(found);
        evidence.gpu_source = Some(format!(
            "Prometheus at {url} (of dcgm-exporter: {{{selector}}})"
        ));
        let naming = dcgm::naming(&selector);
        let described = prometheus::ask(&server, &naming, span, step).await?;
        let names = described
            .iter()
            .map(|one| dcgm::name(|label| one.label(label)));
        evidence.machine.get_or_insert_default().gpus = names.collect();
        break;
    }
    Ok(())
}

async fn series(
    server: &Server,
    selector: &str,
    span: (Micros, Micros),
    step: f64,
) -> Result<Vec<Series>, prometheus::Error> {
    let mut all: Vec<Series> = vec![];
    for (quantity, names, unit) in ROWS {
        if all.iter().any(|one| one.quantity == *quantity) {
            continue;
        }
        let expression = dcgm::expression(*quantity, names, selector);
        let answer = prometheus::ask(server, &expression, span, step).await?;
        let points = prometheus::points(answer, span.0);
        if !points.is_empty() {
            all.push(Series {
                quantity: *quantity,
                metric: names.join(" + "),
                points: points
                    .into_iter()
                    .map(|(time, value)| (time, value * unit))
                    .collect(),
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{dcgm::tests::PAGE, exposition::samples};
    use axum::{Json, Router, extract::Query, routing::get};
    use serde_json::json;
    use tokio::net::TcpListener;

    async fn serve(app: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn scrapes(page: &str, times: &[Micros]) -> GpuScrapes {
        let mut scrapes = GpuScrapes::of(&["http://node:9400/metrics".to_owned()]);
        for &time in times {
            scrapes.took(
                time,
                &samples(page).collect::<Vec<_>>(),
                &["vllm-0".to_owned()],
            );
        }
        scrapes
    }

    #[test]
    fn scrapes_become_evidence_on_the_runs_clock() {
        let mut evidence = Evidence::default();
        scrapes(PAGE, &[90, 100, 130]).add_to(&mut evidence, 100);
        let temperature = evidence.series(Quantity::GpuTemperature).unwrap();
        assert_eq!(temperature.points, [(0, 61.0), (30, 61.0)]);
        let gpus = &evidence.machine.as_ref().unwrap().gpus;
        assert_eq!(gpus, &["NVIDIA H100 80GB HBM3 (driver 550.54.15)"]);
        assert_eq!(
            evidence.gpu_source.as_deref(),
            Some("3 scrapes of http://node:9400/metrics (1 in use by the target's pods)")
        );
        assert!(evidence.missing.is_empty());
    }

    #[test]
    fn a_page_of_something_else_is_a_gap_with_its_reason() {
        let mut evidence = Evidence::default();
        scrapes("llm_up 1\n", &[1, 2]).add_to(&mut evidence, 0);
        assert!(evidence.series.is_empty() && evidence.gpu_source.is_none());
        let missing = &evidence.missing[0];
        assert_eq!(missing.what, FIGURES);
        assert!(missing.why.contains("2 scrapes") && missing.why.contains("DCGM_FI_DEV_"));
        let mut none = Evidence::default();
        GpuScrapes::default().add_to(&mut none, 0);
        assert!(none.missing.is_empty(), "nothing was asked for");
    }

    #[tokio::test]
    async fn a_page_is_scraped_until_the_end() {
        let url = serve(Router::new().route("/metrics", get(|| async { PAGE }))).await;
        let pages = [format!("{url}/metrics")];
        let every = Duration::from_millis(100);
        let scraper = GpuScraper::start(&pages, &Target::default(), vec![], every).unwrap();
        tokio::time::timeout(Duration::from_secs(20), async {
            while scraper.collected.lock().unwrap().answered == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        let read = scraper.stop();
        assert!(read.series.contains_key(&Quantity::GpuPower));
    }

    /// A Prometheus that knows the exporter's labels as `exported_…`.
    async fn prometheus() -> String {
        let answer = |Query(query): Query<BTreeMap<String, String>>| {
            let query = &query["query"];
            let labels = json!({"UUID": "GPU-a1", "modelName": "NVIDIA L4"});
            let known = query.contains("{exported_pod=\"vllm-0\"}") && !query.contains("RESERVED");
            let result = if known {
                json!([{"metric": labels, "values": [[100, "50"], [101, "60"]]}])
            } else {
                json!([])
            };
            std::future::ready(Json(
                json!({"status": "success", "data": {"result": result}}),
            ))
        };
        serve(Router::new().route("/api/v1/query_range", get(answer))).await
    }

    #[tokio::test]
    async fn prometheus_is_asked_for_the_gpus_of_the_selected_pods() {
        let url = prometheus().await;
        let span = (100_000_000, 160_000_000);
        let mut evidence = Evidence::default();
        let selector = "job=\"vllm\",pod=\"vllm-0\"";
        let urls = [url];
        ask(&mut evidence, &urls, selector, span, 1.0).await;
        let used = evidence.series(Quantity::GpuMemoryUsed).unwrap();
        let mib = 1024.0 * 1024.0;
        assert_eq!(used.points, [(0, 50.0 * mib), (1_000_000, 60.0 * mib)]);
        assert_eq!(evidence.machine.as_ref().unwrap().gpus, ["NVIDIA L4"]);
        let source = evidence.gpu_source.as_deref().unwrap();
        assert!(source.contains("exported_pod"), "{source}");

        let mut other = Evidence::default();
        ask(&mut other, &urls, "pod=\"x\"", span, 1.0).await;
        assert!(other.series.is_empty() && other.gpu_source.is_none());
        assert!(other.missing.is_empty(), "it may have none");
    }
}
