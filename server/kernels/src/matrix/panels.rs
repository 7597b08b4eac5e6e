//! The input of a product, in the form the kernels read.
//!
//! Rows are grouped into panels of up to as many as a kernel takes at once. A panel is a run of
//! records that the kernel reads from front to back beside the tiles. For a quantised matrix a
//! record has 32 columns of each row: the quants (int8), then the scales (f32), then one word or
//! two (see [`Layout::WORDS`]). For a float matrix it has one column of each row.
use super::{
    Matrix,
    kernels::{Line, PANEL_ROWS, Prompts, Table},
    layout::{BLOCK, Geometry, LANES, Layout, Offset},
};
use crate::{pool::Pool, vector::Level};

/// From so many values on, several threads quantise a panel.
const SHARED_FROM: usize = 16_384;

/// Rows that are multiplied with a matrix.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    values: &'a [f32],
    prompts_from: usize,
}

impl<'a> Input<'a> {
    /// Rows one after the other, each as wide as the matrix.
    pub fn new(values: &'a [f32]) -> Self {
        Self {
            values,
            prompts_from: usize::MAX,
        }
    }

    /// That the rows from `row` on are of prompts, of which there are mostly many. Some levels
    /// multiply them in another way, which is faster for many and gives other bits.
    #[must_use]
    pub fn with_prompts_from(self, row: usize) -> Self {
        Self {
            prompts_from: row,
            ..self
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Memory for the inputs of products, kept from one to the next, and the level that reads it.
#[derive(Debug, Default)]
pub struct Workspace {
    level: Level,
    words: Vec<u32>,
    lines: Vec<Line>,
    sums: Vec<[f32; LANES]>,
}

impl Workspace {
    /// An empty workspace; it grows with use.
    pub fn new(level: Level) -> Self {
        Self {
            level,
            words: Vec::new(),
            lines: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// The level of products with this workspace.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Brings an input of whole rows into panels. Sums of any number may be kept beside them.
    pub(super) fn prepare<'a>(
        &'a mut self,
        pool: &Pool,
        table: &Table,
        matrix: &Matrix,
        input: Input<'_>,
    ) -> (Panels<'a>, &'a mut Vec<[f32; LANES]>) {
        let columns = matrix.columns;
        let prompts = (table.prompts)(matrix.format)
            .filter(|_| input.prompts_from.saturating_mul(columns) < input.values.len());
        let few = prompts.map_or(input.values.len(), |_| input.prompts_from * columns);
        let (few, many) = input.values.split_at(few);
        self.quantise(pool, table, matrix, few);
        if let Some(prompts) = &prompts {
            self.round(pool, prompts, matrix, many);
        }
        let panels = Panels {
            rows: few.len() / columns,
            words: &self.words,
            words_of_row: matrix.groups * Geometry::of(matrix.format).input_words,
            prompts,
            prompt_rows: many.len() / columns,
            lines: &self.lines,
            lines_of_panel: lines_of_panel(matrix),
        };
        (panels, &mut self.sums)
    }

    /// Panels of prompts' rows.
    fn round(&mut self, pool: &Pool, prompts: &Prompts, matrix: &Matrix, rows: &[f32]) {
        let (columns, lines) = (matrix.columns, lines_of_panel(matrix));
        let panels = (rows.len() / columns).div_ceil(PANEL_ROWS);
        self.lines.resize(panels * lines, Line::ZERO);
        pool.for_chunks(&mut self.lines, lines, |panel, lines| {
            let rows = &rows[panel * PANEL_ROWS * columns..];
            let rows = &rows[..rows.len().min(PANEL_ROWS * columns)];
            // SAFETY: the table belongs to `self.level`, which exists only on machines that have
            // its instructions.
            unsafe { (prompts.prepare)(rows, columns, lines) };
        });
    }

    /// Panels of all other rows.
    fn quantise(&mut self, pool: &Pool, table: &Table, matrix: &Matrix, input: &[f32]) {
        let columns = matrix.columns;
        let geometry = Geometry::of(matrix.format);
        let words_of_row = matrix.groups * geometry.input_words;
        let rows = input.len() / columns;
        // Every word is written below, so what is left from the last product may stay.
        self.words.resize(rows * words_of_row, 0);
        let prepare = (table.prepare)(matrix.format);
        // Many rows are shared out by panels, a few by columns.
        let whole = rows - rows % table.tallest;
        let shared = if whole > table.tallest { whole } else { 0 };
        let (panels, rest) = self.words.split_at_mut(shared * words_of_row);
        if shared > 0 {
            pool.for_chunks(panels, table.tallest * words_of_row, |panel, words| {
                let values = &input[panel * table.tallest * columns..][..table.tallest * columns];
                // SAFETY: the table belongs to `self.level`, which exists only on machines that have
                // its instructions, here and below.
                unsafe { prepare(values, columns, 0, words) };
            });
        }
        for (first, height) in heights(shared..rows, table.tallest) {
            let panel = &mut rest[(first - shared) * words_of_row..][..height * words_of_row];
            let rows = &input[first * columns..(first + height) * columns];
            let groups = if rows.len() >= SHARED_FROM {
                matrix.groups.div_ceil(4 * pool.threads())
            } else {
                matrix.groups
            };
            let work = |index: usize, words: &mut [u32]| {
                // SAFETY: as above.
                unsafe { prepare(rows, columns, index * groups, words) };
            };
            if groups == matrix.groups {
                work(0, panel);
            } else {
                pool.for_chunks(panel, groups * height * geometry.input_words, work);
            }
        }
    }
}

/// Lines that a panel of prompts has.
fn lines_of_panel(matrix: &Matrix) -> usize {
    let blocks = matrix.groups * Geometry::of(matrix.format).group_columns / BLOCK;
    blocks * PANEL_ROWS
}

/// A prepared input: rows one by one, and then rows of prompts.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a> {
    pub(super) rows: usize,
    words: &'a [u32],
    words_of_row: usize,
    /// What multiplies the rows of prompts.
    pub(super) prompts: Option<Prompts>,
    pub(super) prompt_rows: usize,
    lines: &'a [Line],
    lines_of_panel: usize,
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

    /// Panels of prompts: that of one of their rows, and those after it.
    pub(super) fn of_prompts(&self, row: usize) -> &[Line] {
        &self.lines[row / PANEL_ROWS * self.lines_of_panel..]
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
