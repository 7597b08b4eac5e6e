//! Scrapes of metrics pages while load runs, where no Prometheus keeps what analysis needs.
use super::{
    dialect,
    exposition::{Sample, samples},
    facts::{ModelFacts, model_facts},
    http::{Error, Server},
    series::{Quantity, Series},
};
use crate::{load::plan::Target, record::Micros};
use candlepower_api::benchmark::MetricsDialect;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::AbortHandle;

/// What scrapes brought.
#[derive(Clone, Debug, Default)]
pub struct Scraped {
    /// The dialect that the page turned out to be in.
    pub dialect: Option<MetricsDialect>,
    /// Every quantity that the page has; times are microseconds since 1970 until [`Scraped::on`].
    pub series: Vec<Series>,
    /// What the page says about the model.
    pub model: Option<ModelFacts>,
    /// Scrapes that were answered.
    pub answered: u32,
    /// Scrapes that were not, and the last reason.
    pub failed: Option<(u32, String)>,
}

/// Adds each page's values to their series.
#[derive(Debug, Default)]
struct Collector {
    scraped: Scraped,
    series: BTreeMap<Quantity, Series>,
}

impl Collector {
    fn page(&mut self, time: Micros, page: &[Sample]) {
        let names = page.iter().map(|sample| sample.name.as_str());
        let Some(dialect) = self.scraped.dialect.or_else(|| dialect::recognise(names)) else {
            self.failure("the page holds the metrics of no server that is known here".to_owned());
            return;
        };
        self.scraped.answered += 1;
        self.scraped.dialect = Some(dialect);
        for (quantity, reading) in dialect::quantities(dialect, page) {
            let series = self.series.entry(quantity).or_insert_with(|| Series {
                quantity,
                metric: reading.metric,
                points: vec![],
            });
            series.points.push((time, reading.value));
        }
        if let Some(facts) = model_facts(page) {
            self.scraped.model = Some(facts);
        }
    }

    fn failure(&mut self, why: String) {
        let failures = self.scraped.failed.as_ref().map_or(0, |(count, _)| *count);
        self.scraped.failed = Some((failures + 1, why));
    }
}

impl Scraped {
    /// The same with times on the clock of a run that started at `started_at`.
    #[must_use]
    pub fn on(mut self, started_at: u64) -> Self {
        for series in &mut self.series {
            series.points.retain(|(time, _)| *time >= started_at);
            for (time, _) in &mut series.points {
                *time -= started_at;
            }
        }
        self
    }
}

/// Scrapes until it is told to stop.
#[derive(Debug)]
pub struct Scraper {
    collector: Arc<Mutex<Collector>>,
    task: AbortHandle,
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scraper {
    /// Begins to scrape `pages` of `target`, one for each pod, every `interval`; `dialect` is recognised
    /// where it is not given.
    pub fn start(
        pages: &[String],
        target: &Target,
        dialect: Option<MetricsDialect>,
        interval: Duration,
    ) -> Result<Self, Error> {
        let pages: Result<Vec<_>, _> = pages
            .iter()
            .map(|url| Server::of_page(url, target))
            .collect();
        let mut collector = Collector::default();
        collector.scraped.dialect = dialect;
        let collector = Arc::new(Mutex::new(collector));
        let task = tokio::spawn(scrape(pages?, interval, collector.clone()));
        Ok(Self {
            collector,
            task: task.abort_handle(),
        })
    }

    /// Ends it.
    pub fn stop(self) -> Scraped {
        let mut collector = self
            .collector
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut scraped = std::mem::take(&mut collector.scraped);
        scraped.series = std::mem::take(&mut collector.series)
            .into_values()
            .collect();
        scraped
    }
}

async fn scrape(
    pages: Vec<(Server, String)>,
    interval: Duration,
    collector: Arc<Mutex<Collector>>,
) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(100)));
    // A scrape that took long does not make the next ones come in a burst.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The wall clock once, and the monotonic clock from there: nobody's setting of it moves points.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let (zero, begun) = (since_1970.unwrap_or_default(), Instant::now());
    loop {
        ticks.tick().await;
        let asked = begun.elapsed();
        let answer = all(&pages).await;
        // What a page says is true of a moment between question and answer.
        let time = zero + (asked + begun.elapsed()) / 2;
        let time = Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX);
        let mut collector = collector.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(samples) => collector.page(time, &samples),
            Err(error) => collector.failure(error.to_string()),
        }
    }
}

/// The samples of all pages. A sum over pods of which one is missing would be wrong, so that all
/// have to answer.
async fn all(pages: &[(Server, String)]) -> Result<Vec<Sample>, Error> {
    let mut found = vec![];
    for (server, path) in pages {
        let page = server.get_ok(path).await?;
        found.extend(samples(&String::from_utf8_lossy(&page)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Vec<Sample> {
        samples(text).collect()
    }

    #[test]
    fn pages_become_series_on_the_runs_clock() {
        let mut collector = Collector::default();
        for time in [90, 100, 130] {
            let value = time * 2;
            collector.page(time, &page(&format!("llm_num_requests_running {value}\n")));
        }
        collector.scraped.series = collector.series.into_values().collect();
        let scraped = collector.scraped.on(100);
        assert_eq!(scraped.series[0].points, [(0, 200.0), (30, 260.0)]);
        assert_eq!(scraped.answered, 3);
    }

    #[test]
    fn a_page_of_something_else_is_said_to_be_one() {
        let mut collector = Collector::default();
        collector.page(0, &page("nginx_up 1\n"));
        assert!(collector.scraped.failed.unwrap().1.contains("no server"));
    }
}
