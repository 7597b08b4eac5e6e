//! Writing keys and values of new rows into the cache, one KV head at a time.
#![allow(clippy::inline_always)]
use super::{
    AttentionError, BLOCK, Batch,
    cache::{KvShape, MAX_HEAD_DIM, STRIP},
};
use crate::{
    size::{Rows, SizeError},
    vector::{Isa, Kernel, Level},
};
use half::f16;
use std::{marker::PhantomData, slice};

/// Writes one KV head of one layer.
#[derive(Debug)]
pub struct HeadWriter<'a> {
    /// The layer's first key.
    keys: *mut f16,
    /// The layer's first value.
    values: *mut f16,
    head: usize,
    shape: KvShape,
    borrow: PhantomData<&'a mut [f16]>,
}

// SAFETY: a writer is an exclusive borrow of its head's part of each block, and no two writers
// have the same head.
unsafe impl Send for HeadWriter<'_> {}

impl<'a> HeadWriter<'a> {
    /// A writer for each head of a layer with all blocks of `shape`.
    pub(super) fn all(keys: &'a mut [f16], values: &'a mut [f16], shape: KvShape) -> Vec<Self> {
        debug_assert_eq!(keys.len(), shape.keys_len());
        debug_assert_eq!(values.len(), shape.keys_len());
        let (keys, values) = (keys.as_mut_ptr(), values.as_mut_ptr());
        (0..shape.kv_heads)
            .map(|head| Self {
                keys,
                values,
                head,
                shape,
                borrow: PhantomData,
            })
            .collect()
    }

    /// Writes this head of each row of `keys` and `values` at the row's position. Rows hold all KV
    /// heads. Numbers beyond f16 are clamped.
    pub fn write(
        &mut self,
        level: Level,
        batch: &Batch<'_>,
        keys: Rows<'_>,
        values: Rows<'_>,
    ) -> Result<(), AttentionError> {
        batch.check_fits(&self.shape)?;
        let width = self.shape.kv_heads * self.shape.head_dim;
        for rows in [&keys, &values] {
            SizeError::check("width of keys and values", width, rows.width())?;
            SizeError::check("rows of keys and values", batch.rows(), rows.len())?;
        }
        level.run(Write {
            writer: self,
            batch,
            keys,
            values,
        });
        Ok(())
    }

    /// This head's keys and values of a block of the cache.
    fn block(&mut self, block: usize) -> (&mut [f16], &mut [f16]) {
        debug_assert!(block < self.shape.blocks);
        let len = self.shape.head_len();
        let at = (block * self.shape.kv_heads + self.head) * len;
        // SAFETY: the layer has all blocks and heads of the shape, and the batch was checked to
        // name no others; no other writer touches this head's parts, and the two are apart.
        unsafe {
            (
                slice::from_raw_parts_mut(self.keys.add(at), len),
                slice::from_raw_parts_mut(self.values.add(at), len),
            )
        }
    }
}

struct Write<'a, 'b> {
    writer: &'a mut HeadWriter<'b>,
    batch: &'a Batch<'a>,
    keys: Rows<'a>,
    values: Rows<'a>,
}

impl Kernel for Write<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let dim = self.writer.shape.head_dim;
        let columns = self.writer.head * dim..(self.writer.head + 1) * dim;
        let mut halves = [f16::ZERO; MAX_HEAD_DIM];
        for (first_row, sequence) in self.batch.sequences() {
            for row in 0..sequence.rows {
                let position = sequence.position + row;
                let block = sequence.blocks[position / BLOCK] as usize;
                let place = position % BLOCK;
                let (keys, values) = self.writer.block(block);
                let row = first_row + row;
                narrow(isa, &self.keys.row(row)[columns.clone()], &mut halves);
                for (key, line) in halves[..dim].iter().zip(keys.chunks_exact_mut(BLOCK)) {
                    line[place] = *key;
                }
                narrow(isa, &self.values.row(row)[columns.clone()], &mut halves);
                let strips = halves[..dim].chunks(STRIP);
                for (strip, to) in strips.zip(values.chunks_exact_mut(STRIP * BLOCK)) {
                    to[place * STRIP..][..strip.len()].copy_from_slice(strip);
                }
            }
        }
    }
}

/// Rounds `from`, a multiple of 8 values, to finite f16.
#[inline(always)]
fn narrow<I: Isa>(isa: I, from: &[f32], to: &mut [f16; MAX_HEAD_DIM]) {
    let count = from.len().min(to.len());
    let whole = count - count % I::LANES;
    for at in (0..whole).step_by(I::LANES) {
        // SAFETY: both have `LANES` values from `at`.
        unsafe {
            let value = isa.load(from.as_ptr().add(at));
            isa.store_half(to.as_mut_ptr().add(at), clamp(isa, value));
        }
    }
    if whole < count {
        // SAFETY: fewer than `LANES` values are left to read, and `to` is a whole number of vectors
        // long.
        unsafe {
            let value = isa.load_first(from.as_ptr().add(whole), count - whole);
            isa.store_half(to.as_mut_ptr().add(whole), clamp(isa, value));
        }
    }
}

/// Within the finite numbers of f16; NaN becomes one of them.
#[inline(always)]
fn clamp<I: Isa>(isa: I, value: I::Vector) -> I::Vector {
    const LARGEST: f32 = f16::MAX.to_f32_const();
    isa.min(isa.max(value, isa.splat(-LARGEST)), isa.splat(LARGEST))
}
