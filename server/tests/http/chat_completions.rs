use crate::setup::{MODEL, TestServer, answering};
use serde_json::{Value, json};

fn request(fields: &Value) -> Value {
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

async fn ask(server: &TestServer, fields: &Value) -> crate::setup::Answer {
    server.post("/v1/chat/completions", &request(fields)).await
}

#[tokio::test]
async fn an_answer_has_openais_shape() {
    let server = TestServer::new(answering("hello"));
    let answer = ask(&server, &json!({})).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], MODEL);
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].as_u64().unwrap() > 1_600_000_000);
    let choice = &body["choices"][0];
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": "hello", "refusal": null})
    );
    assert_eq!(choice["finish_reason"], "stop");
    // The template makes "user: Hi\n" of it, a token a byte; the end token counts too.
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15})
    );
}

#[tokio::test]
async fn max_tokens_cuts_the_answer() {
    let server = TestServer::new(answering("hello"));
    for name in ["max_tokens", "max_completion_tokens"] {
        let body = ask(&server, &json!({name: 2})).await.json();
        assert_eq!(body["choices"][0]["message"]["content"], "he");
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        assert_eq!(body["usage"]["completion_tokens"], 2);
    }
}

#[tokio::test]
async fn a_stream_has_role_text_and_reason_in_this_order() {
    let server = TestServer::new(answering("héllo"));
    let answer = ask(&server, &json!({"stream": true})).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let chunks = answer.chunks();
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "héllo");
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"][0]["delta"], json!({}));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    for chunk in &chunks {
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk.get("usage"), None);
    }
    for chunk in &chunks[..chunks.len() - 1] {
        assert_eq!(chunk["choices"][0]["finish_reason"], Value::Null);
    }
}

#[tokio::test]
async fn usage_is_one_more_chunk_without_choices_where_asked_for() {
    let server = TestServer::new(answering("hello"));
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = ask(&server, &fields).await.chunks();
    let usage = chunks.last().unwrap();
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["total_tokens"], 15);
    assert_eq!(
        chunks[chunks.len() - 2]["choices"][0]["finish_reason"],
        "stop"
    );
}

#[tokio::test]
async fn a_stop_string_over_several_tokens_ends_the_answer_and_is_not_in_it() {
    let server = TestServer::new(answering("one STOP two"));
    for stop in [json!("STOP"), json!(["zzz", "STOP"])] {
        let body = ask(&server, &json!({"stop": stop})).await.json();
        assert_eq!(body["choices"][0]["message"]["content"], "one ");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        assert_eq!(body["usage"]["completion_tokens"], 8);
    }
    server.idle().await;
}

#[tokio::test]
async fn the_beginning_of_a_stop_string_at_the_end_is_text() {
    let server = TestServer::new(answering("one ST"));
    let body = ask(&server, &json!({"stop": "STOP"})).await.json();
    assert_eq!(body["choices"][0]["message"]["content"], "one ST");
}

#[tokio::test]
async fn what_clients_send_by_habit_is_accepted() {
    let server = TestServer::new(answering("a"));
    let fields = json!({
        "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": false, "user": "u",
        "response_format": {"type": "text"}, "tools": null, "temperature": 0, "top_p": 1, "seed": 7,
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "a", "refusal": null, "tool_calls": null},
        ],
    });
    let answer = ask(&server, &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let prompt = "system: s\nuser: Hi\nassistant: a\n";
    assert_eq!(answer.json()["usage"]["prompt_tokens"], prompt.len());
}
