//! Answers that have to be JSON.
use crate::setup::{MODEL, TestServer, answering};
use serde_json::{Value, json};

/// What a model that wants to say `wanted` says where `format` is asked for.
async fn answer(wanted: &str, format: Value) -> Value {
    let server = TestServer::new(answering(wanted));
    let body = json!({
        "model": MODEL, "temperature": 0, "max_tokens": 40, "response_format": format,
        "messages": [{"role": "user", "content": "Hi"}],
    });
    let answer = server.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["choices"][0].clone()
}

fn schema(schema: &Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "test", "strict": true, "schema": schema}})
}

#[tokio::test]
async fn an_answer_ends_where_its_json_ends() {
    for format in [
        json!({"type": "json_object"}),
        schema(&json!({"type": "object", "properties": {"a": {"type": "integer"}}})),
    ] {
        let choice = answer("{\"a\": 1} and more", format).await;
        assert_eq!(choice["message"]["content"], "{\"a\": 1}");
        assert_eq!(choice["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn what_the_schema_does_not_allow_cannot_be_said() {
    let format = schema(&json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": false,
    }));
    let choice = answer("{\"b\":2}", format).await;
    assert_eq!(choice["message"]["content"], "{\"a\":2}");
}

#[tokio::test]
async fn any_text_is_the_format_text() {
    let choice = answer("not json", json!({"type": "text"})).await;
    assert_eq!(choice["message"]["content"], "not json");
}

#[tokio::test]
async fn a_text_that_goes_on_may_have_a_format_too() {
    let server = TestServer::new(answering("{\"a\": 1} and more"));
    let body = json!({
        "model": MODEL, "temperature": 0, "max_tokens": 40, "prompt": "JSON:",
        "response_format": {"type": "json_object"},
    });
    let answer = server.post("/v1/completions", &body).await.json();
    assert_eq!(answer["choices"][0]["text"], "{\"a\": 1}");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}
