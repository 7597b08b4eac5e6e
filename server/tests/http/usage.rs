//! `stream_options`: tokens in and out, at a stream's end or in each of its chunks.
use crate::setup::{MODEL, TestServer, answering};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const ROUTES: [&str; 2] = [CHAT, "/v1/completions"];
/// "user: Hi\n" and "hel", a token a byte.
const PROMPTS: [u64; 2] = [9, 3];

async fn chunks(wanted: &str, route: &str, options: &Value, more: Value) -> Vec<Value> {
    let server = TestServer::new(answering(wanted));
    let mut body = json!({"model": MODEL, "stream": true, "stream_options": options});
    let prompt = if route == CHAT {
        json!({"messages": [{"role": "user", "content": "Hi"}]})
    } else {
        json!({"prompt": "hel"})
    };
    for more in [prompt, more] {
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
    }
    server.post(route, &body).await.chunks()
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
    })
}

#[tokio::test]
async fn every_chunk_carries_the_usage_so_far_where_asked_for() {
    for (route, prompt) in ROUTES.into_iter().zip(PROMPTS) {
        for include_usage in [false, true] {
            let options = json!({"continuous_usage_stats": true, "include_usage": include_usage});
            let chunks = chunks("héy", route, &options, json!({})).await;
            let told: Vec<_> = chunks.iter().map(|chunk| chunk["usage"].clone()).collect();
            let chat = (route == CHAT).then_some(0);
            // "é" is two tokens, which come as one text; the last is the model's end.
            let tokens = chat.into_iter().chain([1, 3, 4, 5]);
            let tokens = tokens.chain(include_usage.then_some(5));
            let expected: Vec<_> = tokens.map(|tokens| usage(prompt, tokens)).collect();
            assert_eq!(told, expected, "{route}");
            let last = chunks.last().unwrap();
            assert_eq!(last["choices"] == json!([]), include_usage, "{last}");
        }
    }
}

#[tokio::test]
async fn the_usage_is_that_of_all_choices() {
    for (route, prompt) in ROUTES.into_iter().zip(PROMPTS) {
        let options = json!({"continuous_usage_stats": true});
        let chunks = chunks("hey", route, &options, json!({"n": 2})).await;
        let told: Vec<_> = chunks
            .iter()
            .map(|chunk| chunk["usage"]["completion_tokens"].as_u64().unwrap())
            .collect();
        assert!(told.is_sorted(), "{told:?}");
        assert_eq!(chunks.last().unwrap()["usage"], usage(prompt, 8));
    }
}

#[tokio::test]
async fn a_stop_string_counts_although_it_is_not_sent() {
    for (route, prompt) in ROUTES.into_iter().zip(PROMPTS) {
        let options = json!({"continuous_usage_stats": true});
        let chunks = chunks("a STOP", route, &options, json!({"stop": "STOP"})).await;
        assert_eq!(chunks.last().unwrap()["usage"], usage(prompt, 6));
    }
}

#[tokio::test]
async fn without_the_option_only_the_one_more_chunk_has_it() {
    for route in ROUTES {
        for options in [
            json!({}),
            json!({"include_usage": true, "continuous_usage_stats": false}),
        ] {
            let chunks = chunks("hey", route, &options, json!({})).await;
            let having: Vec<_> = chunks
                .iter()
                .filter(|chunk| chunk.get("usage").is_some())
                .map(|chunk| chunk["choices"].clone())
                .collect();
            let expected = options["include_usage"].as_bool().unwrap_or_default();
            assert_eq!(having, vec![json!([]); usize::from(expected)], "{route}");
        }
    }
}

/// guidellm 0.8 and aiperf 0.13, by their requests.
#[tokio::test]
async fn what_load_generators_send_is_taken() {
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    for more in [
        json!({"max_completion_tokens": 7, "max_tokens": 7, "stop": null, "ignore_eos": true, "temperature": 0}),
        json!({"max_tokens": 7, "ignore_eos": true, "temperature": 0}),
    ] {
        let chunks = chunks("hey", CHAT, &options, more).await;
        assert_eq!(chunks.last().unwrap()["usage"], usage(PROMPTS[0], 7));
    }
}
