//! What the real model answers over HTTP where its answers have a form, and where its prompt is known.
use crate::config;
use axum::{body::Body, http::Request};
use candlepower_server::{
    http::{AppState, Options, access::Access, drain::Drain, router},
    load::{ModelHost, model},
    telemetry::{Metrics, Spans},
    text::ChatTemplate,
};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const NAME: &str = "real";
/// The model's own form of conversations, with tools; calls are written behind it.
const TEMPLATE: &str = "{%- if tools %}<|im_start|>system\nYou may call these tools: {{ tools | tojson }}<|im_end|>\n{% endif %}\
    {%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

struct Server(AppState);

impl Server {
    /// The model behind the router; with another chat template, where one is given.
    fn new(template: Option<&str>) -> Self {
        let mut config = config(crate::model_path());
        config.model.served_name = Some(NAME.to_owned());
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut model = model::load(&config, Arc::clone(&metrics) as _, &|_| {}).unwrap();
        if let Some(template) = template {
            let template = ChatTemplate::compile(template, String::new(), String::new());
            model.chat_template = Some(template.unwrap());
        }
        Self(AppState {
            host: ModelHost::of(model),
            metrics,
            spans: Spans::disabled(),
            drain: Drain::default(),
            access: Access::default(),
            faults: None,
            options: Options::from(&config),
        })
    }

    async fn text(&self, request: Request<Body>) -> String {
        let response = router(self.0.clone()).oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// The one choice of the answer to `question`.
    async fn ask(&self, question: &str, fields: &Value) -> Value {
        let mut body = json!({
            "model": NAME, "temperature": 0, "max_tokens": 200,
            "messages": [{"role": "user", "content": question}],
        });
        let fields = fields.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let request = Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let text = self.text(request).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["choices"][0].is_object(), "{text}");
        answer["choices"][0].clone()
    }

    async fn metric(&self, name: &str) -> f64 {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let text = self.text(request).await;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap().parse().unwrap()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct City {
    name: String,
    size: Size,
    inhabitants: u64,
    rivers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    Small,
    Large,
}

fn city() -> Value {
    let text = json!({"type": "string", "maxLength": 20});
    json!({
        "type": "object",
        "properties": {
            "name": text,
            "size": {"enum": ["small", "large"]},
            "inhabitants": {"type": "integer", "minimum": 1, "maximum": 50_000_000},
            "rivers": {"type": "array", "items": text, "maxItems": 3},
        },
        "required": ["name", "size", "inhabitants", "rivers"],
        "additionalProperties": false,
    })
}

fn assert_city(text: &str) {
    let city: City = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(city.name.chars().count() <= 20, "{city:?}");
    assert!(matches!(city.size, Size::Small | Size::Large));
    assert!((1..=50_000_000).contains(&city.inhabitants), "{city:?}");
    assert!(city.rivers.len() <= 3, "{city:?}");
}

#[tokio::test]
async fn an_answer_with_a_schema_follows_it_and_without_is_prose() {
    let server = Server::new(None);
    let question = "Tell me about Paris.";
    let format = json!({"type": "json_schema", "json_schema": {"name": "city", "schema": city()}});
    for temperature in [0.0, 1.0] {
        let fields = json!({
            "response_format": format, "temperature": temperature, "seed": 1,
            // Small models like to leave much space between two parts.
            "max_tokens": 400,
        });
        let choice = server.ask(question, &fields).await;
        assert_eq!(choice["finish_reason"], "stop", "{choice}");
        assert_city(choice["message"]["content"].as_str().unwrap());
    }
    let prose = server.ask(question, &json!({"max_tokens": 24})).await;
    let prose = prose["message"]["content"].as_str().unwrap();
    assert!(prose.contains("Paris") && !prose.contains('{'), "{prose}");
}

#[tokio::test]
async fn a_call_that_is_asked_for_follows_its_schema_in_every_form() {
    for form in [
        "<tool_call>",
        "[TOOL_CALLS] [",
        "[TOOL_CALLS]f[ARGS]",
        "ipython {\"name\": f, \"parameters\": a}",
    ] {
        let template = format!("{TEMPLATE}{{# {form} #}}");
        let server = Server::new(Some(&template));
        let function = json!({"name": "note_city", "parameters": city()});
        let choice = server
            .ask(
                "Note what you know of Paris.",
                &json!({"tools": [{"type": "function", "function": function}], "tool_choice": "required", "parallel_tool_calls": false}),
            )
            .await;
        assert_eq!(choice["finish_reason"], "tool_calls", "{form}: {choice}");
        let called = &choice["message"]["tool_calls"][0]["function"];
        assert_eq!(called["name"], "note_city", "{choice}");
        assert_city(called["arguments"].as_str().unwrap());
    }
}

#[tokio::test]
async fn a_prompt_that_is_known_is_not_computed_again_and_answered_alike() {
    let server = Server::new(None);
    let question = "Name three things that a keeper of a lighthouse does each evening, and say of each why it matters to the ships that pass by in the night and in the fog.";
    let fields = json!({"max_tokens": 40, "logprobs": true});
    let first = server.ask(question, &fields).await;
    assert_eq!(server.metric("llm_prefix_cache_hits_total").await, 0.0);
    let asked = server.metric("llm_prefix_cache_queries_total").await;

    let second = server.ask(question, &fields).await;
    let hits = server.metric("llm_prefix_cache_hits_total").await;
    assert_eq!(
        server.metric("llm_prefix_cache_queries_total").await,
        2.0 * asked
    );
    // Whole blocks of 32 tokens, and never the last token, whose logits are needed.
    assert!(asked > 33.0, "{asked}");
    assert_eq!(hits, ((asked - 1.0) / 32.0).floor() * 32.0);
    // Tokens, text and log probabilities.
    assert_eq!(second, first);
    assert_eq!(first["logprobs"]["content"].as_array().unwrap().len(), 40);
}
