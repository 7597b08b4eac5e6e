//! The kernels in plain Rust: for machines without others, and the measure for those.
use super::{Prepare, Product, Table};
use crate::{
    format::Format,
    matrix::{
        activation,
        layout::{BLOCK, LANES, Layout, Offset, Scales, with_layout},
        panels, unpack,
    },
};

pub(super) static TABLE: Table = Table {
    tallest: 4,
    streams: |_, _| 1,
    product,
    prepare,
    gate: activation::gate,
};

fn prepare(format: Format) -> Prepare {
    with_layout!(format, L => panels::quantise::<L>, panels::interleave)
}

fn product(format: Format, _: usize, rows: usize) -> Product {
    match rows {
        1 => product_of_rows::<1>(format),
        2 => product_of_rows::<2>(format),
        _ => product_of_rows::<4>(format),
    }
}

fn product_of_rows<const ROWS: usize>(format: Format) -> Product {
    match format {
        Format::F32 => floats::<F32, ROWS>,
        Format::F16 => floats::<F16, ROWS>,
        Format::BF16 => floats::<BF16, ROWS>,
        _ => with_layout!(format, L => integers::<L, ROWS>, floats::<F32, ROWS>),
    }
}

/// Tiles of integers.
///
/// # Safety
/// As [`Product`] says.
unsafe fn integers<L: Layout, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    let record = ROWS * (BLOCK / 4 + 1 + L::WORDS);
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(ROWS)) {
        // SAFETY: tiles and panel are as long as this function's contract says.
        let (tile, panel) = unsafe {
            (
                std::slice::from_raw_parts(*tile, groups * L::GROUP_BYTES),
                std::slice::from_raw_parts(panel, groups * L::BLOCKS * record),
            )
        };
        let mut totals = [[0.0; LANES]; ROWS];
        let records = panel.chunks_exact(L::BLOCKS * record);
        for (group, records) in tile.chunks_exact(L::GROUP_BYTES).zip(records) {
            for (block, record) in records.chunks_exact(record).enumerate() {
                add_block::<L, ROWS>(group, block, record, &mut totals);
            }
        }
        sums.copy_from_slice(&totals);
    }
}

/// Adds the products of one block.
fn add_block<L: Layout, const ROWS: usize>(
    group: &[u8],
    block: usize,
    record: &[u32],
    totals: &mut [[f32; LANES]; ROWS],
) {
    let quants = unpack::quants::<L>(group, block);
    let halves = if L::SCALES == Scales::Halves { 2 } else { 1 };
    let (inputs, rest) = record.split_at(ROWS * BLOCK / 4);
    let (input_scales, words) = rest.split_at(ROWS);
    let lanes = |of: &dyn Fn(usize) -> f32| std::array::from_fn::<f32, LANES, _>(of);
    let minima = lanes(&|lane| unpack::minimum::<L>(group, block, lane));
    for half in 0..halves {
        let scales = lanes(&|lane| unpack::scale::<L>(group, block, half, lane));
        let quants = &quants[half * BLOCK / 2 * LANES..][..BLOCK * LANES / halves];
        for (row, totals) in totals.iter_mut().enumerate() {
            let inputs = &inputs[(row * 2 + half) * BLOCK / 8..][..BLOCK / 4 / halves];
            let word = words[half * ROWS + row];
            let start = match L::OFFSET {
                Offset::Constant(_) => word.cast_signed(),
                Offset::Added | Offset::Subtracted => 0,
            };
            let dots = dot_products(start, quants, inputs);
            let input_scale = f32::from_bits(input_scales[row]);
            for lane in 0..LANES {
                // An integer of at most 24 bits.
                totals[lane] += dots[lane] as f32 * (scales[lane] * input_scale);
            }
            if L::OFFSET == Offset::Added || L::OFFSET == Offset::Subtracted {
                for (total, minimum) in totals.iter_mut().zip(&minima) {
                    *total += minimum * f32::from_bits(word);
                }
            }
        }
    }
}

/// The products of lines of four columns with the same columns of an input.
fn dot_products(start: i32, lines: &[u8], inputs: &[u32]) -> [i32; LANES] {
    let mut dots = [start; LANES];
    for (line, input) in lines.chunks_exact(4 * LANES).zip(inputs) {
        let input = input
            .to_ne_bytes()
            .map(|byte| i32::from(byte.cast_signed()));
        for (dot, quants) in dots.iter_mut().zip(line.as_chunks::<4>().0) {
            for (quant, input) in quants.iter().zip(input) {
                *dot += i32::from(*quant) * input;
            }
        }
    }
    dots
}

/// A float format's column of a tile.
trait Column {
    const FORMAT: Format;
}

macro_rules! columns {
    ($($name:ident)*) => { $(
        struct $name;
        impl Column for $name {
            const FORMAT: Format = Format::$name;
        }
    )* };
}
columns! { F32 F16 BF16 }

/// Tiles of floats.
///
/// # Safety
/// As [`Product`] says.
unsafe fn floats<C: Column, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    let width = C::FORMAT.block_bytes() * LANES;
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(ROWS)) {
        // SAFETY: tiles and panel are as long as this function's contract says.
        let (tile, panel) = unsafe {
            (
                std::slice::from_raw_parts(*tile, groups * width),
                std::slice::from_raw_parts(panel, groups * ROWS),
            )
        };
        let mut totals = [[0.0; LANES]; ROWS];
        for (column, inputs) in tile.chunks_exact(width).zip(panel.chunks_exact(ROWS)) {
            let mut weights = [0.0; LANES];
            C::FORMAT.dequantise(column, &mut weights);
            for (totals, input) in totals.iter_mut().zip(inputs) {
                for (total, weight) in totals.iter_mut().zip(weights) {
                    *total += weight * f32::from_bits(*input);
                }
            }
        }
        sums.copy_from_slice(&totals);
    }
}
