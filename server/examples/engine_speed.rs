//! How fast the engine prefills and decodes, without HTTP and text: scheduler, model and sampling.
//!
//! `cargo run --release -p candlepower-server --example engine_speed MODEL.gguf [THREADS] [CONTEXT]`
//!
//! Takes commands from standard input, a line each, and answers each with a line of JSON, so that
//! another program can measure something else in between:
//! - `prefill TOKENS`: one prompt of so many random tokens, up to its first token;
//! - `decode STREAMS DEPTH TOKENS`: so many tokens for each of several sequences, which are `DEPTH`
//!   tokens long when the time begins. The same depth again goes on with the same KV cache.
//!
//! The first line that it writes says what is loaded.
use candlepower_api::server_config::ServerConfig;
use candlepower_server::{
    engine::{Generation, GenerationError, GenerationEvent, GenerationRequest, Sampling},
    load::{self, ServedModel},
    threads,
};
use serde_json::{Value, json};
use std::{
    error::Error,
    io::{self, BufRead},
    sync::Arc,
    time::Instant,
};

const MOST_STREAMS: usize = 8;
const CONTEXT: usize = 2048;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        return Err("usage: engine_speed MODEL.gguf [THREADS] [CONTEXT]".into());
    };
    let threads = arguments.next().map(|text| text.parse()).transpose()?;
    threads::settle(threads)?;
    let context = arguments
        .next()
        .map_or(Ok(CONTEXT), |text| text.parse::<usize>())?;
    let mut config = ServerConfig::for_model(path);
    config.engine.max_batch_size = MOST_STREAMS;
    config.engine.max_context_length = Some(context);
    let model = load::model::load(&config, Arc::new(()), &|_| {})?;
    println!("{}", serde_json::to_string(&model.facts)?);
    let mut prompts = Prompts {
        vocabulary: u32::try_from(model.engine.limits().vocabulary)?,
        used: 0,
    };
    for line in io::stdin().lock().lines() {
        println!("{}", answer(&line?, &model, &mut prompts).await?);
    }
    Ok(())
}

/// What a command's line asks for.
async fn answer(
    line: &str,
    model: &ServedModel,
    prompts: &mut Prompts,
) -> Result<Value, Box<dyn Error>> {
    let (name, numbers) = line.split_once(' ').unwrap_or((line, ""));
    let numbers: Vec<usize> = numbers
        .split(' ')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let speed = match (name, numbers.as_slice()) {
        ("prefill", &[tokens]) => prefill(model, prompts.fresh(tokens)).await?,
        ("decode", &[streams, depth, tokens]) => {
            let prompts = (0..streams).map(|stream| prompts.numbered(stream, depth));
            decode(model, prompts, tokens).await?
        }
        _ => {
            return Err(
                format!("{line}: write `prefill TOKENS` or `decode STREAMS DEPTH TOKENS`").into(),
            );
        }
    };
    Ok(json!({ "tokens": speed.tokens, "seconds": speed.seconds }))
}

struct Speed {
    tokens: usize,
    seconds: f64,
}

/// From the beginning of a prompt's first step to its first token.
async fn prefill(model: &ServedModel, prompt: Vec<u32>) -> Result<Speed, Box<dyn Error>> {
    let tokens = prompt.len();
    let times = listen(submit(model, prompt, 1)?).await?;
    let took = times.tokens.first().map(|&first| first - times.first_step);
    Ok(Speed {
        tokens,
        seconds: took.unwrap_or_default().as_secs_f64(),
    })
}

/// From the step that gives the last of the sequences its first token to the end.
async fn decode(
    model: &ServedModel,
    prompts: impl Iterator<Item = Vec<u32>>,
    tokens: usize,
) -> Result<Speed, Box<dyn Error>> {
    let running = prompts
        .map(|prompt| submit(model, prompt, tokens + 1))
        .collect::<Result<Vec<_>, _>>()?;
    let mut all = Vec::new();
    for generation in running {
        all.push(listen(generation).await?.tokens);
    }
    let began = all.iter().filter_map(|times| times.first()).max();
    let ended = all.iter().filter_map(|times| times.last()).max();
    let (Some(&began), Some(&ended)) = (began, ended) else {
        return Err("nothing was generated".into());
    };
    Ok(Speed {
        tokens: all.iter().flatten().filter(|&&at| at > began).count(),
        seconds: (ended - began).as_secs_f64(),
    })
}

/// When what happened to a generation.
struct Times {
    first_step: Instant,
    tokens: Vec<Instant>,
}

/// Listens to the end.
async fn listen(mut generation: Generation) -> Result<Times, GenerationError> {
    let mut times = Times {
        first_step: Instant::now(),
        tokens: Vec::new(),
    };
    loop {
        match generation.next().await {
            GenerationEvent::Started { first_step, .. } => times.first_step = first_step,
            GenerationEvent::Token { at, .. } => times.tokens.push(at),
            GenerationEvent::Finished { .. } => return Ok(times),
            GenerationEvent::Failed(error) => return Err(error),
        }
    }
}

/// Asks for exactly `max_tokens` of the likeliest tokens, since no token may end the answer.
fn submit(
    model: &ServedModel,
    prompt: Vec<u32>,
    max_tokens: usize,
) -> Result<Generation, Box<dyn Error>> {
    let ends = model.tokenizer.end_tokens();
    Ok(model.engine.submit(GenerationRequest {
        prompt,
        max_tokens,
        sampling: Sampling {
            temperature: 0.0,
            logit_bias: ends.iter().map(|&token| (token, -100.0)).collect(),
            ..Sampling::default()
        },
        deadline: None,
    })?)
}

/// Random tokens.
struct Prompts {
    vocabulary: u32,
    used: usize,
}

impl Prompts {
    /// A prompt that begins as no other does.
    fn fresh(&mut self, tokens: usize) -> Vec<u32> {
        self.used += 1;
        self.numbered(MOST_STREAMS + self.used, tokens)
    }

    /// The same tokens for the same number and length.
    fn numbered(&self, number: usize, tokens: usize) -> Vec<u32> {
        let mut state = (number as u64) << 32 | tokens as u64;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // The upper bits are the random ones.
            u32::try_from(state >> 33).unwrap_or_default() % self.vocabulary
        };
        std::iter::repeat_with(next).take(tokens).collect()
    }
}
