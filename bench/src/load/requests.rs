//! The seeded order of requests: what each one asks for, the same for the same seed.
use super::{
    random::Random,
    target::{Dialect, Lengths, Prompt, Vocabulary},
};
use crate::record::{Outcome, RequestRecord, TokenTimes};
use candlepower_api::benchmark::{PromptMix, Workload};
use hyper::body::Bytes;
use serde::Serialize;
use std::sync::Arc;
use uuid::Uuid;

/// Requests of a scenario; more than any scenario sends.
const PER_SCENARIO: u64 = 1 << 40;

/// Marks the random streams of prompts' words, apart from those of lengths.
const WORDS: u64 = 1 << 62;

/// Makes the requests of one scenario.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) model: Arc<str>,
    pub(super) dialect: Dialect,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) workload: Arc<Workload>,
    /// Which texts prompts are made of.
    pub(super) texts: u64,
    /// The scenario's place in the run.
    pub(super) scenario: u64,
}

/// What goes over the wire.
pub(super) struct Outgoing {
    pub(super) body: Bytes,
    pub(super) traceparent: String,
}

impl Requests {
    /// The request at a place of the order, with lengths of a trace or of the mix, and the
    /// beginnings of its record.
    pub(super) fn at(&self, index: u64, lengths: Option<(u32, u32)>) -> (Outgoing, RequestRecord) {
        let stream = self.scenario * PER_SCENARIO + index;
        let mut random = Random::new(self.workload.seed, stream);
        let mixed = pick(&self.workload.prompts, &mut random);
        let output = u32::try_from(self.workload.output_tokens).unwrap_or(1);
        let (prompt_tokens, output_tokens) = lengths.unwrap_or((mixed, output));
        let prompt = self.prompt(index, prompt_tokens);
        // Traces are kept apart by ids that no other run has.
        let trace_id = Uuid::new_v4().simple().to_string();
        let record = RequestRecord {
            index,
            asked_prompt_tokens: prompt.tokens,
            asked_output_tokens: output_tokens,
            due: 0,
            sent: 0,
            tokens: TokenTimes::default(),
            finished: 0,
            prompt_tokens: None,
            output_tokens: None,
            outcome: Outcome::Cancelled,
            trace_id,
        };
        let body = body(
            &self.model,
            &prompt.text,
            output_tokens,
            self.workload.stream,
            self.dialect,
        );
        let traceparent = format!("00-{}-{:016x}-01", record.trace_id, index + 1);
        (Outgoing { body, traceparent }, record)
    }

    /// The prompt of so many tokens at a place of the order.
    pub(super) fn prompt(&self, index: u64, tokens: u32) -> Prompt {
        let stream = self.scenario * PER_SCENARIO + index;
        let seed = self.workload.seed ^ self.texts.cast_signed();
        let mut words = Random::new(seed, stream | WORDS);
        self.vocabulary.prompt(tokens, &mut words)
    }
}

fn pick(mix: &[PromptMix], random: &mut Random) -> u32 {
    let weight = |one: &PromptMix| usize::try_from(one.weight).unwrap_or_default();
    let total: usize = mix.iter().map(weight).sum();
    let mut place = random.below(total.max(1));
    for one in mix {
        if place < weight(one) {
            return u32::try_from(one.tokens).unwrap_or_default();
        }
        place -= weight(one);
    }
    0
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    max_tokens: u32,
    temperature: f32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_eos: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_tokens: Option<u32>,
}

/// A chat of one message, answered by the likeliest tokens.
pub(super) fn body(
    model: &str,
    prompt: &str,
    output_tokens: u32,
    stream: bool,
    dialect: Dialect,
) -> Bytes {
    let body = Body {
        model,
        messages: [Message {
            role: "user",
            content: prompt,
        }],
        max_tokens: output_tokens,
        temperature: 0.0,
        stream,
        stream_options: (stream && dialect.stream_usage).then_some(StreamOptions {
            include_usage: true,
        }),
        ignore_eos: (dialect.lengths == Lengths::IgnoreEos).then_some(true),
        min_tokens: (dialect.lengths == Lengths::MinTokens).then_some(output_tokens),
    };
    // A struct of texts and numbers: writing it cannot fail.
    serde_json::to_vec(&body).unwrap_or_default().into()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    pub(in crate::load) fn requests(seed: i64, scenario: u64) -> Requests {
        Requests {
            model: "m".into(),
            dialect: Dialect {
                lengths: Lengths::IgnoreEos,
                stream_usage: true,
            },
            vocabulary: Arc::new(Vocabulary::of_words(20)),
            workload: Arc::new(Workload {
                seed,
                ..Workload::default()
            }),
            texts: 0,
            scenario,
        }
    }

    fn bodies(requests: &Requests) -> Vec<Bytes> {
        (0..50)
            .map(|index| requests.at(index, None).0.body)
            .collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        assert_eq!(bodies(&requests(1, 0)), bodies(&requests(1, 0)));
        assert_ne!(bodies(&requests(1, 0)), bodies(&requests(2, 0)));
    }

    #[test]
    fn other_texts_have_the_same_lengths_and_no_beginning_in_common() {
        let of = |texts| Requests {
            texts,
            ..requests(1, 0)
        };
        let (one, other) = (of(0), of(7));
        for index in 0..50 {
            let (first, second) = (one.at(index, None), other.at(index, None));
            assert_eq!(first.1.asked_prompt_tokens, second.1.asked_prompt_tokens);
            assert_ne!(first.0.body, second.0.body);
        }
    }

    #[test]
    fn no_two_prompts_are_alike_within_a_run_so_that_no_cache_flatters() {
        let all = [bodies(&requests(1, 0)), bodies(&requests(1, 1))].concat();
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn prompt_lengths_follow_the_mix() {
        let requests = requests(1, 0);
        let mut counts = BTreeMap::new();
        for index in 0..10_000 {
            let tokens = requests.at(index, None).1.asked_prompt_tokens;
            *counts.entry(tokens).or_insert(0) += 1;
        }
        let shares: Vec<_> = counts
            .values()
            .map(|&count| f64::from(count) / 1e4)
            .collect();
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [64, 128, 256]);
        for (share, expected) in shares.iter().zip([0.5, 0.35, 0.15]) {
            assert!((share - expected).abs() < 0.02, "{shares:?}");
        }
    }

    #[test]
    fn each_request_has_a_trace_of_its_own_that_is_sampled() {
        let requests = requests(1, 0);
        let (outgoing, record) = requests.at(7, None);
        assert_eq!(
            outgoing.traceparent,
            format!("00-{}-0000000000000008-01", record.trace_id)
        );
        assert_ne!(requests.at(7, None).1.trace_id, record.trace_id);
    }

    #[test]
    fn a_trace_says_its_own_lengths() {
        let (outgoing, record) = requests(1, 0).at(0, Some((40, 9)));
        assert_eq!(
            (record.asked_prompt_tokens, record.asked_output_tokens),
            (40, 9)
        );
        let body: serde_json::Value = serde_json::from_slice(&outgoing.body).unwrap();
        assert_eq!(body["max_tokens"], 9);
        assert_eq!(body["ignore_eos"], true);
        assert_eq!(body["stream_options"]["include_usage"], true);
    }
}
