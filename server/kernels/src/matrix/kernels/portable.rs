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
use half::{bf16, f16};

pub(super) static TABLE: Table = Table {
    tallest: 4,
    streams: |_, _| 1,
    product,
    prepare,
    gate: activation::gate,
    prompts: |_| None,
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
    let quants = by_lane(&unpack::quants::<L>(group, block));
    let halves = if L::SCALES == Scales::Halves { 2 } else { 1 };
    let (inputs, rest) = record.split_at(ROWS * BLOCK / 4);
    let (input_scales, words) = rest.split_at(ROWS);
    let lanes = |of: &dyn Fn(usize) -> f32| std::array::from_fn::<f32, LANES, _>(of);
    let minima = lanes(&|lane| unpack::minimum::<L>(group, block, lane));
    for half in 0..halves {
        let scales = lanes(&|lane| unpack::scale::<L>(group, block, half, lane));
        for (row, totals) in totals.iter_mut().enumerate() {
            let inputs = &inputs[(row * 2 + half) * BLOCK / 8..][..BLOCK / 4 / halves];
            let word = words[half * ROWS + row];
            let start = match L::OFFSET {
                Offset::Constant(_) => word.cast_signed(),
                Offset::Added | Offset::Subtracted => 0,
            };
            let dots = dot_products(start, &quants, half * BLOCK / 2, inputs);
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

/// The quants of a block row by row, which is what compilers make vectors of.
fn by_lane(quants: &[u8; BLOCK * LANES]) -> [[i16; BLOCK]; LANES] {
    let mut lanes = [[0; BLOCK]; LANES];
    for (four, line) in quants.chunks_exact(4 * LANES).enumerate() {
        for (lane, quants) in lanes.iter_mut().zip(line.as_chunks::<4>().0) {
            for (target, quant) in lane[four * 4..four * 4 + 4].iter_mut().zip(quants) {
                *target = i16::from(*quant);
            }
        }
    }
    lanes
}

/// The products of as many columns of a block as the input has, from one on.
///
/// That number is not made known to the compiler: it would unroll the loop, and then find no
/// vectors in it.
fn dot_products(
    start: i32,
    lanes: &[[i16; BLOCK]; LANES],
    column: usize,
    inputs: &[u32],
) -> [i32; LANES] {
    let mut input = [0_i16; BLOCK];
    for (four, word) in input.as_chunks_mut::<4>().0.iter_mut().zip(inputs) {
        *four = word.to_ne_bytes().map(|byte| i16::from(byte.cast_signed()));
    }
    let input = &input[..inputs.len() * 4];
    lanes.each_ref().map(|quants| {
        let products = quants[column..]
            .iter()
            .zip(input)
            .map(|(quant, input)| i32::from(*quant) * i32::from(*input));
        start + products.sum::<i32>()
    })
}

/// A float format's column of a tile.
trait Column {
    const BYTES: usize;

    fn value(bytes: &[u8]) -> f32;
}

struct F32;
struct F16;
struct BF16;

impl Column for F32 {
    const BYTES: usize = 4;

    fn value(bytes: &[u8]) -> f32 {
        f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

impl Column for F16 {
    const BYTES: usize = 2;

    fn value(bytes: &[u8]) -> f32 {
        f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }
}

impl Column for BF16 {
    const BYTES: usize = 2;

    fn value(bytes: &[u8]) -> f32 {
        bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
    }
}

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
    let width = C::BYTES * LANES;
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
            for (weight, bytes) in weights.iter_mut().zip(column.chunks_exact(C::BYTES)) {
                *weight = C::value(bytes);
            }
            for (totals, input) in totals.iter_mut().zip(inputs) {
                for (total, weight) in totals.iter_mut().zip(weights) {
                    *total += weight * f32::from_bits(*input);
                }
            }
        }
        sums.copy_from_slice(&totals);
    }
}
