//! How much of the machine a run used: memory bandwidth (MBU) and arithmetic (MFU) against a probe.
//!
//! - a decode step reads the weights once, however many sequences are in it, and each sequence's KV
//!   cache: bytes = weights + KV bytes of a token · Σ context; MBU = bytes / TPOT P50 / peak bandwidth;
//! - MFU = 2 · parameters · (prompt + generated tokens per second) / peak FLOP/s;
//! - prefill MFU = 2 · parameters · prompt tokens that no cache held / prefill time / peak FLOP/s;
//! - parameters = weights' bytes · 8 / bits of a weight.
//!
//! Attention's own operations need the model's dimensions, which servers do not export: they are
//! left out, so MFU is a lower limit. Where the KV bytes of a token are not known, MBU is one too.
use super::level::Level;
use crate::evidence::{
    Evidence,
    facts::{ModelFacts, bits_per_weight},
    probe::Probe,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the machine can do, and how much of it each scenario used.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Roofline {
    /// The probe that everything is compared with.
    pub probe: Probe,
    /// Operations per byte above which arithmetic, not memory, is the limit.
    pub ridge: f64,
    /// The model's parameters, from its bytes and precision.
    pub parameters: f64,
    /// Whether KV bytes are in the memory bandwidth.
    pub counts_kv: bool,
    /// Scenarios, in their order.
    pub levels: Vec<Utilisation>,
}

/// How much of the machine a scenario used.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Utilisation {
    /// The scenario.
    pub scenario: String,
    /// Bytes that a decode step reads.
    pub bytes_per_step: f64,
    /// Model bandwidth utilisation, 0 to 1.
    pub mbu: Option<f64>,
    /// Model FLOP/s utilisation over the window, 0 to 1.
    pub mfu: Option<f64>,
    /// The same of prefill alone.
    pub prefill_mfu: Option<f64>,
}

/// Why there is no roofline.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoRoofline {
    /// The machine's speed is not known.
    #[error("no probe of the server's machine was taken")]
    NoProbe,
    /// The server computes elsewhere than the probe.
    #[error("the probe is of a CPU, and the model runs on another device")]
    OtherDevice,
    /// The model's size is not known.
    #[error("the server exports neither the bytes of its weights nor their precision")]
    NoWeights,
}

/// The roofline of a run.
pub fn roofline(
    evidence: &Evidence,
    levels: &[Level],
    prompt_tokens: f64,
    output_tokens: f64,
) -> Result<Roofline, NoRoofline> {
    let probe = evidence.probe.clone().ok_or(NoRoofline::NoProbe)?;
    let model = evidence.model.as_ref().ok_or(NoRoofline::NoWeights)?;
    if model
        .device
        .as_deref()
        .is_some_and(|device| device != "cpu")
    {
        return Err(NoRoofline::OtherDevice);
    }
    let (weights, parameters) = size(model).ok_or(NoRoofline::NoWeights)?;
    let machine = Machine {
        probe: &probe,
        weights,
        parameters,
        kv_per_token: model.kv_bytes_per_token.unwrap_or_default() as f64,
        prompt_tokens,
        context: prompt_tokens + output_tokens / 2.0,
    };
    let levels = levels.iter().map(|level| machine.use_of(level)).collect();
    Ok(Roofline {
        ridge: probe.flops_per_second / probe.bytes_per_second,
        parameters,
        counts_kv: model.kv_bytes_per_token.is_some(),
        probe,
        levels,
    })
}

/// Bytes and number of a model's weights.
fn size(model: &ModelFacts) -> Option<(f64, f64)> {
    let bytes = model.weights_bytes? as f64;
    let bits = bits_per_weight(model.precision.as_deref()?)?;
    Some((bytes, bytes * 8.0 / bits))
}

struct Machine<'a> {
    probe: &'a Probe,
    weights: f64,
    parameters: f64,
    kv_per_token: f64,
    prompt_tokens: f64,
    context: f64,
}

impl Machine<'_> {
    fn use_of(&self, level: &Level) -> Utilisation {
        let observed = &level.observed;
        let sequences = observed.batch.unwrap_or(level.concurrency).max(1.0);
        let bytes = self.weights + self.kv_per_token * self.context * sequences;
        let step = level.figures.tpot.map(|tpot| tpot.p50 as f64 / 1e6);
        let missed = 1.0 - observed.prefix_cache_hits.unwrap_or_default();
        let computed = observed
            .prompt_tokens_per_second
            .map(|prompt| prompt * missed + level.figures.output_tokens_per_second);
        let flops = self.probe.flops_per_second;
        let prefill = observed.prefill_seconds.filter(|seconds| *seconds > 0.0);
        Utilisation {
            scenario: level.name.clone(),
            bytes_per_step: bytes,
            mbu: step
                .filter(|step| *step > 0.0)
                .map(|step| bytes / step / self.probe.bytes_per_second),
            mfu: computed.map(|tokens| 2.0 * self.parameters * tokens / flops),
            prefill_mfu: prefill.map(|seconds| {
                2.0 * self.parameters * self.prompt_tokens * missed / seconds / flops
            }),
        }
    }
}
