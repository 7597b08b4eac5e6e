//! The kernels in NEON with dot products: four registers are a tile's sixteen rows, and one
//! instruction multiplies four columns of four rows with four int8 inputs.
//!
//! A block is multiplied a quarter of the tile after the other, so that four rows of input have all
//! of their sums in registers.
#![allow(clippy::wildcard_imports)] // There are too many intrinsics to name.
#![allow(clippy::needless_range_loop)] // What is indexed by constants stays in registers.
mod floats;

use super::{Prepare, Product, Table};
use crate::{
    format::Format,
    matrix::{
        activation,
        layout::{BLOCK, Bits, LANES, Layout, Offset, Scales, with_layout},
        panels,
    },
    vector::neon::{dot, halves},
};
use floats::{BF16, F16, F32, floats};
use std::arch::aarch64::*;

pub(super) static TABLE: Table = Table {
    tallest: 4,
    streams: |_, _| 1,
    product,
    prepare,
    gate: activation::gate,
    prompts: |_| None,
};

/// Lanes of a register.
const QUARTER: usize = LANES / 4;

/// Sums of a tile's sixteen rows, for each row of input.
type Totals<const ROWS: usize> = [[float32x4_t; 4]; ROWS];

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
#[target_feature(enable = "dotprod")]
unsafe fn integers<L: Layout, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    let record = ROWS * (BLOCK / 4 + 1 + L::WORDS);
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(ROWS)) {
        let (mut group, mut input) = (*tile, panel);
        let mut totals = [[vdupq_n_f32(0.0); 4]; ROWS];
        for _ in 0..groups {
            for block in 0..L::BLOCKS {
                // SAFETY: tiles and panel have as many groups as this function's contract says.
                unsafe {
                    add_quarter::<L, 0, ROWS>(group, block, input, &mut totals);
                    add_quarter::<L, 1, ROWS>(group, block, input, &mut totals);
                    add_quarter::<L, 2, ROWS>(group, block, input, &mut totals);
                    add_quarter::<L, 3, ROWS>(group, block, input, &mut totals);
                }
                input = input.wrapping_add(record);
            }
            group = group.wrapping_add(L::GROUP_BYTES);
        }
        store(&totals, sums);
    }
}

/// Adds the products of one block with the AT-th four rows of the tile.
///
/// Inlined whatever its size, since otherwise totals would travel through memory. The compiler
/// allows that only without a feature list of its own; the caller's is what counts.
///
/// # Safety
/// The machine must have dot products. The group must be whole; `input` must be a record of the
/// panel.
#[inline(always)]
#[allow(clippy::inline_always)]
unsafe fn add_quarter<L: Layout, const AT: usize, const ROWS: usize>(
    group: *const u8,
    block: usize,
    input: *const u32,
    totals: &mut Totals<ROWS>,
) {
    // SAFETY: all offsets lie within the group and the record, by their layouts.
    unsafe {
        let quants = group.add(L::QUANTS_AT + block * L::BLOCK_BYTES + AT * 4 * QUARTER);
        let input_scales = input.add(ROWS * BLOCK / 4).cast::<f32>();
        let words = input.add(ROWS * (BLOCK / 4 + 1));
        let mut dots = starts::<L, ROWS>(words);
        add_sixteen_columns::<L, 0, ROWS>(quants, input, &mut dots);
        if L::SCALES == Scales::Halves {
            let scale = scale::<L, AT>(group, 2 * block);
            add_scaled::<AT, ROWS>(&dots, scale, input_scales, totals);
            dots = starts::<L, ROWS>(words.add(ROWS));
        }
        add_sixteen_columns::<L, 1, ROWS>(quants, input, &mut dots);
        let scale = match L::SCALES {
            Scales::Block | Scales::Group => scale::<L, AT>(group, block),
            Scales::Halves => scale::<L, AT>(group, 2 * block + 1),
        };
        add_scaled::<AT, ROWS>(&dots, scale, input_scales, totals);
        add_minima::<L, AT, ROWS>(group, block, words.cast(), totals);
    }
}

/// What the integer products start from.
///
/// # Safety
/// There must be a word for each row.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn starts<L: Layout, const ROWS: usize>(words: *const u32) -> [int32x4_t; ROWS] {
    let mut starts = [vdupq_n_s32(0); ROWS];
    // Eight bits are multiplied as what they are, so nothing has to be taken off.
    if matches!(L::OFFSET, Offset::Constant(_)) && L::BITS != Bits::Eight {
        for (row, start) in starts.iter_mut().enumerate() {
            // SAFETY: by this function's own contract.
            *start = vdupq_n_s32(unsafe { *words.add(row).cast() });
        }
    }
    starts
}

/// Adds the products of the HALF-th sixteen columns of a block.
///
/// # Safety
/// `quants` must be a block's, moved to the first lane; `input` a record's.
#[target_feature(enable = "dotprod")]
#[inline]
unsafe fn add_sixteen_columns<L: Layout, const HALF: usize, const ROWS: usize>(
    quants: *const u8,
    input: *const u32,
    dots: &mut [int32x4_t; ROWS],
) {
    // SAFETY: by this function's own contract.
    unsafe {
        let [a, b] = lines::<L>(quants, 2 * HALF);
        let [c, d] = lines::<L>(quants, 2 * HALF + 1);
        for row in 0..ROWS {
            let input = vld1q_s8(input.add(row * BLOCK / 4 + 4 * HALF).cast());
            dots[row] = dot::<0>(dots[row], a, input);
            dots[row] = dot::<1>(dots[row], b, input);
            dots[row] = dot::<2>(dots[row], c, input);
            dots[row] = dot::<3>(dots[row], d, input);
        }
    }
}

/// Two quarter lines of four columns, as bytes: of the `eighth`-th eight columns. Eight-bit weights
/// have their sign.
///
/// # Safety
/// `quants` must be a block's, moved to the first lane.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn lines<L: Layout>(quants: *const u8, eighth: usize) -> [int8x16_t; 2] {
    // SAFETY: by this function's own contract.
    let line = |index: usize| unsafe { vld1q_u8(quants.add(index * 4 * LANES)) };
    if L::BITS == Bits::Eight {
        return [2 * eighth, 2 * eighth + 1]
            .map(|index| vreinterpretq_s8_u8(veorq_u8(line(index), vdupq_n_u8(0x80))));
    }
    let together = line(eighth);
    let low = |bits: u8| vandq_u8(together, vdupq_n_u8(bits));
    // The second line's upper bits are moved to their places from wherever this eighth has them.
    let lines = match L::BITS {
        Bits::Four | Bits::Eight => [low(0x0F), vshrq_n_u8::<4>(together)],
        Bits::Five => {
            let high = line(4);
            let high = match eighth {
                0 => vshlq_n_u8::<3>(high),
                1 => vshlq_n_u8::<1>(high),
                2 => vshrq_n_u8::<1>(high),
                _ => vshrq_n_u8::<3>(high),
            };
            let high = vandq_u8(high, vdupq_n_u8(0x18));
            [low(0x1F), vorrq_u8(vshrq_n_u8::<5>(together), high)]
        }
        Bits::Six => {
            let high = line(4 + eighth / 2);
            let high = match eighth {
                0 | 2 => vshlq_n_u8::<2>(high),
                _ => vshrq_n_u8::<2>(high),
            };
            let high = vandq_u8(high, vdupq_n_u8(0x3C));
            [low(0x3F), vorrq_u8(vshrq_n_u8::<6>(together), high)]
        }
    };
    lines.map(|line| vreinterpretq_s8_u8(line))
}

/// The scales of a block, or of a half block if these have their own, for a quarter of the tile.
///
/// # Safety
/// The group must be whole.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn scale<L: Layout, const AT: usize>(group: *const u8, index: usize) -> float32x4_t {
    // SAFETY: by this function's own contract.
    unsafe {
        if L::SCALES == Scales::Block {
            return halves(group.add(L::SCALES_AT + (index * LANES + AT * QUARTER) * 2));
        }
        let bytes = group.add(L::SCALES_AT + index * LANES + AT * QUARTER);
        let integers = if L::SCALES == Scales::Halves {
            let four = vreinterpret_s8_u32(vdup_n_u32(bytes.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(four))))
        } else {
            unsigned(bytes)
        };
        vmulq_f32(halves(group.add(AT * QUARTER * 2)), integers)
    }
}

/// Four bytes as floats.
///
/// # Safety
/// They must be there.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn unsigned(bytes: *const u8) -> float32x4_t {
    // SAFETY: by this function's own contract.
    let four = vreinterpret_u8_u32(vdup_n_u32(unsafe { bytes.cast::<u32>().read_unaligned() }));
    vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four))))
}

/// Adds integer products, scaled.
///
/// # Safety
/// There must be a scale for each row.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn add_scaled<const AT: usize, const ROWS: usize>(
    dots: &[int32x4_t; ROWS],
    scale: float32x4_t,
    input_scales: *const f32,
    totals: &mut Totals<ROWS>,
) {
    for (row, (dot, totals)) in dots.iter().zip(totals).enumerate() {
        // SAFETY: by this function's own contract.
        let scale = vmulq_n_f32(scale, unsafe { *input_scales.add(row) });
        totals[AT] = vfmaq_f32(totals[AT], vcvtq_f32_s32(*dot), scale);
    }
}

/// Adds a block's minima, times the sums of the input.
///
/// # Safety
/// The group must be whole, and there must be a sum for each row.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn add_minima<L: Layout, const AT: usize, const ROWS: usize>(
    group: *const u8,
    block: usize,
    input_sums: *const f32,
    totals: &mut Totals<ROWS>,
) {
    // SAFETY: by this function's own contract.
    let minima = unsafe {
        match L::OFFSET {
            Offset::Constant(_) => return,
            Offset::Added => halves(group.add(L::MINIMA_AT + (block * LANES + AT * QUARTER) * 2)),
            Offset::Subtracted => {
                let integers = unsigned(group.add(L::MINIMA_AT + block * LANES + AT * QUARTER));
                let minimum = halves(group.add(L::MINIMUM_AT + AT * QUARTER * 2));
                vnegq_f32(vmulq_f32(minimum, integers))
            }
        }
    };
    for (row, totals) in totals.iter_mut().enumerate() {
        // SAFETY: by this function's own contract.
        totals[AT] = vfmaq_n_f32(totals[AT], minima, unsafe { *input_sums.add(row) });
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn store<const ROWS: usize>(totals: &Totals<ROWS>, sums: &mut [[f32; LANES]]) {
    for (sum, totals) in sums.iter_mut().zip(totals) {
        for (four, total) in sum.chunks_exact_mut(QUARTER).zip(totals) {
            // SAFETY: four floats.
            unsafe { vst1q_f32(four.as_mut_ptr(), *total) };
        }
    }
}
