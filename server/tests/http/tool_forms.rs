//! Tool calls in the forms of Mistral and Llama, whose marks are tokens of their own that count as no
//! text. The templates do what those of the models do, in short.
use crate::{
    setup::{Answer, TestServer},
    tools::{ask, weather},
};
use candlepower_server::{engine::mock::MockEngine, text::Tokenizer};
use serde_json::{Value, json};

const MARKS: [&str; 4] = ["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "<|python_tag|>"];

/// Up to Mistral Small 3.1: ids have nine letters, and stand in the call.
const LIST: &str = "{%- if tools %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}\
    {%- for message in messages %}\
    {%- if message.tool_calls is defined %}\
    {{- '[TOOL_CALLS] [' }}\
    {%- for call in message.tool_calls %}\
    {%- if call.id | length != 9 %}{{ raise_exception('ids of calls have nine letters') }}{% endif %}\
    {{- (call.function | tojson)[:-1] + ', \"id\": \"' + call.id + '\"}' }}\
    {%- if not loop.last %}{{ ', ' }}{% endif %}{% endfor %}]\
    {%- elif message.role == 'tool' %}\
    {{- '[TOOL_RESULTS] {\"content\": ' + message.content + ', \"call_id\": \"' + message.tool_call_id + '\"}' }}\
    {%- else %}[INST]{{ message.content }}[/INST]{% endif %}{% endfor %}";

/// Since then.
const NAMED: &str = "{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}\
    {%- for message in messages %}\
    {%- for call in message.tool_calls or [] %}\
    {{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson }}\
    {%- endfor %}[INST]{{ message.content }}[/INST]{% endfor %}";

/// Llama 3.1 and 3.2.
const LLAMA: &str = "{%- if tools is not none %}\
    Respond in the format {\"name\": function name, \"parameters\": dictionary of arguments}.{{ tools | tojson(indent=4) }}{% endif %}\
    {%- for message in messages %}\
    {%- if 'tool_calls' in message %}\
    {%- if not message.tool_calls | length == 1 %}{{ raise_exception('only single tool-calls at once') }}{% endif %}\
    {%- set call = message.tool_calls[0].function %}\
    {{- '{\"name\": \"' + call.name + '\", ' }}{{ '\"parameters\": ' }}{{ call.arguments | tojson }}{{ '}' }}\
    {%- elif message.role == 'tool' or message.role == 'ipython' %}\
    ipython: {{ message.content | tojson }}\
    {%- else %}{{ message.role }}: {{ message.content }}{% endif %}{% endfor %}";

/// A template, and how its model writes the call of `weather` for a city.
type Family = (&'static str, fn(&str) -> String);

const FAMILIES: [Family; 4] = [
    (LIST, |city| {
        format!("[TOOL_CALLS] [{{\"name\": \"weather\", \"arguments\": {{\"city\": \"{city}\"}}}}]")
    }),
    (NAMED, |city| {
        format!("[TOOL_CALLS]weather[ARGS]{{\"city\": \"{city}\"}}")
    }),
    (LLAMA, |city| {
        format!("{{\"name\": \"weather\", \"parameters\": {{\"city\": \"{city}\"}}}}")
    }),
    (LLAMA, |city| {
        format!("<|python_tag|>{{\"name\": \"weather\", \"parameters\": {{\"city\": \"{city}\"}}}}")
    }),
];

/// A model of such a family that wants to say `wanted`.
fn server(template: &str, wanted: &str) -> TestServer {
    let tokenizer = Tokenizer::of_bytes_and(&MARKS).unwrap();
    let answer = tokenizer.encode(wanted, false).unwrap();
    let engine = MockEngine::new()
        .with_more_tokens(MARKS.len())
        .answering(answer);
    TestServer::with_tokenizer(engine, 8, 8, template, tokenizer)
}

#[track_caller]
fn assert_calls(answer: &Answer, cities: &[&str]) {
    let body = answer.json();
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{body}");
    assert_eq!(choice["message"]["content"], Value::Null, "{body}");
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    let called: Vec<_> = calls.iter().map(|call| call["function"].clone()).collect();
    let expected: Vec<_> = cities
        .iter()
        .map(|city| {
            let arguments = json!({"city": city}).to_string();
            json!({"name": "weather", "arguments": arguments})
        })
        .collect();
    assert_eq!(called, expected, "{body}");
}

#[tokio::test]
async fn a_call_is_read_although_its_marks_are_no_text() {
    for (template, call) in FAMILIES {
        let answer = ask(&server(template, &call("Paris")), &json!({})).await;
        assert_calls(&answer, &["Paris"]);
    }
}

#[tokio::test]
async fn a_streamed_call_comes_whole_and_never_as_text() {
    for (template, call) in FAMILIES {
        let server = server(template, &call("Paris"));
        let chunks = ask(&server, &json!({"stream": true})).await.chunks();
        let deltas: Vec<_> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"])
            .collect();
        assert!(deltas.iter().all(|delta| {
            let text = delta["content"].as_str();
            text.is_none_or(str::is_empty)
        }));
        let calls: Vec<_> = deltas
            .iter()
            .filter_map(|delta| delta["tool_calls"].as_array())
            .collect();
        assert_eq!(calls.len(), 1, "{template}");
        assert_eq!(calls[0][0]["function"]["arguments"], "{\"city\":\"Paris\"}");
        let last = &chunks.last().unwrap()["choices"][0];
        assert_eq!(last["finish_reason"], "tool_calls");
    }
}

#[tokio::test]
async fn several_calls_are_read_unless_the_answer_is_to_end_behind_the_first() {
    let both = [
        (
            LIST,
            "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}, {\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}]",
        ),
        (
            NAMED,
            "[TOOL_CALLS]weather[ARGS]{\"city\": \"Paris\"}[TOOL_CALLS]weather[ARGS]{\"city\": \"Rome\"}",
        ),
        (
            LLAMA,
            "{\"name\": \"weather\", \"parameters\": {\"city\": \"Paris\"}}; {\"name\": \"weather\", \"parameters\": {\"city\": \"Rome\"}}",
        ),
    ];
    for (template, wanted) in both {
        let server = server(template, wanted);
        let answer = ask(&server, &json!({})).await;
        assert_calls(&answer, &["Paris", "Rome"]);
        let all = answer.json()["usage"]["completion_tokens"].as_u64();
        let answer = ask(&server, &json!({"parallel_tool_calls": false})).await;
        assert_calls(&answer, &["Paris"]);
        let first = answer.json()["usage"]["completion_tokens"].as_u64();
        assert!(first < all, "the answer ends behind its first call");
    }
}

#[tokio::test]
async fn a_call_that_is_asked_for_is_made_and_follows_the_schema() {
    let named = json!({"type": "function", "function": {"name": "weather"}});
    for choice in [json!("required"), named] {
        // The tag is the model's own choice: asked for a call, Llama writes it bare.
        for (template, call) in &FAMILIES[..3] {
            // The model would rather ask for a town.
            let server = server(template, &call("Rome").replace("city", "town"));
            let answer = ask(&server, &json!({"tool_choice": choice})).await;
            let body = answer.json();
            let call = &body["choices"][0]["message"]["tool_calls"][0]["function"];
            assert_eq!(call["name"], "weather", "{body}");
            let arguments = call["arguments"].as_str().unwrap();
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            assert!(arguments["city"].is_string(), "{body}");
        }
    }
}

#[tokio::test]
async fn the_template_takes_the_calls_back_with_the_ids_that_they_were_given() {
    for (template, call) in FAMILIES {
        let server = server(template, &call("Paris"));
        let answer = ask(&server, &json!({})).await.json();
        let message = answer["choices"][0]["message"].clone();
        let id = message["tool_calls"][0]["id"].clone();
        let result = json!({"role": "tool", "tool_call_id": id, "content": "Rain"});
        let question = json!({"role": "user", "content": "Hi"});
        let next = ask(&server, &json!({"messages": [question, message, result]})).await;
        assert_eq!(next.status, 200, "{}", next.text);
    }
}

#[tokio::test]
async fn without_tools_marks_are_no_text_and_json_is() {
    let json = "{\"name\": \"weather\", \"parameters\": {}}";
    for (template, wanted, text) in [
        (LIST, "[TOOL_CALLS] []", " []"),
        (LLAMA, json, json),
        (LLAMA, "<|python_tag|>1", "1"),
    ] {
        let body = ask(&server(template, wanted), &json!({"tools": []})).await;
        let body = body.json();
        assert_eq!(body["choices"][0]["message"]["content"], text, "{body}");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn an_answer_that_calls_nothing_is_text_with_tools_too() {
    for (template, wanted) in [
        (LIST, "Rain."),
        (NAMED, "Rain."),
        (LLAMA, "Rain."),
        (LLAMA, "{\"name\": \"Anna\"}"),
    ] {
        let body = ask(&server(template, wanted), &json!({"tools": [weather()]})).await;
        let body = body.json();
        assert_eq!(body["choices"][0]["message"]["content"], wanted, "{body}");
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
    }
}
