//! Whether a model fits the GPUs of nodes. The largest decides, so that nothing is refused that some node can serve.
use super::{Fit, facts::Facts, judge::judge, room::Room};
use candlepower_api::{deployment::LLMDeploymentSpec, value::ByteSize};
use std::{collections::BTreeMap, fmt};

/// Label that NVIDIA's GPU feature discovery puts on nodes: the memory of each of their GPUs, in MiB.
pub(super) const MEMORY: &str = "nvidia.com/gpu.memory";
/// Label of the same: what these GPUs are called.
pub(crate) const PRODUCT: &str = "nvidia.com/gpu.product";
/// No GPU comes near; larger numbers are mistakes.
const MOST_MEBIBYTES: u64 = 1 << 30;

/// A kind of GPU.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Gpu {
    // By its memory first, kinds are larger or smaller.
    pub(super) memory: ByteSize,
    /// Empty where nobody says it.
    product: String,
}

impl Gpu {
    /// Of a node with these labels, where they tell.
    pub(super) fn of_node(labels: &BTreeMap<String, String>) -> Option<Self> {
        let mebibytes: u64 = labels.get(MEMORY)?.parse().ok()?;
        // A node whose GPUs are divided in a wrong way says 0.
        (1..=MOST_MEBIBYTES).contains(&mebibytes).then(|| Self {
            memory: ByteSize::mebibytes(mebibytes),
            product: labels.get(PRODUCT).cloned().unwrap_or_default(),
        })
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.product.is_empty() {
            write!(f, "{} ", self.product)?;
        }
        write!(f, "GPU ({})", self.memory.human())
    }
}

/// The kinds of GPU that a model may get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Gpus {
    largest: Gpu,
    smaller: Vec<Gpu>,
}

impl Gpus {
    /// All that were `found`; `None` where that is nothing.
    pub(super) fn new(mut found: Vec<Gpu>) -> Option<Self> {
        let largest = found.iter().max()?.clone();
        found.retain(|gpu| gpu.memory < largest.memory);
        Some(Self {
            largest,
            smaller: found,
        })
    }

    /// Judges the model of these `facts`.
    pub(super) fn judge(&self, facts: &Facts, spec: &LLMDeploymentSpec) -> Fit {
        match judge(facts, spec, Room::Gpu(&self.largest)) {
            Fit::Fits(sum) => Fit::Fits(sum + &self.warning(facts, spec)),
            Fit::TooLarge(why) => Fit::NoGpu(why),
            other => other,
        }
    }

    /// Where the scheduler may place the model although it does not fit there.
    fn warning(&self, facts: &Facts, spec: &LLMDeploymentSpec) -> String {
        let is_too_small =
            |gpu: &&Gpu| matches!(judge(facts, spec, Room::Gpu(gpu)), Fit::TooLarge(_));
        let too_small = self.smaller.iter().filter(is_too_small);
        let names: Vec<_> = too_small.map(ToString::to_string).collect();
        if names.is_empty() {
            return String::new();
        }
        let example = match &*self.largest.product {
            "" => String::new(),
            product => format!(", such as {PRODUCT}: {product}"),
        };
        format!(
            "; other nodes have GPUs that it would not fit: {}; keep it from them by spec.pod.nodeSelector{example}",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::facts::{Shape, Stored},
        *,
    };
    use crate::deployment::testing;
    use candlepower_api::Precision;
    use serde_json::{Value, json};

    const GIB: u64 = 1 << 30;

    /// Of 8 billion parameters: 128 KiB of KV cache a token.
    const SHAPE: Shape = Shape {
        layers: 32,
        kv_heads: 8,
        head_dim: 128,
        context_length: 32768,
    };

    fn gpu(memory: &str, product: &str) -> Option<Gpu> {
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = [label(MEMORY, memory), label(PRODUCT, product)];
        Gpu::of_node(&labels.into())
    }

    fn fit(stored: Precision, gibibytes: u64, gpus: &[(&str, &str)], mut spec: Value) -> Fit {
        spec["resources"] = json!({"gpus": 1, "memory": "1Gi"});
        let found = gpus.iter().map(|(memory, name)| gpu(memory, name).unwrap());
        let facts = Facts {
            shape: SHAPE,
            stored: Stored::Floats(stored),
            bytes: gibibytes * GIB,
        };
        let gpus = Gpus::new(found.collect()).unwrap();
        gpus.judge(&facts, &testing::resource(spec).spec)
    }

    fn bf16(gibibytes: u64, gpus: &[(&str, &str)], spec: Value) -> Fit {
        fit(Precision::Bf16, gibibytes, gpus, spec)
    }

    const L4: (&str, &str) = ("23034", "NVIDIA-L4");
    const A100: (&str, &str) = ("81920", "NVIDIA-A100-SXM4-80GB");

    #[test]
    fn what_does_not_fit_the_gpu_is_refused_with_the_sum_and_what_would_fit() {
        let spec = json!({"precision": "bf16", "engine": {"maxContextLength": 32768}});
        let Fit::NoGpu(message) = bf16(20, &[L4], spec) else {
            panic!("it fits");
        };
        assert_eq!(
            message,
            "the model does not fit: weights of at least 20.0 GiB (bf16) + KV cache of 32768 tokens 4.0 GiB + overhead \
             1.0 GiB = 25.0 GiB exceed one NVIDIA-L4 GPU (22.5 GiB): lower engine.maxContextLength to 12224, or set \
             precision to q8_0, or run it on a GPU of at least 25 GiB, which no node has that spec.pod.nodeSelector allows"
        );
    }

    #[test]
    fn the_limit_of_the_container_is_not_that_of_a_gpu() {
        let spec = json!({"engine": {"maxContextLength": 8192, "maxBatchSize": 4}});
        let Fit::Fits(message) = bf16(16, &[L4], spec) else {
            panic!("it does not fit");
        };
        assert!(
            message.ends_with("overhead 1.0 GiB = 21.0 GiB of one NVIDIA-L4 GPU (22.5 GiB)"),
            "{message}"
        );
    }

    #[test]
    fn the_largest_gpu_decides_and_smaller_ones_that_would_not_do_are_named() {
        let spec = || json!({"precision": "bf16"});
        let Fit::Fits(message) = bf16(40, &[L4, A100, ("32768", "")], spec()) else {
            panic!("it does not fit");
        };
        assert!(
            message.contains("of one NVIDIA-A100-SXM4-80GB GPU (80.0 GiB)"),
            "{message}"
        );
        assert!(
            message.ends_with(
                "; other nodes have GPUs that it would not fit: NVIDIA-L4 GPU (22.5 GiB), GPU (32.0 GiB); keep it from \
                 them by spec.pod.nodeSelector, such as nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB"
            ),
            "{message}"
        );
        let Fit::Fits(message) = bf16(8, &[L4, A100], spec()) else {
            panic!("it does not fit");
        };
        assert!(!message.contains("NVIDIA-L4"), "it would do: {message}");
    }

    #[test]
    fn full_floats_are_halved_on_a_gpu_before_anything_is_quantised() {
        let fits = fit(Precision::F32, 32, &[L4], json!({}));
        assert!(
            matches!(&fits, Fit::Fits(sum) if sum.contains("16.0 GiB (bf16)")),
            "{fits:?}"
        );
    }

    #[test]
    fn a_label_that_cannot_be_is_no_gpu() {
        assert!(gpu("16384", "").is_some());
        for memory in ["", "0", "-1", "16Gi", "18446744073709551615"] {
            assert_eq!(gpu(memory, "NVIDIA-L4"), None, "{memory}");
        }
        assert_eq!(Gpu::of_node(&BTreeMap::new()), None);
        assert_eq!(Gpus::new(Vec::new()), None);
    }
}
