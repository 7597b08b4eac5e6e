//! That a real model's answer depends on nothing beside it, to the bit: neither on what shares its
//! steps, nor on how its prompt is cut, nor on what the KV cache holds already.
use super::*;
use crate::{
    engine::{places::Places, request::Sampling},
    load::precision::FormatPlan,
    model::{self, Backend, DecoderWeights, testing::fixture},
};
use candle_core::{Device, quantized::GgmlDType};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc::unbounded_channel;

const CONTEXT: usize = 128;
const KV_BLOCKS: usize = 24;

/// A request, and the step before which it comes.
#[derive(Clone, Debug)]
struct Asked {
    family: u32,
    prompt: usize,
    max_tokens: usize,
    temperature: f64,
    at: usize,
}

/// A token that was picked, with the bits of the likeliest tokens' log probabilities.
type Answered = (u32, Vec<(u32, u32)>);

fn asked() -> impl Strategy<Value = Asked> {
    let temperature = prop_oneof![Just(0.0), Just(0.8)];
    (0..2_u32, 1..90_usize, 1..12_usize, temperature, 0..12_usize).prop_map(
        |(family, prompt, max_tokens, temperature, at)| Asked {
            family,
            prompt,
            max_tokens,
            temperature,
            at,
        },
    )
}

fn options() -> impl Strategy<Value = EngineOptions> {
    (1..6_usize, 1..64_usize, any::<bool>()).prop_map(
        |(max_batch_size, prefill_chunk, prefix_caching)| EngineOptions {
            max_batch_size,
            max_batch_wait: Duration::ZERO,
            max_queue_depth: 100,
            prefill_chunk,
            prefix_caching,
        },
    )
}

fn engine(name: &str, plan: FormatPlan) -> Box<dyn Engine> {
    let files = fixture::files(name);
    let weights = DecoderWeights::find(files.description(), files.weights()).unwrap();
    let weights = weights.reading(plan, &|_| {});
    model::build(Backend::Cpu, &weights, CONTEXT, KV_BLOCKS, &Device::Cpu).unwrap()
}

/// Answers `asked` together.
fn answer(engine: Box<dyn Engine>, options: EngineOptions, asked: &[Asked]) -> Vec<Vec<Answered>> {
    let places = Arc::new(Places::new(options.places()));
    let mut scheduler = Scheduler::new(engine, vec![2], options);
    let mut receivers: Vec<_> = asked.iter().map(|_| None).collect();
    let last = asked.iter().map(|one| one.at).max().unwrap_or_default();
    let mut steps = 0;
    while steps <= last || !scheduler.is_idle() {
        for (one, receiver) in asked.iter().zip(&mut receivers) {
            if one.at == steps {
                let (events, listener) = unbounded_channel();
                let place = places.take().unwrap();
                scheduler.submit(Waiting::new(request(one), events, place));
                *receiver = Some(listener);
            }
        }
        scheduler.step();
        steps += 1;
        assert!(steps < 10_000, "it does not come to rest");
    }
    let mut heard = Vec::new();
    for mut receiver in receivers.into_iter().flatten() {
        let mut tokens = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            match event {
                GenerationEvent::Token { id, logprobs, .. } => {
                    let likeliest = logprobs.unwrap().likeliest.into_iter();
                    let bits = likeliest.map(|(id, logprob)| (id, logprob.to_bits()));
                    tokens.push((id, bits.collect()));
                }
                GenerationEvent::Failed(error) => panic!("{error}"),
                GenerationEvent::Started { .. } | GenerationEvent::Finished { .. } => {}
            }
        }
        heard.push(tokens);
    }
    heard
}

fn request(asked: &Asked) -> GenerationRequest {
    let prompt = (0..asked.prompt).map(|index| {
        let index = u32::try_from(index).unwrap();
        (index * (7 + asked.family) + 5) % 96
    });
    GenerationRequest {
        prompt: prompt.collect(),
        max_tokens: asked.max_tokens,
        deadline: None,
        sampling: Sampling {
            temperature: asked.temperature,
            seed: Some(asked.at as u64),
            logprobs: Some(5),
            ..Sampling::default()
        },
    }
}

/// Each of `asked` by itself, its prompt in one piece and nothing in the cache.
fn alone(name: &str, plan: FormatPlan, asked: &[Asked]) -> Vec<Vec<Answered>> {
    let options = EngineOptions {
        max_batch_size: 1,
        max_batch_wait: Duration::ZERO,
        max_queue_depth: 1,
        prefill_chunk: CONTEXT,
        prefix_caching: false,
    };
    let each = asked.iter().map(|one| {
        let heard = answer(engine(name, plan), options, std::slice::from_ref(one));
        heard.concat()
    });
    each.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_answer_is_the_same_to_the_bit_in_any_company_and_any_chunks(
        name in prop::sample::select(fixture::NAMES.to_vec()),
        quantised in any::<bool>(),
        options in options(),
        asked in prop::collection::vec(asked(), 1..7),
    ) {
        let plan = if quantised {
            FormatPlan::Into(GgmlDType::Q8_0)
        } else {
            FormatPlan::AsStored
        };
        let together = answer(engine(name, plan), options, &asked);
        prop_assert_eq!(together, alone(name, plan, &asked));
    }
}
