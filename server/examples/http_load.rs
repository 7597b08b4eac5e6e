//! Puts load on a server that speaks OpenAI's API, and costs next to nothing itself.
//!
//! `cargo run --release -p candlepower-server --example http_load ADDRESS MODEL USERS REQUESTS TOKENS SEED`
//!
//! Each user sends one request after the other to `/v1/completions`, with a prompt of 64, 128 or 256
//! random tokens (50, 35 and 15 of a hundred), and streams an answer of `TOKENS` tokens; `REQUESTS`
//! is what all of them send together. The same seed sends the same prompts. Prints a line of JSON:
//! `seconds` from the first request to the last answer, `tokens` of all answers as the server counts
//! them, and `firstTokens`, the seconds that each request waited for its first token.
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::net::TcpStream;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: http_load ADDRESS MODEL USERS REQUESTS TOKENS SEED";
/// Tokens of a prompt, and how many of a hundred requests have one as long.
const MIX: [(usize, usize); 3] = [(64, 50), (128, 35), (256, 15)];
/// Token ids that every tokenizer with tens of thousands of tokens has, and that control nothing.
const IDS: std::ops::Range<u32> = 1_000..30_000;
/// Tokens that must not end an answer; these end texts and turns in the models that are measured.
const ENDS: [u32; 3] = [0, 1, 2];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, model, users, requests, tokens, seed] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let bodies = bodies(model, requests.parse()?, tokens.parse()?, seed.parse()?);
    let bodies = Arc::new(Mutex::new(bodies));
    let began = Instant::now();
    let users: Vec<_> = (0..users.parse::<usize>()?)
        .map(|_| tokio::spawn(user(address.clone(), Arc::clone(&bodies))))
        .collect();
    let mut answers = Vec::new();
    for user in users {
        answers.extend(user.await??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let tokens: u64 = answers.iter().map(|answer| answer.tokens).sum();
    let first_tokens: Vec<f64> = answers.iter().map(|answer| answer.first_token).collect();
    let result = json!({ "seconds": seconds, "tokens": tokens, "firstTokens": first_tokens });
    println!("{result}");
    Ok(())
}

type Connection = SendRequest<Full<Bytes>>;

async fn connect(address: &str) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(driver);
    Ok(sender)
}

/// What one answer was like.
struct Answer {
    tokens: u64,
    first_token: f64,
}

/// Sends what is left, one after the other.
async fn user(
    address: String,
    bodies: Arc<Mutex<VecDeque<Bytes>>>,
) -> Result<Vec<Answer>, Failure> {
    let next = || {
        bodies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let mut answers = Vec::new();
    while let Some(body) = next() {
        // Not every server lets a connection serve two streams.
        let mut connection = connect(&address).await?;
        answers.push(ask(&mut connection, body).await?);
    }
    Ok(answers)
}

/// Sends one request and reads its answer to the end.
async fn ask(connection: &mut Connection, body: Bytes) -> Result<Answer, Failure> {
    let request = Request::post("/v1/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    connection.ready().await?;
    let began = Instant::now();
    let response = connection.send_request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let (mut text, mut first_token) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        text.extend_from_slice(&data);
        if first_token.is_none() && text.windows(6).any(|window| window == b"data: ") {
            first_token = Some(began.elapsed().as_secs_f64());
        }
    }
    let text = String::from_utf8_lossy(&text);
    let counted = text.lines().rev().find_map(counted);
    match (first_token, counted) {
        (Some(first_token), Some(tokens)) if status.is_success() => Ok(Answer {
            tokens,
            first_token,
        }),
        _ => Err(format!("{status}: {text}").into()),
    }
}

/// The tokens of an answer, where a line of its stream tells them.
fn counted(line: &str) -> Option<u64> {
    let event: Value = serde_json::from_str(line.strip_prefix("data: ")?).ok()?;
    event.pointer("/usage/completion_tokens")?.as_u64()
}

/// The requests, in an order that the seed decides.
fn bodies(model: &str, requests: usize, tokens: usize, seed: u64) -> VecDeque<Bytes> {
    let mut random = Random(seed);
    let mut lengths: Vec<usize> = MIX
        .iter()
        .flat_map(|&(length, share)| std::iter::repeat_n(length, (requests * share).div_ceil(100)))
        .collect();
    for index in (1..lengths.len()).rev() {
        lengths.swap(index, random.below(index + 1));
    }
    lengths.truncate(requests);
    let body = |length| {
        let ids: Vec<usize> = (0..length)
            .map(|_| IDS.start as usize + random.below(IDS.len()))
            .collect();
        let bias: serde_json::Map<String, Value> = ENDS
            .iter()
            .map(|token| (token.to_string(), json!(-100)))
            .collect();
        let body = json!({
            "model": model, "prompt": ids, "max_tokens": tokens, "temperature": 0,
            "logit_bias": bias, "stream": true, "stream_options": {"include_usage": true},
        });
        Bytes::from(body.to_string())
    };
    lengths.into_iter().map(body).collect()
}

/// Random enough for prompts.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // The upper bits are the random ones.
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit.max(1)
    }
}
