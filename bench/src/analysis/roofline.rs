//! How much of the machine a run used: memory bandwidth (MBU) and arithmetic (MFU) against a probe, or
//! against the data sheet of the GPU.
//!
//! - a decode step reads the weights once, however many sequences are in it, and each sequence's KV
//!   cache: bytes = weights + KV bytes of a token · Σ context; MBU = bytes / TPOT P50 / peak bandwidth;
//! - MFU = 2 · parameters · (prompt + generated tokens per second) / peak operations per second;
//! - prefill MFU = 2 · parameters · prompt tokens that no cache held / prefill time / the same peak;
//! - parameters = weights' bytes · 8 / bits of a weight.
//!
//! The peak is that of the arithmetic that the weights are multiplied in: 8-bit integers where they
//! are quantised, floats of 32 bits otherwise. Where integers could not be probed, floats are the
//! peak, the report says so, and a share above 1 is not one of anything. Of a GPU the peak is that of
//! 16-bit floats, so that MFU is a lower limit of what quantised or 32-bit weights do there.
//!
//! Attention's own operations need the model's dimensions, which servers do not export: they are
//! left out, so MFU is a lower limit. Where the KV bytes of a token are not known, MBU is one too.
use super::{gpu_peaks, level::Level};
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
    /// What everything is compared with, and in its `source` where it comes from. Where it was looked up
    /// nothing was run: it has no threads and no buffer.
    pub probe: Probe,
    /// The peak of arithmetic that MFU is a share of; see [`Roofline::peak`].
    #[serde(default)]
    pub peak: Option<Peak>,
    /// Operations per byte above which arithmetic, not memory, is the limit.
    pub ridge: f64,
    /// The model's parameters, from its bytes and precision.
    pub parameters: f64,
    /// Whether KV bytes are in the memory bandwidth.
    pub counts_kv: bool,
    /// Scenarios, in their order.
    pub levels: Vec<Utilisation>,
}

/// The most arithmetic that the machine can do, in one kind of number.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peak {
    /// Operations per second, where a multiply-add is two.
    pub operations_per_second: f64,
    /// Which operations, in words.
    pub name: String,
}

/// How much of the machine a scenario used.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Utilisation {
    /// The scenario.
    pub scenario: String,
    /// Bytes that a decode step reads.
    pub bytes_per_step: f64,
    /// Model bandwidth utilisation, 0 to 1; above 1 where the peak is too low.
    pub mbu: Option<f64>,
    /// Model FLOP/s utilisation over the window, 0 to 1; above 1 where the peak is too low.
    pub mfu: Option<f64>,
    /// The same of prefill alone.
    pub prefill_mfu: Option<f64>,
}

/// Why there is no roofline.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoRoofline {
    /// The machine's speed is not known.
    #[error("no probe of the server's machine was taken")]
    NoProbe,
    /// The server computes elsewhere than the probe.
    #[error("the probe is of a CPU, and the model runs on another device, whose name is not known")]
    OtherDevice,
    /// The server computes on a GPU that no data sheet is known of.
    #[error("the probe is of a CPU, and no data sheet of the GPU ({0}) is known here")]
    UnknownGpu(String),
    /// The probe saw less of the machine than the server may use.
    #[error(
        "the probe had {threads} threads and the server may use {cores:.1} cores, so that it would show \
         less than there is; give the load generator as many cores"
    )]
    SmallerProbe {
        /// The probe's threads.
        threads: usize,
        /// Cores that one pod of the server may use.
        cores: f64,
    },
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
    let known = evidence.model.as_ref();
    let device = known.and_then(|model| model.device.as_deref());
    // A server that does not say what it computes on, but has GPUs, computes on them.
    let on_cpu = device.map_or(evidence.gpu_source.is_none(), |device| device == "cpu");
    let probe = if on_cpu {
        probed(evidence, levels)?
    } else {
        looked_up(evidence)?
    };
    let model = known.ok_or(NoRoofline::NoWeights)?;
    let (weights, parameters) = size(model).ok_or(NoRoofline::NoWeights)?;
    let peak = if on_cpu {
        peak(&probe, model)
    } else {
        Peak::of_floats(&probe, "16-bit floats on tensor cores")
    };
    let machine = Machine {
        pods: evidence.pods(),
        probe: &probe,
        peak: peak.operations_per_second,
        weights,
        parameters,
        kv_per_token: model.kv_bytes_per_token.unwrap_or_default() as f64,
        prompt_tokens,
        context: prompt_tokens + output_tokens / 2.0,
    };
    let levels = levels.iter().map(|level| machine.use_of(level)).collect();
    Ok(Roofline {
        ridge: peak.operations_per_second / probe.bytes_per_second,
        peak: Some(peak),
        parameters,
        counts_kv: model.kv_bytes_per_token.is_some(),
        probe,
        levels,
    })
}

/// The probe, where it could use as much of the machine as the server.
fn probed(evidence: &Evidence, levels: &[Level]) -> Result<Probe, NoRoofline> {
    let probe = evidence.probe.clone().ok_or(NoRoofline::NoProbe)?;
    let limits = levels.iter().filter_map(|level| level.observed.cpu_limit);
    let cores = limits.fold(0.0, f64::max) / evidence.pods();
    // Quotas are whole cores or parts of one, and threads are whole.
    if cores > probe.threads as f64 + 0.5 {
        let threads = probe.threads;
        return Err(NoRoofline::SmallerProbe { threads, cores });
    }
    Ok(probe)
}

/// What the data sheet of the server's GPU says, where its GPUs are alike.
fn looked_up(evidence: &Evidence) -> Result<Probe, NoRoofline> {
    let gpus = evidence.machine.as_ref().map(|machine| &machine.gpus);
    let gpus = gpus
        .filter(|gpus| !gpus.is_empty())
        .ok_or(NoRoofline::OtherDevice)?;
    let unknown = || NoRoofline::UnknownGpu(gpus.join(", "));
    let mut peaks = gpus.iter().map(|name| gpu_peaks::of_name(name));
    let peak = peaks.next().flatten().ok_or_else(unknown)?;
    if peaks.any(|other| other != Some(peak)) {
        return Err(unknown());
    }
    Ok(Probe {
        bytes_per_second: peak.bytes_per_second,
        flops_per_second: peak.flops_per_second,
        int8: None,
        threads: 0,
        buffer_bytes: 0,
        source: format!("looked up in NVIDIA's data sheet of the {}", peak.sheet),
    })
}

impl Roofline {
    /// The peak of arithmetic that MFU is a share of. Reports of earlier versions name none: it was
    /// that of floats.
    pub fn peak(&self) -> Peak {
        let floats = || Peak::of_floats(&self.probe, "32-bit floats");
        self.peak.clone().unwrap_or_else(floats)
    }
}

impl Peak {
    fn of_floats(probe: &Probe, name: &str) -> Self {
        Self {
            operations_per_second: probe.flops_per_second,
            name: name.to_owned(),
        }
    }
}

/// Bytes and number of a model's weights.
fn size(model: &ModelFacts) -> Option<(f64, f64)> {
    let bytes = model.weights_bytes? as f64;
    let bits = bits_per_weight(model.precision.as_deref()?)?;
    Some((bytes, bytes * 8.0 / bits))
}

/// The peak of what the weights are multiplied in.
fn peak(probe: &Probe, model: &ModelFacts) -> Peak {
    let floats = |name: &str| Peak::of_floats(probe, name);
    match (&model.precision, &probe.int8) {
        (Some(precision), _) if is_float(precision) => floats("32-bit floats"),
        (_, Some(int8)) => Peak {
            operations_per_second: int8.operations_per_second,
            name: format!("8-bit integers by {}", int8.instructions),
        },
        (_, None) => {
            floats("32-bit floats, because 8-bit integers could not be probed on this CPU")
        }
    }
}

fn is_float(precision: &str) -> bool {
    matches!(
        precision.to_ascii_lowercase().as_str(),
        "f32" | "f16" | "bf16"
    )
}

struct Machine<'a> {
    pods: f64,
    probe: &'a Probe,
    peak: f64,
    weights: f64,
    parameters: f64,
    kv_per_token: f64,
    prompt_tokens: f64,
    context: f64,
}

impl Machine<'_> {
    fn use_of(&self, level: &Level) -> Utilisation {
        let observed = &level.observed;
        let sequences = observed.batch.unwrap_or(level.concurrency / self.pods);
        let sequences = sequences.max(1.0);
        let bytes = self.weights + self.kv_per_token * self.context * sequences;
        let step = level.figures.tpot.map(|tpot| tpot.p50 as f64 / 1e6);
        let missed = 1.0 - observed.prefix_cache_hits.unwrap_or_default();
        let computed = observed
            .prompt_tokens_per_second
            .map(|prompt| prompt * missed + level.figures.output_tokens_per_second)
            .map(|tokens| tokens / self.pods);
        let flops = self.peak;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are the probe's own figures")]
    use super::*;
    use crate::analysis::testing::Plant;

    fn of(change: impl FnOnce(&mut Evidence)) -> Roofline {
        let (run, mut evidence) = Plant::run(&[Plant::default()]);
        change(&mut evidence);
        let level = |one| Level::of(one, &evidence, &[], 1);
        let levels: Vec<_> = run.scenarios.iter().map(level).collect();
        roofline(&evidence, &levels, 128.0, 32.0).unwrap()
    }

    fn model(evidence: &mut Evidence) -> &mut ModelFacts {
        evidence.model.get_or_insert_default()
    }

    #[test]
    fn a_step_reads_the_weights_once_and_the_cache_of_every_sequence() {
        let without = of(|_| {});
        assert!(!without.counts_kv);
        assert_eq!(without.levels[0].bytes_per_step, 100e6);
        let with = of(|evidence| model(evidence).kv_bytes_per_token = Some(23_040));
        let sequences = Plant::default().users;
        // Prompts of 128 tokens, and answers of 32 that are half done.
        let cache = 23_040.0 * 144.0 * f64::from(sequences);
        let read = with.levels[0].bytes_per_step - 100e6;
        assert!(with.counts_kv);
        assert!((read / cache - 1.0).abs() < 0.05, "{read} of {cache}");
        let (before, after) = (without.levels[0].mbu.unwrap(), with.levels[0].mbu.unwrap());
        assert!((after / before - with.levels[0].bytes_per_step / 100e6).abs() < 1e-9);
    }

    #[test]
    fn quantised_weights_are_measured_by_integers_and_others_by_floats() {
        let quantised = of(|_| {});
        assert_eq!(quantised.peak().name, "8-bit integers by planted");
        assert_eq!(
            quantised.peak().operations_per_second,
            Plant::default().flops
        );
        let floats = of(|evidence| model(evidence).precision = Some("bf16".to_owned()));
        assert_eq!(floats.peak().name, "32-bit floats");
        assert_eq!(
            floats.peak().operations_per_second,
            floats.probe.flops_per_second
        );
        assert_eq!(
            floats.ridge,
            floats.probe.flops_per_second / floats.probe.bytes_per_second
        );
    }

    fn error(change: impl FnOnce(&mut Evidence)) -> String {
        let (run, mut evidence) = Plant::run(&[Plant::default()]);
        change(&mut evidence);
        let level = |one| Level::of(one, &evidence, &[], 1);
        let levels: Vec<_> = run.scenarios.iter().map(level).collect();
        let none = roofline(&evidence, &levels, 128.0, 32.0);
        none.unwrap_err().to_string()
    }

    /// The model on a GPU of this name.
    fn on_gpu(evidence: &mut Evidence, gpus: &[&str]) {
        let device = Some("cuda".to_owned());
        model(evidence).device = device;
        evidence.machine = Some(crate::evidence::facts::Machine {
            gpus: gpus.iter().copied().map(ToOwned::to_owned).collect(),
            ..Default::default()
        });
    }

    #[test]
    fn a_gpu_is_measured_by_its_data_sheet_and_the_source_says_so() {
        let roof = of(|evidence| on_gpu(evidence, &["NVIDIA L4"]));
        assert_eq!(roof.probe.bytes_per_second, 300e9);
        assert_eq!(roof.peak().operations_per_second, 121e12);
        assert_eq!(roof.peak().name, "16-bit floats on tensor cores");
        assert!(roof.probe.source.starts_with("looked up"), "{roof:?}");
        let own = of(|_| {});
        let ratio = own.levels[0].mbu.unwrap() / roof.levels[0].mbu.unwrap();
        assert!((ratio - 300e9 / own.probe.bytes_per_second).abs() < 1e-9);
    }

    #[test]
    fn a_gpu_that_nothing_is_known_of_has_no_peak() {
        assert!(error(|evidence| on_gpu(evidence, &[])).contains("name is not known"));
        assert!(error(|evidence| on_gpu(evidence, &["Other 9"])).contains("(Other 9)"));
        let mixed = error(|evidence| on_gpu(evidence, &["NVIDIA L4", "NVIDIA A10"]));
        assert!(mixed.contains("(NVIDIA L4, NVIDIA A10)"), "{mixed}");
    }

    #[test]
    fn a_probe_with_fewer_threads_than_the_server_has_cores_is_no_measure() {
        let threads = |count| {
            move |evidence: &mut Evidence| {
                if let Some(probe) = &mut evidence.probe {
                    probe.threads = count;
                }
            }
        };
        // The planted server may use two cores.
        let why = error(threads(1));
        assert!(why.contains("1 threads"), "{why}");
        assert!(why.contains("2.0 cores"), "{why}");
        let shared = of(|evidence| {
            threads(1)(evidence);
            evidence.replicas = 2;
        });
        assert_eq!(shared.levels.len(), 1, "two pods have one core each");
    }

    #[test]
    fn several_pods_are_measured_as_one_of_them() {
        let one = of(|_| {}).levels.remove(0);
        let each = of(|evidence| evidence.replicas = 2).levels.remove(0);
        assert!((one.mfu.unwrap() / each.mfu.unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_peak_that_is_not_the_kernels_own_says_so() {
        let roof = of(|evidence| {
            if let Some(probe) = &mut evidence.probe {
                probe.int8 = None;
            }
        });
        assert!(roof.peak().name.contains("could not be probed"));
        let mut old = serde_json::to_value(&roof).unwrap();
        old.as_object_mut().unwrap().remove("peak");
        let old: Roofline = serde_json::from_value(old).unwrap();
        assert_eq!(old.peak().name, "32-bit floats");
        assert_eq!(
            roof.peak().operations_per_second,
            roof.probe.flops_per_second
        );
    }
}
