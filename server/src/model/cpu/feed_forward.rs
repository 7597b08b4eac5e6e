//! The feed-forward network of a layer.
use super::{CpuError, threads::Threads, weights::Reader};
use crate::{
    load::LoadError,
    model::{
        spec::{self, DecoderSpec},
        weights::{LayerWeight, Weight},
    },
};
use candlepower_kernels::{
    Matrix, gelu_tanh_multiply,
    matrix::{Activation, Write, multiply, multiply_gated},
    silu_multiply,
};

pub(super) struct FeedForward {
    gated: Gated,
    down: Matrix,
    activation: spec::Activation,
}

/// The gate and what it gates.
enum Gated {
    /// In one matrix, so that a thread that has a gate has what it gates.
    Together(Matrix),
    /// In two, because they are stored in two formats.
    Apart { gate: Matrix, up: Matrix },
}

/// Memory between the two products.
#[derive(Debug, Default)]
pub(super) struct Hidden {
    gated: Vec<f32>,
    up: Vec<f32>,
}

impl FeedForward {
    pub(super) fn load(
        reader: &Reader<'_>,
        spec: &DecoderSpec,
        layer: usize,
    ) -> Result<Self, LoadError> {
        let matrix = |weight| reader.matrix(Weight::Layer(layer, weight));
        let gated = match reader.gated(layer)? {
            Some(both) => Gated::Together(both),
            None => Gated::Apart {
                gate: matrix(LayerWeight::Gate)?,
                up: matrix(LayerWeight::Up)?,
            },
        };
        Ok(Self {
            gated,
            down: matrix(LayerWeight::Down)?,
            activation: spec.activation,
        })
    }

    /// Stores its result for `rows`, or adds it, to `out`.
    pub(super) fn run(
        &self,
        threads: &mut Threads,
        rows: &[f32],
        hidden: &mut Hidden,
        out: &mut [f32],
        write: Write,
    ) -> Result<(), CpuError> {
        let columns = self.down.columns();
        let count = out.len() / self.down.rows().max(1);
        hidden.gated.resize(count * columns, 0.0);
        match &self.gated {
            Gated::Together(both) => {
                let activation = match self.activation {
                    spec::Activation::Silu => Activation::Silu,
                    spec::Activation::GeluTanh => Activation::GeluTanh,
                };
                multiply_gated(
                    &threads.pool,
                    both,
                    threads.input(rows),
                    activation,
                    &mut hidden.gated,
                    &mut threads.workspace,
                )?;
            }
            Gated::Apart { gate, up } => self.gate_apart(threads, rows, [gate, up], hidden)?,
        }
        multiply(
            &threads.pool,
            &self.down,
            threads.input(&hidden.gated),
            out,
            write,
            &mut threads.workspace,
        )?;
        Ok(())
    }

    fn gate_apart(
        &self,
        threads: &mut Threads,
        rows: &[f32],
        [gate, up]: [&Matrix; 2],
        hidden: &mut Hidden,
    ) -> Result<(), CpuError> {
        hidden.up.resize(hidden.gated.len(), 0.0);
        for (matrix, out) in [(gate, &mut hidden.gated), (up, &mut hidden.up)] {
            multiply(
                &threads.pool,
                matrix,
                threads.input(rows),
                out,
                Write::Store,
                &mut threads.workspace,
            )?;
        }
        let (width, up, level) = (self.down.columns(), &hidden.up, threads.level);
        threads.for_rows(&mut hidden.gated, width, |index, gate| {
            let up = up.get(index * width..(index + 1) * width);
            let up = up.unwrap_or_default();
            match self.activation {
                spec::Activation::Silu => silu_multiply(level, gate, up)?,
                spec::Activation::GeluTanh => gelu_tanh_multiply(level, gate, up)?,
            }
            Ok(())
        })
    }
}
