//! Texts through a tokenizer, and a conversation through a chat template.
use candlepower_server::text::{ChatMessage, ChatTemplate, Tokenizer};
use serde_json::json;

const TEXTS: [&str; 4] = [
    "",
    "The quick brown fox  jumps\tover 1234 lazy dogs.\r\n\n",
    "naïve e\u{301} 日本語 🙂🏽 \u{200d}\u{0} <|im_end|><s>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
/// Few vocabularies have all of them.
const IDS: [u32; 6] = [0, 1, 2, 3, 255, u32::MAX];

/// Encodes and decodes as requests do. Errors are as good as answers.
pub fn tokenise(tokenizer: &Tokenizer) {
    for text in TEXTS {
        if let Ok(ids) = tokenizer.encode(text, true) {
            let _ = tokenizer.decode(&ids);
            stream(tokenizer, &ids);
        }
    }
    let _ = tokenizer.decode(&IDS);
    stream(tokenizer, &IDS);
    for id in IDS {
        let _ = (tokenizer.token_bytes(id), tokenizer.is_special(id));
    }
}

fn stream(tokenizer: &Tokenizer, ids: &[u32]) {
    let mut stream = tokenizer.stream_after(ids);
    for &id in ids {
        if stream.push(id).is_err() {
            return;
        }
    }
    let _ = stream.finish();
}

/// Fills a template with a conversation that has a bit of everything.
pub fn converse(template: &ChatTemplate) {
    let message = |role: &str, content: &str| ChatMessage {
        role: role.to_owned(),
        content: content.to_owned(),
        ..ChatMessage::default()
    };
    let call = json!({
        "id": "call-1",
        "type": "function",
        "function": {"name": "weather", "arguments": {"city": "Paris", "days": [1, 2.5, null]}},
    });
    let messages = [
        message("system", "Be brief."),
        message("user", "What is the weather like? 🙂"),
        ChatMessage {
            tool_calls: vec![call],
            ..message("assistant", "")
        },
        ChatMessage {
            tool_call_id: Some("call-1".to_owned()),
            ..message("tool", "{\"sky\": \"blue\"}")
        },
        message("user", "Thanks."),
    ];
    let tools = [json!({
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object"}},
    })];
    let _ = template.render_with_tools(&messages, &tools);
    let _ = template.render(&messages[..2]);
}
