use crate::setup::{MODEL, TestServer, answering};
use serde_json::json;

#[tokio::test]
async fn a_text_goes_on() {
    let server = TestServer::new(answering("lo"));
    for prompt in [json!("hel"), json!(["hel"]), json!([104, 101, 108])] {
        let body = json!({"model": MODEL, "prompt": prompt});
        let body = server.post("/v1/completions", &body).await.json();
        assert_eq!(body["object"], "text_completion");
        assert!(body["id"].as_str().unwrap().starts_with("cmpl-"));
        assert_eq!(body["choices"][0]["text"], "lo");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        assert_eq!(
            body["usage"],
            json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6})
        );
    }
}

#[tokio::test]
async fn the_default_length_is_16_tokens() {
    let server = TestServer::new(answering(&"a".repeat(100)));
    let body = json!({"model": MODEL, "prompt": "a"});
    let body = server.post("/v1/completions", &body).await.json();
    assert_eq!(body["usage"]["completion_tokens"], 16);
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn a_stream_ends_with_a_reason_and_usage() {
    let server = TestServer::new(answering("lo"));
    let body = json!({
        "model": MODEL, "prompt": "hel", "stream": true, "stream_options": {"include_usage": true},
    });
    let chunks = server.post("/v1/completions", &body).await.chunks();
    let texts: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(texts, ["l", "o", ""]);
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[3]["choices"], json!([]));
    assert_eq!(chunks[3]["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn an_id_beyond_the_vocabulary_is_refused() {
    let server = TestServer::new(answering("lo"));
    let body = json!({"model": MODEL, "prompt": [1, 257]});
    let answer = server.post("/v1/completions", &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("257"), "{}", answer.text);
}
