//! Queries, keys and values of a step's rows: as few products as the formats of the weights allow.
use super::{CpuError, rotary::Rotary, threads::Threads, weights::Reader};
use crate::{
    load::LoadError,
    model::{spec::DecoderSpec, weights::LayerWeight},
};
use candlepower_kernels::{
    Level, Matrix, Rows, add_bias,
    matrix::{Write, multiply},
    rms_norm_heads,
};
use std::ops::Range;

/// What rows are multiplied with before they attend.
pub(super) struct Projection {
    products: Vec<Product>,
    head_dim: usize,
    epsilon: f32,
}

/// A product that gives some of queries, keys and values.
struct Product {
    matrix: Matrix,
    bias: Vec<f32>,
    /// What its columns are, and how the heads there are normed.
    parts: Vec<(Kind, Range<usize>, Vec<f32>)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Query,
    Key,
    Value,
}

/// Memory for what the products give.
#[derive(Debug, Default)]
pub(super) struct Projected(Vec<Vec<f32>>);

impl Projection {
    pub(super) fn load(
        reader: &Reader<'_>,
        spec: &DecoderSpec,
        layer: usize,
    ) -> Result<Self, LoadError> {
        let all = [
            (Kind::Query, LayerWeight::Query, LayerWeight::QueryBias),
            (Kind::Key, LayerWeight::Key, LayerWeight::KeyBias),
            (Kind::Value, LayerWeight::Value, LayerWeight::ValueBias),
        ];
        let matrices = reader.stacked(layer, &all.map(|(_, weight, _)| weight))?;
        let mut left = all.iter();
        let mut products = Vec::new();
        for matrix in matrices {
            let (mut parts, mut bias, mut end) = (Vec::new(), Vec::new(), 0);
            while end < matrix.rows() {
                let Some(&(kind, _, bias_weight)) = left.next() else {
                    break;
                };
                let heads = if kind == Kind::Query {
                    spec.heads
                } else {
                    spec.kv_heads
                };
                let start = end;
                end += heads * spec.head_dim;
                if spec.attention.biases {
                    bias.extend(reader.vector(layer, bias_weight)?);
                }
                let norm = match kind {
                    Kind::Query if spec.norms.per_head => {
                        reader.vector(layer, LayerWeight::QueryNorm)?
                    }
                    Kind::Key if spec.norms.per_head => {
                        reader.vector(layer, LayerWeight::KeyNorm)?
                    }
                    _ => Vec::new(),
                };
                parts.push((kind, start..end, norm));
            }
            products.push(Product {
                matrix,
                bias,
                parts,
            });
        }
        Ok(Self {
            products,
            head_dim: spec.head_dim,
            epsilon: narrow(spec.norms.epsilon),
        })
    }

    /// Multiplies `rows`, norms and rotates what is to be.
    pub(super) fn project(
        &self,
        threads: &mut Threads,
        rows: &[f32],
        positions: &[u32],
        rotary: &Rotary,
        projected: &mut Projected,
    ) -> Result<(), CpuError> {
        projected.0.resize_with(self.products.len(), Vec::new);
        for (product, out) in self.products.iter().zip(&mut projected.0) {
            let width = product.matrix.rows();
            out.resize(positions.len() * width, 0.0);
            multiply(
                &threads.pool,
                &product.matrix,
                threads.input(rows),
                out,
                Write::Store,
                &mut threads.workspace,
            )?;
            let level = threads.level;
            threads.for_rows(out, width, |index, row| {
                let position = positions.get(index).copied().unwrap_or(u32::MAX);
                self.finish(product, level, row, position, rotary)
            })?;
        }
        Ok(())
    }

    fn finish(
        &self,
        product: &Product,
        level: Level,
        row: &mut [f32],
        position: u32,
        rotary: &Rotary,
    ) -> Result<(), CpuError> {
        if !product.bias.is_empty() {
            add_bias(level, row, &product.bias)?;
        }
        for (kind, columns, norm) in &product.parts {
            let heads = row.get_mut(columns.clone()).unwrap_or_default();
            if !norm.is_empty() {
                rms_norm_heads(level, heads, norm, self.epsilon)?;
            }
            if *kind != Kind::Value {
                rotary.rotate(level, heads, self.head_dim, position)?;
            }
        }
        Ok(())
    }

    /// Queries, keys and values of what was projected.
    pub(super) fn parts<'a>(&self, projected: &'a Projected) -> Result<[Rows<'a>; 3], CpuError> {
        Ok([
            self.part(Kind::Query, projected)?,
            self.part(Kind::Key, projected)?,
            self.part(Kind::Value, projected)?,
        ])
    }

    fn part<'a>(&self, wanted: Kind, projected: &'a Projected) -> Result<Rows<'a>, CpuError> {
        for (product, values) in self.products.iter().zip(&projected.0) {
            for (kind, columns, _) in &product.parts {
                if *kind == wanted {
                    let rows = Rows::new(values, product.matrix.rows())?;
                    return Ok(rows.columns(columns.clone())?);
                }
            }
        }
        Ok(Rows::new(&[], 0)?)
    }
}

/// Norms are computed in 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "as Transformers does")]
pub(super) const fn narrow(value: f64) -> f32 {
    value as f32
}
