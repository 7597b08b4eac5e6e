//! Scrapes of metrics pages while load runs, where no Prometheus keeps what analysis needs.
use super::{
    dialect::{self, Reading},
    exposition::{Sample, samples},
    facts::{ModelFacts, gpus, model_facts},
    http::{Error, Server},
    node,
    series::{Kind, Quantity, Series},
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
    /// The GPUs that the pages name.
    pub gpus: Vec<String>,
    /// Scrapes that were answered.
    pub answered: u32,
    /// Scrapes that were not, and the last reason.
    pub failed: Option<(u32, String)>,
}

/// Adds the values of all pages to their series.
#[derive(Debug, Default)]
struct Collector {
    scraped: Scraped,
    series: BTreeMap<Quantity, Series>,
    /// What each page's counters have gained.
    counters: Vec<BTreeMap<Quantity, Counted>>,
}

/// A counter of one page, which starts anew when its server does.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    last: f64,
    /// What it had counted before it started anew.
    before: f64,
    /// How often it did.
    falls: u32,
}

impl Counted {
    /// What was counted altogether.
    fn read(&mut self, value: f64) -> f64 {
        if value < self.last {
            self.before += self.last;
            self.falls += 1;
        }
        self.last = value;
        self.before + value
    }
}

/// How often the server of a page began anew.
fn falls(counters: &BTreeMap<Quantity, Counted>) -> u32 {
    counters
        .values()
        .map(|one| one.falls)
        .max()
        .unwrap_or_default()
}

/// A server that starts anew so often in one run is several that answer in turn.
const FALLS: u32 = 3;

impl Collector {
    /// What all pages say at one moment.
    fn pages(&mut self, time: Micros, pages: &[Vec<Sample>]) {
        let names = pages.iter().flatten().map(|sample| sample.name.as_str());
        let Some(dialect) = self.scraped.dialect.or_else(|| dialect::recognise(names)) else {
            self.failure("the page holds the metrics of no server that is known here".to_owned());
            return;
        };
        self.scraped.answered += 1;
        self.scraped.dialect = Some(dialect);
        self.counters.resize_with(pages.len(), BTreeMap::new);
        let mut sums: BTreeMap<Quantity, Reading> = BTreeMap::new();
        for (page, counters) in pages.iter().zip(&mut self.counters) {
            for (quantity, mut reading) in dialect::quantities(dialect, page) {
                if quantity.kind() == Kind::Counter {
                    let counted = counters.entry(quantity).or_default();
                    reading.value = counted.read(reading.value);
                }
                sums.entry(quantity)
                    .and_modify(|sum| sum.value = quantity.together(sum.value, reading.value))
                    .or_insert(reading);
            }
        }
        let restarts = Reading {
            metric: "falls of counters".to_owned(),
            value: self.counters.iter().map(falls).sum::<u32>().into(),
        };
        sums.insert(Quantity::Restarts, restarts);
        for (quantity, reading) in sums {
            let series = self.series.entry(quantity).or_insert_with(|| Series {
                quantity,
                metric: reading.metric,
                points: vec![],
            });
            series.points.push((time, reading.value));
        }
        if let Some(facts) = pages.iter().find_map(|page| model_facts(page)) {
            self.scraped.model = Some(facts);
        }
        self.scraped.gpus = pages.iter().flat_map(|page| gpus(page)).collect();
    }

    /// What was collected. Figures of several servers that answer in turn would be wrong, all of them.
    fn end(&mut self) -> Scraped {
        let mut scraped = std::mem::take(&mut self.scraped);
        if self.counters.iter().any(|one| falls(one) >= FALLS) {
            let why = "its counters fall again and again, as where several servers answer under one \
                       address in turn; name the metrics of each of them";
            return Scraped {
                failed: Some((scraped.answered, why.to_owned())),
                ..Scraped::default()
            };
        }
        scraped.series = std::mem::take(&mut self.series).into_values().collect();
        scraped
    }

    /// What the server's node says at one moment.
    fn node(&mut self, time: Micros, told: Vec<(Quantity, f64)>) {
        for (quantity, value) in told {
            let series = self.series.entry(quantity).or_insert_with(|| Series {
                quantity,
                metric: node::source(quantity).to_owned(),
                points: vec![],
            });
            series.points.push((time, value));
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
            series.start_at(started_at);
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
    /// where it is not given. `same_machine` says that the server runs on this one, whose own accounts are then read as
    /// well.
    pub fn start(
        pages: &[String],
        target: &Target,
        dialect: Option<MetricsDialect>,
        interval: Duration,
        same_machine: bool,
    ) -> Result<Self, Error> {
        let pages = servers(pages, target)?;
        let mut collector = Collector::default();
        collector.scraped.dialect = dialect;
        let collector = Arc::new(Mutex::new(collector));
        let shared = collector.clone();
        let node = move || same_machine.then(node::read).unwrap_or_default();
        let take = move |time, node, answer: Result<Vec<Vec<Sample>>, Error>| {
            let mut collector = shared.lock().unwrap_or_else(PoisonError::into_inner);
            collector.node(time, node);
            match answer {
                Ok(pages) => collector.pages(time, &pages),
                Err(error) => collector.failure(error.to_string()),
            }
        };
        let task = tokio::spawn(repeat(pages, interval, node, take));
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
        collector.end()
    }
}

/// The servers of pages that belong to `target`, and their paths.
pub(super) fn servers(pages: &[String], target: &Target) -> Result<Vec<(Server, String)>, Error> {
    let pages = pages.iter().map(|url| Server::of_page(url, target));
    pages.collect()
}

/// Reads pages every `interval`, for ever, and gives away what they say, with the moment in microseconds since 1970 and
/// what `beside` said when they were asked.
pub(super) async fn repeat<B>(
    pages: Vec<(Server, String)>,
    interval: Duration,
    beside: impl Fn() -> B,
    mut take: impl FnMut(Micros, B, Result<Vec<Vec<Sample>>, Error>),
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
        let beside = beside();
        let answer = all(&pages).await;
        // What a page says is true of a moment between question and answer.
        let time = zero + (asked + begun.elapsed()) / 2;
        let time = Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX);
        take(time, beside, answer);
    }
}

/// The samples of each page. A sum over pods of which one is missing would be wrong, so that all
/// have to answer.
async fn all(pages: &[(Server, String)]) -> Result<Vec<Vec<Sample>>, Error> {
    let mut found = vec![];
    for (server, path) in pages {
        let page = server.get_ok(path).await?;
        found.push(samples(&String::from_utf8_lossy(&page)).collect());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Vec<Vec<Sample>> {
        vec![samples(text).collect()]
    }

    #[test]
    fn pages_become_series_on_the_runs_clock() {
        let mut collector = Collector::default();
        for time in [90, 100, 130] {
            let value = time * 2;
            collector.pages(time, &page(&format!("llm_num_requests_running {value}\n")));
        }
        let scraped = collector.end().on(100);
        assert_eq!(scraped.series[0].points, [(0, 200.0), (30, 260.0)]);
        assert_eq!(scraped.answered, 3);
    }

    #[test]
    fn a_page_of_something_else_is_said_to_be_one() {
        let mut collector = Collector::default();
        collector.pages(0, &page("nginx_up 1\n"));
        assert!(collector.scraped.failed.unwrap().1.contains("no server"));
    }

    fn tokens(value: u32) -> Vec<Sample> {
        samples(&format!("llm_generation_tokens_total {value}\n")).collect()
    }

    #[test]
    fn a_pod_that_starts_anew_takes_nothing_from_what_all_of_them_counted() {
        let mut collector = Collector::default();
        for (time, values) in [(0, [100, 1000]), (1, [150, 1010]), (2, [5, 1020])] {
            collector.pages(time, &values.map(tokens));
        }
        let scraped = collector.end();
        let [tokens, restarts] = &scraped.series[..] else {
            panic!("{scraped:?}")
        };
        assert_eq!(tokens.points, [(0, 1100.0), (1, 1160.0), (2, 1175.0)]);
        assert_eq!(restarts.quantity, Quantity::Restarts);
        assert_eq!(restarts.points, [(0, 0.0), (1, 0.0), (2, 1.0)]);
    }

    #[test]
    fn several_servers_that_answer_in_turn_give_no_figures() {
        let mut collector = Collector::default();
        for (time, value) in [900, 10, 910, 20, 920, 30].into_iter().enumerate() {
            collector.pages(time as u64, &[tokens(value)]);
        }
        let scraped = collector.end();
        assert_eq!((scraped.answered, scraped.series.len()), (0, 0));
        let why = scraped.failed.unwrap().1;
        assert!(why.contains("name the metrics of each"), "{why}");
    }
}
