//! Prometheus' range queries: the same quantities as a scrape brings, for a run that is over.
use super::{
    dialect,
    http::{self, Server, encode},
    series::{Quantity, Series},
};
use crate::record::Micros;
use candlepower_api::benchmark::MetricsDialect;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Why Prometheus gave no series.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// It answered something else.
    #[error("the answer is not that of Prometheus' query API: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Matrix>,
}

/// One series of an answer.
#[derive(Deserialize)]
pub(super) struct Matrix {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl Matrix {
    /// A label's value.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.metric.get(name).map(String::as_str)
    }
}

/// The expression that puts a quantity together over pods.
fn expression(quantity: Quantity, metric: &str, selector: &str) -> String {
    let by = if quantity.largest() { "max" } else { "sum" };
    let parts = dialect::addends(metric).map(|name| format!("{by}({name}{{{selector}}})"));
    parts.collect::<Vec<_>>().join(" + ")
}

/// One list of what several Prometheuses have, each of them for other pods.
pub fn merge(lists: impl IntoIterator<Item = Vec<Series>>) -> Vec<Series> {
    let mut merged: BTreeMap<Quantity, (String, BTreeMap<Micros, f64>)> = BTreeMap::new();
    for series in lists.into_iter().flatten() {
        let whole = merged.entry(series.quantity).or_default();
        whole.0 = series.metric;
        for (time, value) in series.points {
            let sum = whole.1.entry(time).or_default();
            *sum = series.quantity.together(*sum, value);
        }
    }
    let series = merged
        .into_iter()
        .map(|(quantity, (metric, points))| Series {
            quantity,
            metric,
            points: points.into_iter().collect(),
        });
    series.collect()
}

/// All quantities of a dialect between two moments, in microseconds since 1970. `selector` is a
/// list of label matchers such as `namespace="demo",llmdeployment="tiny"`.
pub async fn range(
    server: &Server,
    dialect: MetricsDialect,
    selector: &str,
    span: (Micros, Micros),
    step: f64,
) -> Result<Vec<Series>, Error> {
    let mut all: Vec<Series> = vec![];
    for (quantity, metric) in dialect::metrics_of(dialect) {
        // Names of older versions come last.
        if all.iter().any(|one| one.quantity == quantity) {
            continue;
        }
        let expression = expression(quantity, &metric, selector);
        let points = points(ask(server, &expression, span, step).await?, span.0);
        if !points.is_empty() {
            all.push(Series {
                quantity,
                metric,
                points,
            });
        }
    }
    Ok(all)
}

/// What an expression comes to between two moments, in microseconds since 1970.
pub(super) async fn ask(
    server: &Server,
    expression: &str,
    (from, to): (Micros, Micros),
    step: f64,
) -> Result<Vec<Matrix>, Error> {
    let path = format!(
        "/api/v1/query_range?query={}&start={}&end={}&step={step}",
        encode(expression),
        from as f64 / 1e6,
        to as f64 / 1e6,
    );
    read(&server.get_ok(&path).await?)
}

fn read(answer: &[u8]) -> Result<Vec<Matrix>, Error> {
    let answer: Answer = serde_json::from_slice(answer)?;
    Ok(answer.data.result)
}

/// The points of an answer, on the clock that was 0 at `zero`.
pub(super) fn points(answer: Vec<Matrix>, zero: Micros) -> Vec<(Micros, f64)> {
    let values = answer.into_iter().flat_map(|one| one.values);
    let points = values.filter_map(|(seconds, value)| {
        // Seconds since 1970 are positive.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let time = (seconds * 1e6).round() as Micros;
        let value: f64 = value.parse().ok()?;
        value
            .is_finite()
            .then(|| (time.saturating_sub(zero), value))
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, extract::Query, routing::get};
    use serde_json::json;
    use std::sync::{Arc, Mutex};
    use tokio::net::TcpListener;

    #[test]
    fn an_answers_points_are_on_the_runs_clock() {
        let answer = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{},"values":[[100,"1.5"],[102.5,"NaN"],[105,"3"]]}]}}"#;
        let points = points(read(answer).unwrap(), 100_000_000);
        assert_eq!(points, [(0, 1.5), (5_000_000, 3.0)]);
    }

    /// A Prometheus that knows one gauge under its newer name, and remembers what it was asked.
    async fn prometheus() -> (String, Arc<Mutex<Vec<BTreeMap<String, String>>>>) {
        let asked = Arc::new(Mutex::new(vec![]));
        let remembered = asked.clone();
        let answer = move |Query(query): Query<BTreeMap<String, String>>| {
            let known = query["query"] == "sum(llm_num_requests_running{pod=\"a\"})";
            remembered.lock().unwrap().push(query);
            let values = if known {
                json!([[100, "2"], [101, "4"]])
            } else {
                json!([])
            };
            let result = json!([{"metric": {}, "values": values}]);
            std::future::ready(Json(
                json!({"status": "success", "data": {"result": result}}),
            ))
        };
        let app = Router::new().route("/api/v1/query_range", get(answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, asked)
    }

    #[tokio::test]
    async fn every_quantity_is_asked_for_between_two_moments_and_what_is_known_comes_back() {
        let (url, asked) = prometheus().await;
        let server = Server::at(&url).unwrap();
        let span = (100_000_000, 160_000_000);
        let dialect = MetricsDialect::Candlepower;
        let series = range(&server, dialect, "pod=\"a\"", span, 2.0)
            .await
            .unwrap();
        let found: Vec<_> = series
            .iter()
            .map(|one| (one.quantity, &*one.points))
            .collect();
        let points = [(0, 2.0), (1_000_000, 4.0)];
        assert_eq!(found, [(Quantity::Running, points.as_slice())]);
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), dialect::metrics_of(dialect).count());
        let times = ["start", "end", "step"].map(|key| asked[0][key].as_str());
        assert_eq!(times, ["100", "160", "2"]);
    }

    #[test]
    fn something_else_than_prometheus_is_named() {
        assert!(
            read(b"<html>")
                .err()
                .unwrap()
                .to_string()
                .contains("query API")
        );
    }

    #[test]
    fn several_prometheuses_have_parts_of_one_whole() {
        let part = |quantity, value| Series {
            quantity,
            metric: String::new(),
            points: vec![(0, value), (5, value)],
        };
        let merged = merge([
            vec![
                part(Quantity::Running, 2.0),
                part(Quantity::KvCacheUsage, 0.2),
            ],
            vec![
                part(Quantity::Running, 3.0),
                part(Quantity::KvCacheUsage, 0.7),
            ],
        ]);
        let values: Vec<_> = merged
            .iter()
            .map(|one| (one.quantity, one.points[1].1))
            .collect();
        assert_eq!(
            values,
            [(Quantity::Running, 5.0), (Quantity::KvCacheUsage, 0.7)]
        );
    }

    #[test]
    fn pods_are_summed_and_shares_are_not() {
        let sum = expression(Quantity::Running, "llm_num_requests_running", "pod=\"a\"");
        assert_eq!(sum, "sum(llm_num_requests_running{pod=\"a\"})");
        assert!(expression(Quantity::KvCacheUsage, "kv", "").starts_with("max("));
        let prompts = expression(Quantity::PromptTokens, "a + b", "x=\"y\"");
        assert_eq!(prompts, "sum(a{x=\"y\"}) + sum(b{x=\"y\"})");
    }
}
