//! Rotary embedding of the kinds that a decoder's layers have.
use super::CpuError;
use crate::model::spec::{RopePairs, RopeSpec};
use candlepower_kernels::{Level, Pairing, RotaryTable};

/// One kind, for all positions of the engine.
pub(super) struct Rotary {
    table: RotaryTable,
    pairing: Pairing,
}

impl Rotary {
    pub(super) fn new(spec: &RopeSpec, context_length: usize) -> Self {
        Self {
            table: RotaryTable::new(
                spec.frequencies(context_length),
                context_length,
                spec.magnitude,
            ),
            pairing: match spec.pairs {
                RopePairs::Adjacent => Pairing::Interleaved,
                RopePairs::Halves => Pairing::Halves,
            },
        }
    }

    /// Rotates the adjacent `heads`, each `head_dim` wide, of the row at `position`.
    pub(super) fn rotate(
        &self,
        level: Level,
        heads: &mut [f32],
        head_dim: usize,
        position: u32,
    ) -> Result<(), CpuError> {
        let position = position as usize;
        Ok(self
            .table
            .rotate(level, self.pairing, heads, head_dim, position)?)
    }
}
