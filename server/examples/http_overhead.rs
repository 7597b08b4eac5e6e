//! Measures what HTTP and text cost over the engine's own time: the real router on loopback, an
//! engine that only waits, requests one after the other over one connection.
//!
//! `cargo run --release -p candlepower-server --example http_overhead [REQUESTS] [MODEL.gguf]`
//!
//! With a model its tokenizer is used (its weights are not); without, one whose tokens are bytes.
//! The client runs in the same process, and its work counts as overhead too.
use axum::body::Bytes;
use candlepower_api::server_config::{EngineConfig, ServerConfig};
use candlepower_server::{
    engine::mock::MockEngine,
    http::{AppState, Options, access::Access, drain::Drain, listen, router},
    load::{ModelHost, ServedModel, gguf::GgufFile, mock},
    telemetry::{Metrics, Spans},
    text::Tokenizer,
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use std::{
    error::Error,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

const TOKENS: u32 = 64;
const PROMPT: &str = "Explain in a few sentences why the sky is blue at noon and red in the evening, and what changes when there is dust or smoke in the air. Do not use formulas.";
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let requests = arguments.next().map_or(Ok(200), |text| text.parse())?;
    let tokenizer = match arguments.next() {
        Some(path) => Tokenizer::from_gguf(GgufFile::open(Path::new(&path))?.metadata())?,
        None => Tokenizer::of_bytes()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()?;
    println!(
        "{requests} requests each, {TOKENS} tokens an answer; client time - engine time, in µs"
    );
    println!(
        "{:<26} {:>8} {:>8} {:>13}",
        "", "median", "p95", "median/token"
    );
    let paced = Duration::from_millis(1);
    for (name, stream, step_time) in [
        ("whole, 1 ms a token", false, paced),
        ("stream, 1 ms a token", true, paced),
        ("whole, all at once", false, Duration::ZERO),
        ("stream, all at once", true, Duration::ZERO),
    ] {
        let mut overheads =
            runtime.block_on(measure(requests, stream, step_time, tokenizer.clone()))?;
        overheads.sort_by(f64::total_cmp);
        let median = overheads[overheads.len() / 2];
        let tail = overheads[overheads.len() * 95 / 100];
        println!(
            "{name:<26} {median:>8.0} {tail:>8.0} {:>13.2}",
            median / f64::from(TOKENS)
        );
    }
    Ok(())
}

/// What `requests` requests cost, in microseconds each, after a tenth of them to warm up.
async fn measure(
    requests: usize,
    stream: bool,
    step_time: Duration,
    tokenizer: Tokenizer,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let metrics = Arc::new(Metrics::new()?);
    let state = AppState {
        host: ModelHost::of(model(&metrics, step_time, tokenizer)?),
        metrics: Arc::clone(&metrics),
        spans: Spans::disabled(),
        drain: Drain::default(),
        access: Access::default(),
        faults: None,
        options: Options::from(&ServerConfig::for_model("mock")),
    };
    let listener = listen::listen("127.0.0.1", 0).await?;
    let connection = TcpStream::connect(listener.local_addr()?).await?;
    connection.set_nodelay(true)?;
    tokio::spawn(axum::serve(listen::prompt(listener), router(state)).into_future());
    let (mut client, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    tokio::spawn(driver);

    for _ in 0..requests / 10 {
        overhead(&mut client, &metrics, stream).await?;
    }
    let mut overheads = Vec::with_capacity(requests);
    for _ in 0..requests {
        overheads.push(overhead(&mut client, &metrics, stream).await?);
    }
    Ok(overheads)
}

/// Client time − engine time of one request, in microseconds.
async fn overhead(
    client: &mut SendRequest<Full<Bytes>>,
    metrics: &Metrics,
    stream: bool,
) -> Result<f64, Box<dyn Error>> {
    let engine_seconds =
        || metrics.requests.queue.get_sample_sum() + metrics.requests.inference.get_sample_sum();
    let body = format!(
        r#"{{"model": "mock", "stream": {stream}, "max_tokens": {TOKENS}, "messages": [{{"role": "user", "content": "{PROMPT}"}}]}}"#
    );
    let before = engine_seconds();
    let began = Instant::now();
    let request = Request::post("/v1/chat/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    client.ready().await?;
    let response = client.send_request(request).await?;
    let status = response.status();
    let answer = response.into_body().collect().await?.to_bytes();
    let took = began.elapsed().as_secs_f64();
    if !status.is_success() {
        return Err(String::from_utf8_lossy(&answer).into_owned().into());
    }
    Ok((took - (engine_seconds() - before)) * 1e6)
}

fn model(
    metrics: &Arc<Metrics>,
    step_time: Duration,
    tokenizer: Tokenizer,
) -> Result<ServedModel, Box<dyn Error>> {
    let letters = (0..TOKENS)
        .map(|index| u32::from(b'a') + index % 26)
        .collect();
    let engine = MockEngine::new()
        .answering(letters)
        .with_step_time(step_time);
    let config = EngineConfig::default();
    let observer = Arc::clone(metrics);
    Ok(mock::served(
        engine, tokenizer, TEMPLATE, &config, observer,
    )?)
}
