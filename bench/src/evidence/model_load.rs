//! The trace that a server of ours leaves each time that it loads its model: looked for by its time, because nobody but the
//! server knows its id.
use super::{
    Evidence,
    http::Server,
    jaeger,
    trace::{Origin, Trace},
};
use crate::record::Run;
use candlepower_api::{deployment::LLMDeploymentSpec, names::labels};
use hyper::StatusCode;
use k8s_openapi::jiff::Timestamp;

/// What reports call it where it is missing.
pub const MODEL_LOAD: &str = "the trace of the model's last start";
/// How far back a start is looked for, in hours: first where there are few others, then where a Jaeger that forgets may
/// still have it.
const LOOK_BACK: [u64; 2] = [1, 24];
const HOUR: u64 = 3_600_000_000;
/// Most starts of one answer: a Jaeger may be that of many deployments.
const MOST: u32 = 200;
/// The environment variable by which a deployment names its service otherwise.
pub const SERVICE_VARIABLE: &str = "OTEL_SERVICE_NAME";

/// The service whose spans a deployment's are.
pub fn service_of(spec: &LLMDeploymentSpec) -> &str {
    let own = spec.pod.env.iter();
    let mut own = own.filter(|variable| variable.name == SERVICE_VARIABLE);
    own.find_map(|variable| variable.value.as_deref())
        .unwrap_or(labels::SERVER_NAME)
}

/// Adds the newest load of the target before the end of `run`, or why there is none; nothing of a server that is none of
/// ours, which leaves no such trace.
pub(super) async fn add(
    run: &Run,
    urls: &[String],
    origin: Option<&Origin>,
    evidence: &mut Evidence,
) {
    let Some(spec) = &evidence.deployment else {
        return;
    };
    let service = service_of(spec).to_owned();
    match newest(run, urls, &service, origin).await {
        Ok(Some(trace)) => evidence.model_load = Some(trace),
        Ok(None) => {
            let why = format!(
                "Jaeger at {} has none of the last {} hours: one that keeps traces in memory forgets the oldest",
                urls.join(", "),
                LOOK_BACK[1]
            );
            evidence.lacks(MODEL_LOAD, why);
        }
        Err(why) => evidence.lacks(MODEL_LOAD, why),
    }
}

async fn newest(
    run: &Run,
    urls: &[String],
    service: &str,
    origin: Option<&Origin>,
) -> Result<Option<Trace>, String> {
    let last = run.scenarios.iter().map(|one| one.ended).max();
    let over = run.started_at + last.unwrap_or_default();
    for hours in LOOK_BACK {
        let from = run.started_at.saturating_sub(hours * HOUR);
        let path = jaeger::loads_path(service, &rfc3339(from), &rfc3339(over), MOST);
        let mut parts = vec![];
        for url in urls {
            let server = Server::at(url).map_err(|error| error.to_string())?;
            parts.push(ask(&server, &path).await?);
        }
        let found = pick(jaeger::merge(parts), origin)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

async fn ask(server: &Server, path: &str) -> Result<Vec<Trace>, String> {
    let (status, body) = server.get(path).await.map_err(|error| error.to_string())?;
    match status {
        StatusCode::OK => jaeger::parse(&body).map_err(|error| error.to_string()),
        // So it says that it found none.
        StatusCode::NOT_FOUND => Ok(vec![]),
        other => Err(format!("{} answered {other}", server.url())),
    }
}

/// The newest load of the target: of the one that `origin` names, or else of the only one that there is.
fn pick(traces: Vec<Trace>, origin: Option<&Origin>) -> Result<Option<Trace>, String> {
    let mut loads: Vec<_> = traces
        .into_iter()
        .filter(|trace| trace.root().is_some() && !trace.is_request())
        .collect();
    match origin {
        Some(origin) => loads.retain(|load| is_of(load, origin)),
        None if loads.windows(2).any(|two| two[0].origins != two[1].origins) => {
            return Err(
                "several deployments have loaded their models, and which of them is the target is not known"
                    .to_owned(),
            );
        }
        None => {}
    }
    Ok(loads
        .into_iter()
        .max_by_key(|load| load.root().map(|root| root.start)))
}

/// A load names no model, so that only attributes tell whose it is; a server without any is one that nobody else's
/// traces are beside.
fn is_of(load: &Trace, origin: &Origin) -> bool {
    let namespace = origin.namespace.as_deref().unwrap_or_default();
    load.origins.is_empty() || load.belongs_to(namespace, &origin.deployment, "")
}

fn rfc3339(micros: u64) -> String {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::Plant;
    use axum::{
        Json, Router,
        extract::{Query, State},
        routing::get,
    };
    use candlepower_api::names::spans;
    use serde_json::{Value, json};
    use std::{
        collections::HashMap,
        net::Ipv4Addr,
        sync::{Arc, Mutex},
    };
    use tokio::net::TcpListener;

    fn load(id: &str, deployment: &str, start: u64) -> Value {
        let span = |name: &str, parent: &str, from: u64, to: u64| {
            json!({
                "traceId": id, "spanId": name, "parentSpanId": parent, "name": name,
                "startTimeUnixNano": (start + from).to_string(),
                "endTimeUnixNano": (start + to).to_string(),
            })
        };
        json!({
            "resource": {"attributes": [
                {"key": spans::LLM_DEPLOYMENT, "value": {"stringValue": deployment}},
                {"key": spans::K8S_NAMESPACE, "value": {"stringValue": "team"}},
            ]},
            "scopeSpans": [{"spans": [
                span(spans::LOAD_MODEL, "", 0, 30),
                span(spans::READ_WEIGHTS, spans::LOAD_MODEL, 0, 20),
            ]}],
        })
    }

    type Asked = Arc<Mutex<Vec<HashMap<String, String>>>>;

    /// A Jaeger with these loads, and what it is asked.
    async fn jaeger(loads: Vec<Value>) -> (String, Asked) {
        let asked = Asked::default();
        let answer = json!({"result": {"resourceSpans": loads}});
        let routes =
            Router::new()
                .route(
                    "/api/v3/traces",
                    get(
                        |State(asked): State<Asked>,
                         Query(query): Query<HashMap<String, String>>| async move {
                            asked.lock().unwrap().push(query);
                            Json(answer)
                        },
                    ),
                )
                .with_state(asked.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (format!("http://{address}"), asked)
    }

    fn target(name: &str) -> Origin {
        Origin {
            namespace: Some("team".to_owned()),
            deployment: name.to_owned(),
        }
    }

    async fn added(url: String, origin: Option<Origin>) -> Evidence {
        let (run, mut evidence) = Plant::run(&[Plant::default()]);
        add(&run, &[url], origin.as_ref(), &mut evidence).await;
        evidence
    }

    #[tokio::test]
    async fn the_newest_load_of_the_target_is_taken_and_none_of_another_one() {
        let loads = vec![
            load("old", "tiny", 1_000),
            load("new", "tiny", 2_000),
            load("other", "large", 3_000),
        ];
        let (url, asked) = jaeger(loads).await;
        let evidence = added(url, Some(target("tiny"))).await;
        let found = evidence.model_load.unwrap();
        assert_eq!((found.id.as_str(), found.duration()), ("new", 30));
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let said = |key: &str| asked[0][&format!("query.{key}")].clone();
        assert_eq!(said("operation_name"), "load_model");
        assert_eq!(said("service_name"), "candlepower-server");
        // The run of 60 s, and the hour before.
        assert_eq!(said("start_time_min"), "2025-11-24T15:00:00Z");
        assert_eq!(said("start_time_max"), "2025-11-24T16:01:00Z");
    }

    #[tokio::test]
    async fn a_load_that_is_not_there_is_missing_with_a_reason() {
        let (url, asked) = jaeger(vec![load("other", "large", 1)]).await;
        let evidence = added(url, Some(target("tiny"))).await;
        assert_eq!(evidence.model_load, None);
        assert_eq!(asked.lock().unwrap().len(), 2, "a day, too");
        let missing = evidence.missing.last().unwrap();
        assert!(missing.what == MODEL_LOAD && missing.why.contains("24 hours"));
        let silent = added("http://127.0.0.1:9".to_owned(), None).await;
        assert_eq!(silent.missing.last().unwrap().what, MODEL_LOAD);
    }

    #[tokio::test]
    async fn without_a_name_only_one_deployments_loads_are_taken_for_the_targets() {
        let (url, _) = jaeger(vec![load("a", "tiny", 1), load("b", "tiny", 2)]).await;
        assert_eq!(added(url, None).await.model_load.unwrap().id, "b");
        let (url, _) = jaeger(vec![load("a", "tiny", 1), load("b", "large", 2)]).await;
        let evidence = added(url, None).await;
        assert!(
            evidence
                .missing
                .last()
                .unwrap()
                .why
                .contains("several deployments")
        );
    }
}
