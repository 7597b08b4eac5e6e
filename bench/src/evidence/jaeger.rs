//! Jaeger's query API v3: OTLP as JSON, all traces of an answer merged into one list of chunks.
use super::trace::{Span, Trace};
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
    resource_spans: Vec<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(default)]
    scope_spans: Vec<Scope>,
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
}

/// The traces in an answer, by id.
pub fn parse(answer: &[u8]) -> Result<Vec<Trace>, Error> {
    // Jaeger streams one object per chunk where an answer is large.
    let answers = serde_json::Deserializer::from_slice(answer).into_iter::<Answer>();
    let mut traces: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for answer in answers {
        let resources = answer?.result.resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        for raw in scopes.flat_map(|scope| scope.spans) {
            let start = time(&raw.span_id, &raw.start_time_unix_nano)?;
            let end = time(&raw.span_id, &raw.end_time_unix_nano)?;
            traces.entry(raw.trace_id).or_default().push(Span {
                id: raw.span_id,
                parent: (!raw.parent_span_id.is_empty()).then_some(raw.parent_span_id),
                name: raw.name,
                start,
                end,
            });
        }
    }
    let traces = traces.into_iter();
    Ok(traces.map(|(id, spans)| Trace { id, spans }).collect())
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
        "/api/v3/traces?query.service_name={service}&query.start_time_min={from}\
         &query.start_time_max={to}&query.num_traces={limit}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::operations::rank;

    const RECORDED: &[u8] = include_bytes!("../../tests/data/jaeger-v3.json");

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
    fn nothing_found_is_no_trace() {
        assert_eq!(parse(br#"{"result":{"resourceSpans":[]}}"#).unwrap(), []);
    }

    #[test]
    fn something_else_than_jaeger_is_named() {
        let error = parse(b"<html>").unwrap_err().to_string();
        assert!(error.contains("query API v3"), "{error}");
    }
}
