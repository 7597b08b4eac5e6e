//! OTLP as JSON: the form in which a collector takes spans over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
use super::span::{Recorded, Value as Said};
use axum::http::StatusCode;
use candlepower_api::names::{labels::OPERATOR_NAME, spans as names};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Kinds of spans.
const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;
/// The status of a span that failed.
const ERROR: u8 = 2;

/// Whose spans these are: the operator's, in this pod.
pub(super) fn resource(pod: &str) -> Value {
    let attributes = [
        (names::SERVICE_NAME, OPERATOR_NAME),
        (names::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
        (names::K8S_POD, pod),
    ];
    let attributes: Vec<_> = attributes
        .into_iter()
        .map(|(key, text)| attribute(key, &Said::Text(text.to_owned())))
        .collect();
    json!({ "attributes": attributes })
}

/// The request that brings `spans` to a collector.
pub(super) fn request(resource: &Value, spans: &[Recorded]) -> Value {
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{"scope": {"name": OPERATOR_NAME}, "spans": spans}],
    }]})
}

fn span(span: &Recorded) -> Value {
    let kind = if span.name == names::API_REQUEST {
        CLIENT
    } else {
        INTERNAL
    };
    let attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|(key, value)| attribute(key, value))
        .collect();
    let mut object = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.span_id),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent_id {
        object["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        object["status"] = json!({"code": ERROR, "message": error});
    }
    object
}

fn attribute(key: &str, value: &Said) -> Value {
    let value = match value {
        Said::Text(text) => json!({"stringValue": text}),
        // 64 bits are text in JSON of Protobuf.
        Said::Integer(number) => json!({"intValue": number.to_string()}),
        Said::Flag(flag) => json!({"boolValue": flag}),
    };
    json!({"key": key, "value": value})
}

fn nanoseconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

/// How many spans of a request the collector refused, or why it took none.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> Result<u64, String> {
    if !status.is_success() {
        return Err(format!("the collector answers {status}"));
    }
    // Nothing, or nothing of this kind, says that all were taken.
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let refused = &answer["partialSuccess"]["rejectedSpans"];
    let text = refused.as_str().and_then(|number| number.parse().ok());
    Ok(text.or_else(|| refused.as_u64()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn spans_are_written_as_the_protocol_says() {
        let at = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let root = Recorded {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0x00f0_67aa_0ba9_02b7,
            parent_id: None,
            name: names::RECONCILE,
            start: at(1_700_000_000_000_000_001),
            end: at(1_700_000_000_250_000_001),
            attributes: vec![
                ("k8s.namespace.name", Said::Text("team".into())),
                ("candlepower.object.generation", Said::Integer(3)),
            ],
            error: None,
        };
        let request_of_it = Recorded {
            span_id: 2,
            parent_id: Some(root.span_id),
            name: names::API_REQUEST,
            attributes: vec![("candlepower.flag", Said::Flag(true))],
            error: Some("conflict".into()),
            ..root.clone()
        };
        let written = request(&resource("pod-1"), &[root, request_of_it]);
        let trace_id = "0af7651916cd43dd8448eb211c80319c";
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "candlepower-operator"}},
                {"key": "service.version", "value": {"stringValue": env!("CARGO_PKG_VERSION")}},
                {"key": "k8s.pod.name", "value": {"stringValue": "pod-1"}},
            ]},
            "scopeSpans": [{"scope": {"name": "candlepower-operator"}, "spans": [
                {
                    "traceId": trace_id,
                    "spanId": "00f067aa0ba902b7",
                    "name": "reconcile",
                    "kind": 1,
                    "startTimeUnixNano": "1700000000000000001",
                    "endTimeUnixNano": "1700000000250000001",
                    "attributes": [
                        {"key": "k8s.namespace.name", "value": {"stringValue": "team"}},
                        {"key": "candlepower.object.generation", "value": {"intValue": "3"}},
                    ],
                },
                {
                    "traceId": trace_id,
                    "spanId": "0000000000000002",
                    "parentSpanId": "00f067aa0ba902b7",
                    "name": "api_request",
                    "kind": 3,
                    "startTimeUnixNano": "1700000000000000001",
                    "endTimeUnixNano": "1700000000250000001",
                    "attributes": [{"key": "candlepower.flag", "value": {"boolValue": true}}],
                    "status": {"code": 2, "message": "conflict"},
                },
            ]}],
        }]});
        assert_eq!(written, expected);
    }

    #[test]
    fn a_collector_may_take_all_some_or_none() {
        let answer = |status, body: &str| refused(status, body.as_bytes());
        assert_eq!(answer(StatusCode::OK, "{}"), Ok(0));
        assert_eq!(answer(StatusCode::OK, ""), Ok(0));
        for rejected in ["\"3\"", "3"] {
            let body = format!("{{\"partialSuccess\": {{\"rejectedSpans\": {rejected}}}}}");
            assert_eq!(answer(StatusCode::OK, &body), Ok(3));
        }
        let busy = answer(StatusCode::SERVICE_UNAVAILABLE, "").unwrap_err();
        assert!(busy.contains("503"), "{busy}");
    }
}
