//! `ignore_eos` and `min_tokens`: answers that may not end where the model would end them.
use crate::setup::{Answer, MODEL, TestServer, answering};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const ROUTES: [&str; 3] = [CHAT, "/v1/completions", "/generate"];

/// A request of at most 12 tokens, with `fields`.
async fn ask(server: &TestServer, route: &str, fields: &Value) -> Answer {
    let mut body = json!({"max_tokens": 12, "temperature": 0});
    let own = match route {
        CHAT => json!({"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}),
        "/generate" => json!({"prompt": "a"}),
        _ => json!({"model": MODEL, "prompt": "a"}),
    };
    for more in [&own, fields] {
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
    }
    server.post(route, &body).await
}

/// Tokens of the answer, and why it ended.
fn end(answer: &Answer) -> (u64, String) {
    let body = answer.json();
    let tokens = body["usage"]["completion_tokens"].as_u64();
    let reason = body["choices"][0]["finish_reason"].as_str();
    let reason = reason.or(body["finish_reason"].as_str());
    (
        tokens.unwrap_or_else(|| panic!("{}", answer.text)),
        reason.unwrap().to_owned(),
    )
}

#[tokio::test]
async fn an_answer_goes_on_past_its_end_for_as_long_as_it_was_asked_to() {
    // The model says two tokens and its end.
    let server = TestServer::new(answering("ok"));
    for route in ROUTES {
        for (fields, expected) in [
            (json!({}), (3, "stop")),
            (json!({"ignore_eos": false, "min_tokens": 0}), (3, "stop")),
            (json!({"ignore_eos": true}), (12, "length")),
            (json!({"min_tokens": 2}), (3, "stop")),
            (json!({"min_tokens": 7}), (8, "stop")),
            (json!({"min_tokens": 12}), (12, "length")),
            (json!({"min_tokens": 7, "ignore_eos": true}), (12, "length")),
        ] {
            let answer = ask(&server, route, &fields).await;
            let (tokens, reason) = end(&answer);
            assert_eq!((tokens, &*reason), expected, "{route} {fields}");
        }
    }
}

#[tokio::test]
async fn a_stop_string_ends_an_answer_with_enough_tokens() {
    let server = TestServer::new(answering("1 stop 2 stop 3"));
    let text = async |fields: Value| {
        let answer = ask(&server, "/generate", &fields).await;
        answer.json()["text"].as_str().unwrap().to_owned()
    };
    let stop = |fields: Value| {
        let mut all = json!({"stop": "stop", "max_tokens": 40});
        let fields = fields.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(fields);
        all
    };
    assert_eq!(text(stop(json!({}))).await, "1 ");
    assert_eq!(text(stop(json!({"min_tokens": 7}))).await, "1 stop 2 ");
    assert_eq!(text(stop(json!({"ignore_eos": true}))).await, "1 ");
}

#[tokio::test]
async fn what_ends_in_a_form_cannot_be_told_to_go_on() {
    let template = "{{ tools | tojson }}<tool_call>";
    let server = TestServer::with_template(answering("{}"), 8, 8, template);
    let tool = json!({"type": "function", "function": {"name": "f"}});
    for (field, value) in [("ignore_eos", json!(true)), ("min_tokens", json!(5))] {
        for (route, form) in [
            (CHAT, json!({"response_format": {"type": "json_object"}})),
            (CHAT, json!({"tools": [tool], "tool_choice": "required"})),
            (
                "/v1/completions",
                json!({"response_format": {"type": "json_object"}}),
            ),
        ] {
            let mut fields = form.clone();
            fields[field] = value.clone();
            let answer = ask(&server, route, &fields).await;
            let (status, _, param, _) = answer.error();
            assert_eq!((status, param.as_deref()), (400, Some(field)));
            assert!(answer.message().contains("leave one of them out"));
        }
    }
}

#[tokio::test]
async fn more_tokens_than_the_longest_length_are_refused() {
    let server = TestServer::new(answering("ok"));
    for route in ROUTES {
        let answer = ask(&server, route, &json!({"min_tokens": 13})).await;
        let (status, _, param, _) = answer.error();
        assert_eq!((status, param.as_deref()), (400, Some("min_tokens")));
        let answer = ask(&server, route, &json!({"ignore_eos": "yes"})).await;
        assert_eq!(answer.error().2.as_deref(), Some("ignore_eos"));
    }
}

#[tokio::test]
async fn the_apis_description_tells_of_them() {
    let server = TestServer::new(answering("ok"));
    let document = server.get("/openapi.json").await.json();
    for form in ["ChatRequest", "CompletionRequest", "GenerateRequest"] {
        for field in ["ignore_eos", "min_tokens"] {
            let property = &document["components"]["schemas"][form]["properties"][field];
            assert!(property["description"].is_string(), "{form} {field}");
        }
    }
}
