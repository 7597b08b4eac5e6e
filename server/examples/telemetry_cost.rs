//! Measures what metrics and traces cost, as a share of the time that a model's tokens take.
//!
//! `cargo run --release -p candlepower-server --example telemetry_cost MODEL.gguf COLLECTOR`, with
//! COLLECTOR such as `http://127.0.0.1:4317`; `make cost` starts one.
//!
//! The calls that the server makes for each step, token and request are timed by themselves, since
//! a difference of a hundredth between two runs of a model is lost in the machine's noise. Traces
//! are measured as the whole process's CPU time, so that encoding and sending count.
use axum::http::HeaderMap;
use candlepower_api::{
    server_config::{ServerConfig, TracingConfig},
    value::Percentage,
};
use candlepower_server::{
    engine::{
        EngineHandle, FinishReason, GenerationEvent, GenerationRequest, Sampling, StepObserver,
        StepSummary,
    },
    load,
    telemetry::{
        Metrics, Observation, Outcome, Spans, exporter, observation::Measured, traces::TraceMetrics,
    },
};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

const STREAMS: usize = 8;
const TOKENS: usize = 64;
const ROUNDS: usize = 5;
const CALLS: u32 = 20_000;
/// Requests sent to the collector at once: the queue of spans holds as many and more.
const BURST: u32 = 200;

/// Seconds per call of what the server does.
struct Costs {
    step: f64,
    token: f64,
    request: f64,
    traced_request: f64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(collector)) = (arguments.next(), arguments.next()) else {
        return Err("usage: telemetry_cost MODEL.gguf COLLECTOR".into());
    };
    let metrics = Arc::new(Metrics::new()?);
    let costs = Costs {
        step: median(|| step(&metrics)),
        token: median(|| token(&metrics)),
        request: median(|| requests(&metrics, &Spans::disabled(), CALLS)),
        traced_request: traced(&metrics, collector).await?,
    };
    println!(
        "a step {:.2} µs, a token {:.2} µs, a request {:.1} µs; traced, CPU time of all threads: {:.1} µs",
        costs.step * 1e6,
        costs.token * 1e6,
        costs.request * 1e6,
        costs.traced_request * 1e6
    );
    let loaded = load::model::load(&ServerConfig::for_model(model), Arc::new(()), &|_| {})?;
    for streams in [1, STREAMS] {
        shares(&loaded.engine, streams, &costs).await?;
    }
    metrics.model_loaded(&loaded.facts, "", Duration::from_secs(1));
    answer("text", || Ok(metrics.render()?))?;
    answer("OpenMetrics", || Ok(metrics.render_openmetrics()?))
}

/// Prints the costs as shares of what a model's tokens take with so many streams.
async fn shares(
    engine: &EngineHandle,
    streams: usize,
    costs: &Costs,
) -> Result<(), Box<dyn Error>> {
    let mut paces = Vec::new();
    for _ in 0..ROUNDS {
        paces.push(pace(engine, streams).await?);
    }
    paces.sort_by(f64::total_cmp);
    let pace = paces[paces.len() / 2];
    let by_token = costs.step / streams as f64 + costs.token + costs.request / TOKENS as f64;
    println!(
        "{streams} streams, {pace:.0} tokens/s: metrics {:.3} % (limit 1), traces at ratio 1.0 {:.3} % (limit 2)",
        by_token * pace * 100.0,
        costs.traced_request / TOKENS as f64 * pace * 100.0
    );
    Ok(())
}

/// Tokens per second of `streams` streams together.
async fn pace(engine: &EngineHandle, streams: usize) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    let mut running = Vec::new();
    for stream in 0..streams {
        running.push(engine.submit(GenerationRequest {
            prompt: vec![u32::try_from(stream)? + 40, 50, 60],
            max_tokens: TOKENS,
            deadline: None,
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
        })?);
    }
    let mut tokens = 0;
    for mut generation in running {
        loop {
            match generation.next().await {
                GenerationEvent::Finished { generated, .. } => {
                    tokens += generated;
                    break;
                }
                GenerationEvent::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(tokens as f64 / began.elapsed().as_secs_f64())
}

/// The median of several rounds.
fn median(mut round: impl FnMut() -> f64) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn each(calls: u32, began: Instant) -> f64 {
    began.elapsed().as_secs_f64() / f64::from(calls)
}

fn step(metrics: &Metrics) -> f64 {
    let summary = StepSummary {
        rows: STREAMS,
        sequences: STREAMS,
        running: STREAMS,
        kv_used_tokens: 1000,
        kv_total_tokens: 16_000,
        ..StepSummary::default()
    };
    let began = Instant::now();
    for _ in 0..CALLS {
        metrics.before_step();
        metrics.step(&summary);
    }
    each(CALLS, began)
}

fn token(metrics: &Metrics) -> f64 {
    let began = Instant::now();
    let mut last = began;
    for _ in 0..CALLS {
        let at = Instant::now();
        let gap = at.saturating_duration_since(last);
        metrics
            .requests
            .inter_token_latency
            .observe(gap.as_secs_f64(), None);
        metrics.requests.generation_tokens.inc();
        last = at;
    }
    each(CALLS, began)
}

/// Seconds for each of `calls` requests from their start to their report.
fn requests(metrics: &Arc<Metrics>, spans: &Spans, calls: u32) -> f64 {
    let headers = HeaderMap::new();
    let began = Instant::now();
    for _ in 0..calls {
        let now = Instant::now();
        let observation = Observation::start(
            "POST",
            "/v1/chat/completions",
            Arc::clone(metrics),
            spans,
            &headers,
        );
        let waited = Duration::from_millis(120);
        metrics
            .requests
            .time_to_first_token
            .observe(waited.as_secs_f64(), observation.exemplar(waited));
        observation.measured(Measured {
            operation: "chat",
            model: "smollm2".to_owned(),
            tokenize: Some((now, now)),
            prompt_tokens: 128,
            generated: TOKENS,
            tokens: Some((now, now + waited)),
            queue: Some((now, now)),
            detokenize: Duration::from_micros(300),
            answers: 1,
            texts: None,
        });
        observation.finish(&Outcome::Finished(vec![FinishReason::Length]));
    }
    each(calls, began)
}

/// CPU seconds that tracing adds to a request, with all spans sent to the collector.
async fn traced(metrics: &Arc<Metrics>, collector: String) -> Result<f64, Box<dyn Error>> {
    let counts = TraceMetrics::new(&prometheus::Registry::new())?;
    let config = TracingConfig {
        endpoint: Some(collector),
        sampling_ratio: Percentage::of_hundred(100.0),
        ..TracingConfig::default()
    };
    let sent = exporter::spans(&config, &counts);
    let without = cpu_time(metrics, &Spans::disabled()).await?;
    let with = cpu_time(metrics, &sent).await?;
    println!(
        "spans sent {}, dropped {}, failures {}",
        counts.exported.get(),
        counts.dropped.get(),
        counts.failures.get()
    );
    if counts.exported.get() == 0 {
        return Err("no span was sent: is the collector there?".into());
    }
    Ok((with - without).max(0.0))
}

/// CPU seconds of this process for each request, bursts a second and a half apart, so that each is
/// sent before the next.
async fn cpu_time(metrics: &Arc<Metrics>, spans: &Spans) -> Result<f64, Box<dyn Error>> {
    let bursts = 10;
    let before = process_cpu()?;
    for _ in 0..bursts {
        requests(metrics, spans, BURST);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    Ok((process_cpu()? - before) / f64::from(bursts * BURST))
}

/// CPU seconds of all threads of this process: the sum of what the scheduler counts for each.
fn process_cpu() -> Result<f64, Box<dyn Error>> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let counted = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += counted
            .split_whitespace()
            .next()
            .unwrap_or("0")
            .parse::<f64>()?;
    }
    Ok(nanoseconds / 1e9)
}

/// Prints how long an answer of /metrics takes and how large it is.
fn answer(
    format: &str,
    render: impl Fn() -> Result<String, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let size = render()?.len();
    let took = median(|| {
        let began = Instant::now();
        for _ in 0..20 {
            // It was rendered once without an error.
            let _ = std::hint::black_box(render());
        }
        each(20, began)
    });
    println!(
        "/metrics as {format}: {:.2} ms (limit 2), {:.1} KiB (limit 64)",
        took * 1e3,
        size as f64 / 1024.0
    );
    Ok(())
}
