//! The input of a product, in the form the kernels read.
//!
//! Rows are grouped into panels of up to as many as a kernel takes at once. A panel is a run of
//! records that the kernel reads from front to back beside the tiles. For a quantised matrix a
//! record has 32 columns of each row: the quants (int8), then the scales (f32), then one word or
//! two (see [`Layout::WORDS`]). For a float matrix it has one column of each row.
use super::{
    Matrix,
    kernels::Table,
    layout::{BLOCK, Geometry, Layout, Offset},
};
use crate::{pool::Pool, vector::Level};

/// From so many values on, several threads quantise a panel.
const SHARED_FROM: usize = 16_384;

/// Memory for the inputs of products, kept from one to the next, and the level that reads it.
#[derive(Debug, Default)]
pub struct Workspace {
    level: Level,
    words: Vec<u32>,
}

impl Workspace {
    /// An empty workspace; it grows with use.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            words: Vec::new(),
        }
    }

    /// The level of products with this workspace.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Brings an input of whole rows into panels.
    pub(super) fn prepare<'a>(
        &'a mut self,
        pool: &Pool,
        table: &Table,
        matrix: &Matrix,
        input: &[f32],
    ) -> Panels<'a> {
        let columns = matrix.columns;
        let geometry = Geometry::of(matrix.format);
        let words_of_row = matrix.groups * geometry.input_words;
        let rows = input.len() / columns;
        // Every word is written below, so what is left from the last product may stay.
        self.words.resize(rows * words_of_row, 0);
        let prepare = (table.prepare)(matrix.format);
        for (first, height) in heights(0..rows, table.tallest) {
            let panel = &mut self.words[first * words_of_row..(first + height) * words_of_row];
            let rows = &input[first * columns..(first + height) * columns];
            let groups = if rows.len() >= SHARED_FROM {
                matrix.groups.div_ceil(4 * pool.threads())
            } else {
                matrix.groups
            };
            let work = |index: usize, words: &mut [u32]| {
                // SAFETY: the table belongs to `self.level`, which exists only on machines that have
                // its instructions.
                unsafe { prepare(rows, columns, index * groups, words) };
            };
            if groups == matrix.groups {
                work(0, panel);
            } else {
                pool.for_chunks(panel, groups * height * geometry.input_words, work);
            }
        }
        Panels {
            words: &self.words,
            words_of_row,
        }
    }
}

/// A prepared input.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    words: &'a [u32],
    words_of_row: usize,
}

impl Panels<'_> {
    /// The panel that begins with a row.
    pub(super) fn starting_at(&self, row: usize) -> &[u32] {
        &self.words[row * self.words_of_row..]
    }

    /// The memory a row takes.
    pub(super) fn bytes_of_row(&self) -> usize {
        self.words_of_row * 4
    }
}

/// Splits rows into panels: their first rows and heights, which are powers of two.
pub(super) fn heights(
    rows: std::ops::Range<usize>,
    tallest: usize,
) -> impl Iterator<Item = (usize, usize)> {
    let mut first = rows.start;
    std::iter::from_fn(move || {
        let height = tallest.min(1 << (rows.end - first).checked_ilog2()?);
        first += height;
        Some((first - height, height))
    })
}

/// Writes records of a quantised matrix's panel: those of the groups from `first_group` on, for
/// all of `rows`.
///
/// Always inlined, so that each instruction set compiles it for itself. The results are the same:
/// there is nothing here that one could round and another not.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(super) fn quantise<L: Layout>(
    rows: &[f32],
    columns: usize,
    first_group: usize,
    words: &mut [u32],
) {
    let height = rows.len() / columns;
    let record = height * (BLOCK / 4 + 1 + L::WORDS);
    let first_block = first_group * L::BLOCKS;
    for (index, record) in words.chunks_exact_mut(record).enumerate() {
        let column = (first_block + index) * BLOCK;
        let (quants, rest) = record.split_at_mut(height * BLOCK / 4);
        let (scales, rest) = rest.split_at_mut(height);
        let rows = rows.chunks_exact(columns);
        let targets = quants.chunks_exact_mut(BLOCK / 4).zip(scales);
        for (row, (values, (quants, scale))) in rows.zip(targets).enumerate() {
            // A group may reach beyond the last column. (Not `map_or`: what is called through
            // other functions is not compiled for the caller's instruction set.)
            let block = match values.get(column..column + BLOCK) {
                Some(values) => QuantisedBlock::of(values),
                None => QuantisedBlock::of(&[0.0; BLOCK]),
            };
            for (word, four) in quants.iter_mut().zip(block.quants.as_chunks().0) {
                *word = u32::from_ne_bytes(*four);
            }
            *scale = block.scale.to_bits();
            let [first, second] = block.sums;
            match L::OFFSET {
                Offset::Constant(offset) if L::WORDS == 2 => {
                    rest[row] = (-offset * first).cast_unsigned();
                    rest[height + row] = (-offset * second).cast_unsigned();
                }
                Offset::Constant(offset) => {
                    rest[row] = (-offset * (first + second)).cast_unsigned();
                }
                Offset::Added | Offset::Subtracted => {
                    rest[row] = (block.scale * (first + second) as f32).to_bits();
                }
            }
        }
    }
}

/// Writes records of a float matrix's panel.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(super) fn interleave(rows: &[f32], columns: usize, first_column: usize, words: &mut [u32]) {
    let height = rows.len() / columns;
    for (index, record) in words.chunks_exact_mut(height).enumerate() {
        let values = rows.iter().skip(first_column + index).step_by(columns);
        for (word, value) in record.iter_mut().zip(values) {
            *word = value.to_bits();
        }
    }
}

/// 32 values as int8 with a scale.
struct QuantisedBlock {
    quants: [u8; BLOCK],
    scale: f32,
    /// Of the quants of each half.
    sums: [i32; 2],
}

impl QuantisedBlock {
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn of(values: &[f32]) -> Self {
        // Adding it rounds to the nearest integer, ties to even, on every machine.
        const ROUND: f32 = 12_582_912.0;
        let mut block = [0.0; BLOCK];
        block.copy_from_slice(values);
        // The bits of non-negative floats are ordered like the floats, and those of infinities
        // and NaNs lie above, so bad values reach the scale and from there the output.
        let mut largest = 0;
        for value in &block {
            largest = largest.max(value.to_bits() & 0x7FFF_FFFF);
        }
        let largest = f32::from_bits(largest);
        // Values too small to be divided by count as zero.
        let (scale, inverse) = if largest < 1e-35 {
            (0.0, 0.0)
        } else {
            (largest / 127.0, 127.0 / largest)
        };
        let mut integers = [0_i32; BLOCK];
        for (integer, value) in integers.iter_mut().zip(&block) {
            let shifted = (value * inverse + ROUND).to_bits();
            *integer = shifted.wrapping_sub(ROUND.to_bits()).cast_signed();
        }
        let mut quants = [0; BLOCK];
        for (quant, integer) in quants.iter_mut().zip(&integers) {
            *quant = integer.to_le_bytes()[0];
        }
        let (first, second) = integers.split_at(BLOCK / 2);
        let sums = [first, second].map(sum);
        Self {
            quants,
            scale,
            sums,
        }
    }
}

/// The sum of half a block, in halving steps: added up one by one, the values would be taken out of
/// their vectors one by one. It may wrap, since a NaN's integer may be anything.
#[inline(always)]
#[allow(clippy::inline_always)]
fn sum(integers: &[i32]) -> i32 {
    let mut sums = [0_i32; BLOCK / 2];
    sums.copy_from_slice(integers);
    let mut count = BLOCK / 4;
    while count > 0 {
        for index in 0..count {
            sums[index] = sums[index].wrapping_add(sums[index + count]);
        }
        count /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_rows_and_shrink() {
        let of = |rows| heights(0..rows, 8).collect::<Vec<_>>();
        assert_eq!(of(0), []);
        assert_eq!(of(1), [(0, 1)]);
        assert_eq!(of(7), [(0, 4), (4, 2), (6, 1)]);
        assert_eq!(of(19), [(0, 8), (8, 8), (16, 2), (18, 1)]);
    }

    #[test]
    fn a_block_is_off_by_half_a_step_at_most() {
        for magnitude in [1e-30_f32, 1e-3, 1.0, 300.0, 3e38] {
            let mut values = [0.0; BLOCK];
            for (index, value) in values.iter_mut().enumerate() {
                *value = magnitude * (index as f32 * 0.7).sin();
            }
            let block = QuantisedBlock::of(&values);
            let quants = block.quants.map(u8::cast_signed);
            for (value, quant) in values.iter().zip(quants) {
                assert!((value - block.scale * f32::from(quant)).abs() <= block.scale * 0.50001);
            }
            let sum = |half: &[i8]| half.iter().map(|quant| i32::from(*quant)).sum::<i32>();
            assert_eq!(block.sums, [sum(&quants[..16]), sum(&quants[16..])]);
        }
    }

    #[test]
    fn zeros_and_what_is_as_good_as_zero_give_zeros() {
        for value in [0.0, -0.0, 1e-38, 1e-45] {
            let block = QuantisedBlock::of(&[value; BLOCK]);
            assert_eq!((block.quants, block.scale), ([0; BLOCK], 0.0));
        }
    }
}
