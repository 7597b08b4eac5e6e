//! Several answers, log probabilities, penalties and bias, through all routes.
use crate::setup::{Answer, MODEL, TestServer, answering};
use candlepower_server::engine::mock::MockEngine;
use serde_json::{Value, json};
use std::time::Duration;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

fn with(mut body: Value, fields: &Value) -> Value {
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    body
}

async fn chat(server: &TestServer, fields: &Value) -> Answer {
    let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]});
    server.post(CHAT, &with(body, fields)).await
}

async fn complete(server: &TestServer, fields: &Value) -> Answer {
    let body = json!({"model": MODEL, "prompt": "a"});
    server.post(COMPLETIONS, &with(body, fields)).await
}

#[tokio::test]
async fn several_choices_come_with_their_index_and_one_usage() {
    let server = TestServer::new(answering("hello"));
    let body = chat(&server, &json!({"n": 3})).await.json();
    let choices = body["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        assert_eq!(choice["message"]["content"], "hello");
    }
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 9, "completion_tokens": 18, "total_tokens": 27})
    );
    let body = complete(&server, &json!({"n": 2})).await.json();
    assert_eq!(body["choices"][1]["index"], 1);
    assert_eq!(body["choices"][1]["text"], "hello");
    server.idle().await;
}

#[tokio::test]
async fn streamed_choices_are_told_apart_by_their_index() {
    let server = TestServer::new(answering("hello").with_step_time(Duration::from_millis(1)));
    let fields = json!({"n": 2, "stream": true, "stream_options": {"include_usage": true}});
    let chunks = chat(&server, &fields).await.chunks();
    for index in 0..2 {
        let mine: Vec<_> = chunks
            .iter()
            .filter(|chunk| chunk["choices"][0]["index"] == index)
            .map(|chunk| &chunk["choices"][0])
            .collect();
        assert_eq!(mine[0]["delta"]["role"], "assistant");
        let text: String = mine
            .iter()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(text, "hello");
        let ends: Vec<_> = mine
            .iter()
            .filter_map(|choice| choice["finish_reason"].as_str())
            .collect();
        assert_eq!(ends, ["stop"]);
    }
    // Side by side, not one after the other.
    let first_end = chunks
        .iter()
        .position(|chunk| !chunk["choices"][0]["finish_reason"].is_null())
        .unwrap();
    let begun = chunks[..first_end]
        .iter()
        .filter(|chunk| chunk["choices"][0]["delta"]["content"] == "h")
        .count();
    assert_eq!(begun, 2);
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 12);
}

#[tokio::test]
async fn each_choice_takes_a_place_and_all_are_given_back_when_one_finds_none() {
    let slow = || MockEngine::new().with_step_time(Duration::from_millis(1));
    let server = TestServer::with_queue(slow(), 2, 1);
    assert_eq!(chat(&server, &json!({"n": 3})).await.status, 200);
    let running = server.router();
    let body = json!({"model": MODEL, "prompt": "a", "n": 2, "max_tokens": 1000});
    let long = TestServer::with_queue(
        MockEngine::new()
            .answering(vec![97; 2000])
            .with_step_time(Duration::from_millis(2)),
        2,
        1,
    );
    drop(running);
    let (held, refused) = tokio::join!(long.post(COMPLETIONS, &body), async {
        long.busy().await;
        chat(&long, &json!({"n": 2, "max_tokens": 1})).await
    });
    assert_eq!(held.status, 200);
    assert_eq!(refused.status, 429, "{}", refused.text);
    long.idle().await;
    assert_eq!(
        chat(&long, &json!({"n": 3, "max_tokens": 1})).await.status,
        200
    );
}

#[tokio::test]
async fn more_choices_than_places_can_never_be_served() {
    let server = TestServer::with_queue(MockEngine::new(), 2, 1);
    let answer = chat(&server, &json!({"n": 4})).await;
    let (status, _, param, _) = answer.error();
    assert_eq!((status, param.as_deref()), (400, Some("n")));
    assert!(answer.message().contains("hold 3"), "{}", answer.text);
}

#[tokio::test]
async fn chat_log_probabilities_have_openais_shape() {
    let server = TestServer::new(answering("é!"));
    let fields = json!({"logprobs": true, "top_logprobs": 2});
    let body = chat(&server, &fields).await.json();
    let content = body["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    // A token a byte; the first two are halves of a character.
    let bytes: Vec<_> = content.iter().map(|token| &token["bytes"]).collect();
    assert_eq!(bytes, [&json!([0xC3]), &json!([0xA9]), &json!([0x21])]);
    assert_eq!(content[2]["token"], "!");
    assert_eq!(content[2]["logprob"], 0.0);
    let top = content[2]["top_logprobs"].as_array().unwrap();
    assert_eq!(top.len(), 2);
    assert_eq!(top[0]["token"], "!");
    assert_eq!(top[1]["logprob"], -9999.0);
    let body = chat(&server, &json!({"logprobs": true})).await.json();
    assert_eq!(
        body["choices"][0]["logprobs"]["content"][0]["top_logprobs"],
        json!([])
    );
    let body = chat(&server, &json!({})).await.json();
    assert_eq!(body["choices"][0]["logprobs"], Value::Null);
}

#[tokio::test]
async fn streamed_log_probabilities_go_with_their_text() {
    let server = TestServer::new(answering("one STOP two"));
    let fields = json!({"logprobs": true, "stream": true, "stop": "STOP"});
    let chunks = chat(&server, &fields).await.chunks();
    let mut text = String::new();
    let mut tokens = String::new();
    for chunk in &chunks {
        let choice = &chunk["choices"][0];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        for token in choice["logprobs"]["content"]
            .as_array()
            .into_iter()
            .flatten()
        {
            tokens.push_str(token["token"].as_str().unwrap());
        }
        assert_eq!(text, tokens, "what is held back is held back whole");
    }
    assert_eq!(text, "one ");
}

#[tokio::test]
async fn log_probabilities_of_completions_are_lists() {
    let server = TestServer::new(answering("aé"));
    let body = complete(&server, &json!({"logprobs": 1})).await.json();
    let lists = &body["choices"][0]["logprobs"];
    assert_eq!(lists["tokens"], json!(["a", "\u{FFFD}", "\u{FFFD}"]));
    assert_eq!(lists["token_logprobs"], json!([0.0, 0.0, 0.0]));
    assert_eq!(lists["text_offset"], json!([0, 1, 1]));
    assert_eq!(lists["top_logprobs"][0], json!({"a": 0.0}));
    let answer = complete(&server, &json!({"logprobs": 6})).await;
    assert_eq!(answer.error().2.as_deref(), Some("logprobs"));
}

#[tokio::test]
async fn bias_and_penalties_reach_the_engine() {
    // The mock's logits are 10,000 for its answer and 0 for all else: a hundred of them move by
    // no bias, but the mock's silence after its answer does.
    let server = TestServer::new(MockEngine::new().answering(vec![97; 8]));
    let body = json!({"prompt": "x", "max_tokens": 4, "temperature": 0, "top_k": 5, "min_p": 0.1,
        "repetition_penalty": 1.1, "presence_penalty": 1, "frequency_penalty": 1,
        "logit_bias": {"98": -5}});
    let answer = server.post("/generate", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json()["text"], "aaaa");
}
