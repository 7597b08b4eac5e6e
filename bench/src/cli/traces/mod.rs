//! `candlepower traces`: the slowest operations of a deployment's requests.
mod render;
mod search;

use super::{Error, connection::Connection, text as words};
use crate::{
    analysis::{
        operations::{Ranking, rank},
        span_tree::{Node, tree},
    },
    evidence::{
        cluster::{self, PodPort},
        http::Server,
        jaeger,
        model_load::service_of,
        places::{self, Place as Where},
        trace::Trace,
    },
};
use candlepower_api::{deployment::LLMDeployment, value::Duration};
use hyper::{StatusCode, body::Bytes};
use kube::{Client, ResourceExt};
pub(super) use search::Window;
use search::search;
use serde::Serialize;
use std::{cell::RefCell, collections::BTreeSet};

/// How many of the slowest traces are drawn, unless another number is asked for.
pub(super) const DRAWN: usize = 3;
/// A shared Jaeger is asked for at least this many traces at a time: most are not the deployment's.
const SMALLEST_PAGE: u32 = 500;

#[derive(Debug, clap::Args)]
pub(super) struct Traces {
    /// The LLMDeployment.
    name: String,
    /// How far to look back, such as 30m or 2h.
    #[arg(long, default_value = "1h")]
    lookback: Duration,
    /// Most requests of the deployment to look at, by Jaeger.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How many of the slowest traces to draw.
    #[arg(long, default_value_t = DRAWN)]
    slowest: usize,
    /// A Jaeger that this machine reaches, such as http://localhost:16686; found where absent.
    #[arg(long, value_name = "URL")]
    jaeger_url: Option<String>,
    /// Text for people or JSON for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: words::Format,
}

/// Whose traces they are.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    /// An LLMDeployment's.
    Deployment {
        /// Its namespace.
        namespace: String,
        /// Its name.
        deployment: String,
    },
    /// Those of a service, whoever runs it.
    Service {
        /// Its name.
        service: String,
    },
}

/// What traces say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    #[serde(flatten)]
    place: Place,
    lookback: Duration,
    #[serde(flatten)]
    ranking: Ranking,
    /// The slowest traces, the slowest first.
    slowest: Vec<Node>,
}

impl Report {
    pub(super) fn of(place: Place, lookback: Duration, traces: Vec<Trace>, drawn: usize) -> Self {
        Self {
            place,
            lookback,
            ranking: rank(&traces),
            slowest: slowest(traces, drawn).iter().filter_map(tree).collect(),
        }
    }
}

pub(super) use render::report as text;

impl Traces {
    pub(super) async fn run(&self, connection: &Connection) -> Result<(), Error> {
        let deployment = connection.find(&self.name).await?;
        let (traces, silent) = self.collect(&connection.client, &deployment).await?;
        for why in &silent {
            eprintln!("warning: {why}");
        }
        if traces.is_empty() {
            return Err(self.nothing());
        }
        let place = Place::Deployment {
            namespace: deployment.namespace().unwrap_or_default(),
            deployment: self.name.clone(),
        };
        let report = Report::of(place, self.lookback, traces, self.slowest);
        match self.output {
            words::Format::Json => words::print_json(&report)?,
            words::Format::Text => print!("{}", render::report(&report)),
        }
        Ok(())
    }

    fn nothing(&self) -> Error {
        Error::Other(format!(
            "no request of {} was traced in the last {}; look further back with --lookback, or \
             raise observability.tracing.samplingRatio",
            self.name, self.lookback
        ))
    }

    /// The deployment's requests, and which pods did not answer.
    async fn collect(
        &self,
        client: &Client,
        deployment: &LLMDeployment,
    ) -> Result<(Vec<Trace>, Vec<String>), Error> {
        if let Some(url) = &self.jaeger_url {
            let server = Server::at(url)?;
            let ask = async |path: String| read(server.get(&path).await?);
            return self.collect_shared(deployment, ask).await;
        }
        let namespace = deployment.namespace().unwrap_or_default();
        let place = places::jaeger(deployment);
        let found = places::find(client, &place, &namespace, &self.name).await;
        let pods = found.map_err(Error::NoJaeger)?.pods(client).await?;
        // A Jaeger beside the model has nobody else's traces.
        if matches!(place, Where::Pods { .. }) {
            let path = path(deployment, Window::of_last(self.lookback, 0), self.limit);
            let (traces, silent) = ask(client, &pods, &path).await?;
            let requests = traces.into_iter().filter(Trace::is_request).collect();
            return Ok((requests, silent));
        }
        let warnings = RefCell::new(BTreeSet::new());
        let ask = async |path: String| {
            let (traces, silent) = ask(client, &pods, &path).await?;
            warnings.borrow_mut().extend(silent);
            Ok(traces)
        };
        let (traces, mut silent) = self.collect_shared(deployment, ask).await?;
        silent.extend(warnings.into_inner());
        Ok((traces, silent))
    }

    /// The deployment's requests in a Jaeger that others use, too.
    async fn collect_shared(
        &self,
        deployment: &LLMDeployment,
        ask: impl AsyncFn(String) -> Result<Vec<Trace>, Error>,
    ) -> Result<(Vec<Trace>, Vec<String>), Error> {
        let page = self.limit.max(SMALLEST_PAGE);
        let found = search(
            Window::of_last(self.lookback, 0),
            page as usize,
            self.limit as usize,
            |window| ask(path(deployment, window, page)),
            |traces| ours(traces, deployment),
        )
        .await?;
        let warning = found.gave_up.then(|| {
            "Jaeger holds too many traces of others to look at all of them; ask for a shorter \
             --lookback"
                .to_owned()
        });
        Ok((found.traces, warning.into_iter().collect()))
    }
}

/// Path and query that ask for at most `limit` traces of a deployment's service.
fn path(deployment: &LLMDeployment, window: Window, limit: u32) -> String {
    jaeger::search_path(
        service_of(&deployment.spec),
        &window.from.to_string(),
        &window.to.to_string(),
        limit,
    )
}

/// The requests among `traces` that a deployment took part in.
fn ours(traces: Vec<Trace>, deployment: &LLMDeployment) -> Vec<Trace> {
    let namespace = deployment.namespace().unwrap_or_default();
    let name = deployment.name_any();
    let loaded = deployment
        .status
        .as_ref()
        .and_then(|status| status.model.as_ref());
    let model =
        loaded
            .map(|model| model.name.as_str())
            .or(deployment.spec.model.served_name.as_deref());
    let model = model.unwrap_or(&name);
    traces
        .into_iter()
        .filter(|trace| trace.is_request() && trace.belongs_to(&namespace, &name, model))
        .collect()
}

/// Asks all pods; fails only where none answers.
async fn ask(
    client: &Client,
    pods: &[PodPort],
    path: &str,
) -> Result<(Vec<Trace>, Vec<String>), Error> {
    let (mut lists, mut silent, mut last) = (vec![], vec![], None);
    for at in pods {
        let answer = cluster::get(client, at, path).await;
        match answer.map_err(Error::from).and_then(read) {
            Ok(traces) => lists.push(traces),
            Err(error) => {
                silent.push(format!("the Jaeger in pod {} is left out: {error}", at.pod));
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if lists.is_empty() => Err(error),
        _ => Ok((jaeger::merge(lists), silent)),
    }
}

/// Jaeger says that it found nothing by the code 404.
pub(super) fn read((code, body): (StatusCode, Bytes)) -> Result<Vec<Trace>, Error> {
    match code {
        StatusCode::OK => Ok(jaeger::parse(&body)?),
        StatusCode::NOT_FOUND => Ok(vec![]),
        other => Err(Error::Other(format!(
            "Jaeger answered {other}: {}",
            String::from_utf8_lossy(&body).trim()
        ))),
    }
}

/// The slowest `count` of `traces`, the slowest first.
fn slowest(mut traces: Vec<Trace>, count: usize) -> Vec<Trace> {
    traces.sort_by_key(|trace| std::cmp::Reverse(trace.duration()));
    traces.truncate(count);
    traces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::deployment;
    use serde_json::json;

    const RECORDED: &[u8] = include_bytes!("../../../tests/data/jaeger-v3.json");

    #[test]
    fn only_requests_of_the_deployments_model_are_kept() {
        let kept = |status| {
            ours(
                jaeger::parse(RECORDED).unwrap(),
                &deployment("demo", "x", &status),
            )
        };
        let loaded = |name| {
            json!({"model": {"name": name, "architecture": "llama", "precision": "q4_1",
                "device": "cpu", "contextLength": 1, "weightsBytes": 1, "kvCacheBytes": 1}})
        };
        assert_eq!(kept(loaded("smollm2")).len(), 1);
        assert_eq!(kept(loaded("another")).len(), 0);
    }

    #[test]
    fn the_slowest_trace_comes_first() {
        let traces = jaeger::parse(RECORDED).unwrap();
        let all = slowest(traces.clone(), 9);
        assert!(all[0].duration() > all[1].duration());
        assert_eq!(slowest(traces, 1), all[..1]);
    }

    #[test]
    fn nothing_found_is_no_failure_but_a_refusal_is() {
        assert_eq!(read((StatusCode::NOT_FOUND, Bytes::new())).unwrap(), []);
        let error = read((StatusCode::BAD_GATEWAY, Bytes::from_static(b"away"))).unwrap_err();
        assert!(
            error.to_string().contains("502 Bad Gateway: away"),
            "{error}"
        );
    }
}
