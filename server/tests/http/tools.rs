//! Tools: offered in the prompt, called in the answer.
use crate::setup::{Answer, MODEL, TestServer, answering};
use serde_json::{Value, json};

/// What Qwen's template does, in short.
const TEMPLATE: &str = "{% for tool in tools or [] %}<tools>{{ tool | tojson }}</tools>{% endfor %}\
    {% for message in messages %}{{ message.role }}: {{ message.content }}\
    {% for call in message.tool_calls or [] %}<tool_call>{{ call.function.arguments | tojson }}</tool_call>{% endfor %}\n{% endfor %}";

const CALL: &str =
    "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>";

pub(crate) fn weather() -> Value {
    json!({"type": "function", "function": {
        "name": "weather",
        "description": "Now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": false,
        },
    }})
}

/// A model that wants to say `wanted`.
fn server(wanted: &str) -> TestServer {
    TestServer::with_template(answering(wanted), 8, 8, TEMPLATE)
}

pub(crate) async fn ask(server: &TestServer, fields: &Value) -> Answer {
    let mut body = json!({
        "model": MODEL, "temperature": 0, "max_tokens": 200, "tools": [weather()],
        "messages": [{"role": "user", "content": "Hi"}],
    });
    let fields = fields.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(fields);
    server.post("/v1/chat/completions", &body).await
}

#[tokio::test]
async fn a_call_has_openais_shape() {
    let answer = ask(&server(CALL), &json!({})).await;
    let body = answer.json();
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{body}");
    assert_eq!(choice["message"]["content"], Value::Null);
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["type"], "function");
    assert!(calls[0]["id"].as_str().unwrap().starts_with("call"));
    assert_eq!(
        calls[0]["function"],
        json!({"name": "weather", "arguments": "{\"city\":\"Paris\"}"})
    );
}

#[tokio::test]
async fn streamed_calls_come_whole_and_never_as_text() {
    let wanted = format!("Let me see. {CALL}\n{CALL}");
    let chunks = ask(&server(&wanted), &json!({"stream": true}))
        .await
        .chunks();
    let deltas: Vec<_> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["delta"])
        .collect();
    let text: String = deltas
        .iter()
        .filter_map(|delta| delta["content"].as_str())
        .collect();
    assert_eq!(text.trim(), "Let me see.");
    let calls: Vec<_> = deltas
        .iter()
        .filter_map(|delta| delta["tool_calls"].as_array())
        .flatten()
        .collect();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&calls[0]["index"], &calls[1]["index"]),
        (&json!(0), &json!(1))
    );
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    assert_eq!(
        chunks.last().unwrap()["choices"][0]["finish_reason"],
        "tool_calls"
    );
}

#[tokio::test]
async fn a_call_that_is_asked_for_is_made_and_follows_the_schema() {
    let named = json!({"type": "function", "function": {"name": "weather"}});
    for choice in [json!("required"), named] {
        // The model would rather talk, and then ask for a town.
        let wanted = CALL.replace("city", "town");
        let answer = ask(&server(&wanted), &json!({"tool_choice": choice})).await;
        let body = answer.json();
        let call = &body["choices"][0]["message"]["tool_calls"][0]["function"];
        assert_eq!(call["name"], "weather", "{body}");
        let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments["city"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn without_parallel_calls_the_answer_ends_behind_its_first() {
    for choice in ["auto", "required"] {
        let fields = json!({"parallel_tool_calls": false, "tool_choice": choice});
        let body = ask(&server(&format!("{CALL}\n{CALL}")), &fields).await;
        let body = body.json();
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{body}");
        let calls = choice["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 1, "{body}");
        assert_eq!(calls[0]["function"]["arguments"], "{\"city\":\"Paris\"}");
    }
}

#[tokio::test]
async fn the_template_hears_of_tools_calls_and_their_results() {
    let count = async |fields: Value| {
        let body = ask(&server("ok"), &fields).await.json();
        body["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let none = count(json!({"tool_choice": "none"})).await;
    let offered = count(json!({})).await;
    assert_eq!(none, "user: Hi".len() as u64);
    assert!(offered > none + 100);
    let call = json!({"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}});
    let messages = json!([
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "Rain"},
    ]);
    let prompt = "assistant: <tool_call>{\"city\": \"Rome\"}</tool_call>tool: Rain";
    let heard = count(json!({"tool_choice": "none", "messages": messages})).await;
    assert_eq!(heard, prompt.len() as u64);
}

#[tokio::test]
async fn without_tools_the_same_text_is_text() {
    let body = ask(&server(CALL), &json!({"tools": []})).await.json();
    assert_eq!(body["choices"][0]["message"]["content"], CALL);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let broken =
        json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}});
    for (fields, param) in [
        (
            json!({"tools": [], "tool_choice": "required"}),
            "tool_choice",
        ),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "other"}}}),
            "tool_choice",
        ),
        (json!({"tool_choice": "maybe"}), "tool_choice"),
        (json!({"tools": [{"type": "function"}]}), "tools[0]"),
        (
            json!({"tool_choice": "required", "response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [broken]}]}),
            "messages",
        ),
    ] {
        let answer = ask(&server("ok"), &fields).await;
        let (status, _, found, _) = answer.error();
        assert_eq!(
            (status, found.as_deref()),
            (400, Some(param)),
            "{}",
            answer.text
        );
    }
    let plain = TestServer::new(answering("ok"));
    let answer = ask(&plain, &json!({})).await;
    assert_eq!(answer.error().2.as_deref(), Some("tools"));
    assert!(
        answer.message().contains("chat template"),
        "{}",
        answer.text
    );
}
