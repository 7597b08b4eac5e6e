//! Jaeger's query API v3: OTLP as JSON, all traces of an answer merged into one list of chunks.
use super::{
    http::encode,
    trace::{Origin, Span, Trace},
};
use candlepower_api::names::spans;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not the API's JSON.
    #[error("Jaeger's answer is not that of its query API v3 ({0}); is port 16686 Jaeger v2's?")]
    Json(#[from] serde_json::Error),
    /// A time is not a number.
    #[error("span {span} has the time {time:?}, which is not a number of nanoseconds")]
    Time {
        /// The span's id.
        span: String,
        /// What stands there.
        time: String,
    },
}

#[derive(Deserialize)]
struct Answer {
    result: Chunks,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunks {
    #[serde(default)]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    resource: Attributes,
    #[serde(default)]
    scope_spans: Vec<Scope>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    string_value: Option<String>,
}

fn text(attributes: &[Attribute], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.string_value.clone()
}

#[derive(Deserialize)]
struct Scope {
    #[serde(default)]
    spans: Vec<RawSpan>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSpan {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    name: String,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

/// The traces in an answer, by id.
pub fn parse(answer: &[u8]) -> Result<Vec<Trace>, Error> {
    // Jaeger streams one object per chunk where an answer is large.
    let answers = serde_json::Deserializer::from_slice(answer).into_iter::<Answer>();
    let mut traces = BTreeMap::new();
    for answer in answers {
        for resource in answer?.result.resource_spans {
            add(&mut traces, resource)?;
        }
    }
    Ok(traces.into_values().collect())
}

fn add(traces: &mut BTreeMap<String, Trace>, resource: ResourceSpans) -> Result<(), Error> {
    let attributes = &resource.resource.attributes;
    let namespace = text(attributes, spans::K8S_NAMESPACE);
    let origin = text(attributes, spans::LLM_DEPLOYMENT).map(|deployment| Origin {
        namespace,
        deployment,
    });
    for raw in resource.scope_spans.into_iter().flat_map(|s| s.spans) {
        let start = time(&raw.span_id, &raw.start_time_unix_nano)?;
        let end = time(&raw.span_id, &raw.end_time_unix_nano)?;
        let trace = traces.entry(raw.trace_id.clone()).or_default();
        trace.id = raw.trace_id;
        trace.origins.extend(origin.clone());
        trace
            .models
            .extend(text(&raw.attributes, spans::REQUEST_MODEL));
        trace.spans.push(Span {
            id: raw.span_id,
            parent: (!raw.parent_span_id.is_empty()).then_some(raw.parent_span_id),
            name: raw.name,
            start,
            end,
        });
    }
    Ok(())
}

/// One list of several Jaegers' traces: what two of them know of one trace is put together.
pub fn merge(lists: impl IntoIterator<Item = Vec<Trace>>) -> Vec<Trace> {
    let mut merged: BTreeMap<String, Trace> = BTreeMap::new();
    for trace in lists.into_iter().flatten() {
        let whole = merged.entry(trace.id.clone()).or_default();
        whole.id = trace.id;
        whole.origins.extend(trace.origins);
        whole.models.extend(trace.models);
        for span in trace.spans {
            if whole.spans.iter().all(|known| known.id != span.id) {
                whole.spans.push(span);
            }
        }
    }
    merged.into_values().collect()
}

fn time(span: &str, time: &str) -> Result<u64, Error> {
    time.parse().map_err(|_| Error::Time {
        span: span.to_owned(),
        time: time.to_owned(),
    })
}

/// Path and query of a search for `service`'s traces between two RFC 3339 times.
pub fn search_path(service: &str, from: &str, to: &str, limit: u32) -> String {
    format!(
        "/api/v3/traces?query.service_name={}&query.start_time_min={from}\
         &query.start_time_max={to}&query.num_traces={limit}",
        encode(service)
    )
}

/// The same of the loads of its models alone.
pub fn loads_path(service: &str, from: &str, to: &str, limit: u32) -> String {
    let path = search_path(service, from, to, limit);
    format!("{path}&query.operation_name={}", spans::LOAD_MODEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::operations::rank;

    const RECORDED: &[u8] = include_bytes!("../../tests/data/jaeger-v3.json");

    #[test]
    fn a_search_keeps_a_services_name_whole() {
        let path = search_path("chat & co/9", "a", "b", 7);
        assert!(path.contains("service_name=chat%20%26%20co%2F9&"), "{path}");
        assert!(path.ends_with("&query.num_traces=7"), "{path}");
    }

    #[test]
    fn a_recorded_answer_is_split_into_its_traces() {
        let traces = parse(RECORDED).unwrap();
        let sizes: Vec<_> = traces.iter().map(|t| (&t.id[..6], t.spans.len())).collect();
        assert_eq!(sizes, [("85e090", 3), ("c80ab2", 7)]);
        let root = traces[0].spans.iter().find(|span| span.parent.is_none());
        assert_eq!(root.unwrap().name, "load_model");
    }

    #[test]
    fn a_recorded_request_spent_its_time_in_decode_and_prefill() {
        let traces = parse(RECORDED).unwrap();
        let ranking = rank(&traces[1..]);
        let slowest: Vec<_> = ranking.operations[..2].iter().map(|o| &*o.name).collect();
        assert_eq!(slowest, ["decode", "prefill"]);
        let covered: f64 = ranking.operations[..2].iter().map(|o| o.share).sum();
        assert!(covered > 0.99, "{covered}");
    }

    #[test]
    fn chunks_of_one_trace_are_put_together() {
        let twice = [RECORDED, b"\n", RECORDED].concat();
        assert_eq!(parse(&twice).unwrap()[1].spans.len(), 14);
    }

    #[test]
    fn two_jaegers_that_know_one_trace_know_it_once() {
        let once = parse(RECORDED).unwrap();
        assert_eq!(merge([once.clone(), once.clone()]), once);
    }

    #[test]
    fn a_trace_says_whose_it_is() {
        let traces = parse(RECORDED).unwrap();
        assert!(traces[1].belongs_to("demo", "any", "smollm2"), "{traces:?}");
        let named: serde_json::Value = serde_json::json!({"result": {"resourceSpans": [{
            "resource": {"attributes": [
                {"key": spans::LLM_DEPLOYMENT, "value": {"stringValue": "tiny"}},
                {"key": spans::K8S_NAMESPACE, "value": {"stringValue": "team"}},
                {"key": "replicas", "value": {"intValue": "1"}}]},
            "scopeSpans": [{"spans": [{"traceId": "t", "spanId": "s", "name": "request",
                "startTimeUnixNano": "1", "endTimeUnixNano": "2"}]}]}]}});
        let traces = parse(named.to_string().as_bytes()).unwrap();
        assert!(traces[0].belongs_to("team", "tiny", "none"));
        assert!(!traces[0].belongs_to("demo", "tiny", "none"));
    }

    #[test]
    fn a_models_load_is_no_request() {
        let requests: Vec<_> = parse(RECORDED)
            .unwrap()
            .iter()
            .map(Trace::is_request)
            .collect();
        assert_eq!(requests, [false, true]);
    }

    #[test]
    fn nothing_found_is_no_trace() {
        assert_eq!(parse(br#"{"result":{"resourceSpans":[]}}"#).unwrap(), []);
    }

    #[test]
    fn something_else_than_jaeger_is_named() {
        let error = parse(b"<html>").unwrap_err().to_string();
        assert!(error.contains("query API v3"), "{error}");
    }
}
