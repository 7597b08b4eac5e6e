//! The memory that a model may use: the container's, or a GPU's.
use super::gpus::Gpu;
use candlepower_api::{
    Precision,
    memory::{GPU_OVERHEAD, OVERHEAD},
    value::ByteSize,
};

/// Memory of a container is proposed in multiples of so many MiB.
const MEMORY_STEP: u64 = 64;

/// Memory that a model may use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room<'a> {
    /// The container's, up to its limit.
    Container(ByteSize),
    /// That of one GPU: the server computes on one, however many its pod has.
    Gpu(&'a Gpu),
}

impl Room<'_> {
    /// All of it.
    pub(super) const fn size(self) -> ByteSize {
        match self {
            Self::Container(limit) => limit,
            Self::Gpu(gpu) => gpu.memory,
        }
    }

    /// What the server keeps of it for everything but weights and KV cache.
    pub(super) const fn overhead(self) -> ByteSize {
        match self {
            Self::Container(_) => OVERHEAD,
            Self::Gpu(_) => GPU_OVERHEAD,
        }
    }

    /// What it is, for messages.
    pub(super) fn name(self) -> String {
        match self {
            Self::Container(limit) => format!("the memory limit of {}", limit.human()),
            Self::Gpu(gpu) => format!("one {gpu}"),
        }
    }

    /// How to get room for so many bytes.
    pub(super) fn cure(self, needed: u64) -> String {
        match self {
            Self::Container(_) => {
                let mebibytes = (needed >> 20).saturating_add(1);
                let rounded = mebibytes.div_ceil(MEMORY_STEP).saturating_mul(MEMORY_STEP);
                format!("raise resources.memory to {rounded}Mi")
            }
            Self::Gpu(_) => format!(
                "run it on a GPU of at least {} GiB, which no node has that spec.pod.nodeSelector allows",
                needed.div_ceil(1 << 30)
            ),
        }
    }

    /// The floats that the server chooses for weights that are stored as such, where nobody asked for a precision.
    pub(super) const fn floats(self, stored: Precision) -> Precision {
        match (self, stored) {
            (Self::Gpu(_), Precision::F32) => Precision::Bf16,
            _ => stored,
        }
    }
}
