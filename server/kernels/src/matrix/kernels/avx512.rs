//! The kernels in AVX-512 with VNNI: a register is a tile's sixteen rows, and one instruction
//! multiplies four columns of each with four int8 inputs.
//!
//! Pointers are unaligned throughout: tiles do lie on cache lines, but nothing here depends on it.
#![allow(clippy::wildcard_imports)] // There are too many intrinsics to name.
#![allow(clippy::needless_range_loop)] // What is indexed by constants stays in registers.
mod floats;

use super::{Prepare, Product, Table};
use crate::{
    format::Format,
    matrix::{
        activation::{self, Activation},
        layout::{BLOCK, Bits, LANES, Layout, Offset, Scales, with_layout},
        panels,
    },
};
use floats::{BF16, F16, F32, floats};
use std::arch::x86_64::*;

pub(super) static TABLE: Table = Table {
    tallest: 8,
    streams,
    product,
    prepare,
    gate,
    prompts: |_| None,
};

/// Few rows wait for memory, which serves several streams faster than one. Unpacking four or five
/// bits takes as long as reading them, and is faster one tile at a time. Measured on Zen 4, where
/// the difference is a tenth or two.
fn streams(format: Format, rows: usize) -> usize {
    match (format, rows) {
        (Format::Q4_0 | Format::Q4_1 | Format::Q4_K | Format::Q5_K, 8) => 4,
        (
            Format::Q4_0 | Format::Q4_1 | Format::Q5_0 | Format::Q5_1 | Format::Q4_K | Format::Q5_K,
            _,
        ) => 1,
        (_, 1..=8) => 4,
        _ => 1,
    }
}

fn product(format: Format, streams: usize, rows: usize) -> Product {
    match (streams, rows) {
        (4, 1) => product_of::<4, 1>(format),
        (4, 2) => product_of::<4, 2>(format),
        (4, 4) => product_of::<4, 4>(format),
        (4, _) => product_of::<4, 8>(format),
        (_, 1) => product_of::<1, 1>(format),
        (_, 2) => product_of::<1, 2>(format),
        (_, 4) => product_of::<1, 4>(format),
        _ => product_of::<1, 8>(format),
    }
}

fn product_of<const STREAMS: usize, const ROWS: usize>(format: Format) -> Product {
    match format {
        Format::F32 => floats::<F32, STREAMS, ROWS>,
        Format::F16 => floats::<F16, STREAMS, ROWS>,
        Format::BF16 => floats::<BF16, STREAMS, ROWS>,
        _ => with_layout!(
            format,
            L => integers::<L, STREAMS, ROWS>,
            floats::<F32, STREAMS, ROWS>
        ),
    }
}

fn prepare(format: Format) -> Prepare {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn quantise<L: Layout>(rows: &[f32], columns: usize, first_group: usize, words: &mut [u32]) {
        panels::quantise::<L>(rows, columns, first_group, words);
    }
    with_layout!(format, L => quantise::<L>, panels::interleave)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn gate(activation: Activation, gates: &mut [[f32; LANES]], values: &[[f32; LANES]]) {
    activation::gate(activation, gates, values);
}

/// Blocks that are multiplied of one stream before the next one's turn; divides those of a group.
const TURN: usize = 2;

/// Tiles of integers.
///
/// # Safety
/// As [`Product`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn integers<L: Layout, const STREAMS: usize, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    mut panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    const { assert!(L::BLOCKS.is_multiple_of(TURN)) };
    let record = ROWS * (BLOCK / 4 + 1 + L::WORDS);
    let mut at = [std::ptr::null(); STREAMS];
    at.copy_from_slice(tiles);
    let mut totals = [[_mm512_setzero_ps(); ROWS]; STREAMS];
    for _ in 0..groups {
        // A few lines of each stream in turn, so that as many are fetched at once as there are.
        for first in (0..L::BLOCKS).step_by(TURN) {
            // By constant numbers, so that all totals stay in registers.
            macro_rules! add_turns {
                ($($stream:literal)*) => { $(
                    if $stream < STREAMS {
                        for block in first..first + TURN {
                            let totals = &mut totals[$stream];
                            // SAFETY: tiles and panel have as many groups as this function's
                            // contract says, and groups whole turns.
                            unsafe {
                                let input = panel.add(block * record);
                                add_block::<L, ROWS>(at[$stream], block, input, totals);
                            }
                        }
                    }
                )* };
            }
            add_turns!(0 1 2 3);
        }
        for at in &mut at {
            *at = at.wrapping_add(L::GROUP_BYTES);
        }
        panel = panel.wrapping_add(L::BLOCKS * record);
    }
    store(totals, sums);
}

/// Adds the products of one block.
///
/// Inlined whatever its size, since otherwise totals would travel through memory. The compiler
/// allows that only without a feature list of its own; the caller's is what counts.
///
/// # Safety
/// The group must be whole; `input` must be a record of the panel.
#[inline(always)]
#[allow(clippy::inline_always)]
unsafe fn add_block<L: Layout, const ROWS: usize>(
    group: *const u8,
    block: usize,
    input: *const u32,
    totals: &mut [__m512; ROWS],
) {
    // SAFETY: all offsets lie within the group and the record, by their layouts.
    unsafe {
        let quants = group.add(L::QUANTS_AT + block * L::BLOCK_BYTES);
        let input_scales = input.add(ROWS * BLOCK / 4).cast::<f32>();
        let words = input.add(ROWS * (BLOCK / 4 + 1));
        let mut dots = starts::<L, ROWS>(words);
        add_eight_columns::<L, 0, ROWS>(quants, input, &mut dots);
        add_eight_columns::<L, 1, ROWS>(quants, input, &mut dots);
        if L::SCALES == Scales::Halves {
            add_scaled(&dots, scale::<L>(group, 2 * block), input_scales, totals);
            dots = starts::<L, ROWS>(words.add(ROWS));
        }
        add_eight_columns::<L, 2, ROWS>(quants, input, &mut dots);
        add_eight_columns::<L, 3, ROWS>(quants, input, &mut dots);
        let scale = match L::SCALES {
            Scales::Block | Scales::Group => scale::<L>(group, block),
            Scales::Halves => scale::<L>(group, 2 * block + 1),
        };
        add_scaled(&dots, scale, input_scales, totals);
        match L::OFFSET {
            Offset::Constant(_) => {}
            Offset::Added => {
                let minima = halves(group.add(L::MINIMA_AT + block * 2 * LANES));
                for (row, total) in totals.iter_mut().enumerate() {
                    let sum = _mm512_set1_ps(*words.add(row).cast());
                    *total = _mm512_fmadd_ps(minima, sum, *total);
                }
            }
            Offset::Subtracted => {
                let minima = minima::<L>(group, block);
                for (row, total) in totals.iter_mut().enumerate() {
                    let sum = _mm512_set1_ps(*words.add(row).cast());
                    *total = _mm512_fnmadd_ps(minima, sum, *total);
                }
            }
        }
    }
}

/// What the integer products start from.
///
/// # Safety
/// There must be a word for each row.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn starts<L: Layout, const ROWS: usize>(words: *const u32) -> [__m512i; ROWS] {
    let mut starts = [_mm512_setzero_si512(); ROWS];
    if let Offset::Constant(_) = L::OFFSET {
        for (row, start) in starts.iter_mut().enumerate() {
            // SAFETY: by this function's own contract.
            *start = _mm512_set1_epi32(unsafe { *words.add(row).cast() });
        }
    }
    starts
}

/// Adds the products of the EIGHTH-th eight columns of a block.
///
/// # Safety
/// `quants` must be a block's, `input` a record's.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
unsafe fn add_eight_columns<L: Layout, const EIGHTH: usize, const ROWS: usize>(
    quants: *const u8,
    input: *const u32,
    dots: &mut [__m512i; ROWS],
) {
    // SAFETY: by this function's own contract.
    unsafe {
        let (first, second) = lines::<L, EIGHTH>(quants);
        for (row, dot) in dots.iter_mut().enumerate() {
            let input = input.add(row * BLOCK / 4 + 2 * EIGHTH).cast::<i32>();
            *dot = _mm512_dpbusd_epi32(*dot, first, _mm512_set1_epi32(*input));
            *dot = _mm512_dpbusd_epi32(*dot, second, _mm512_set1_epi32(*input.add(1)));
        }
    }
}

/// Two lines of four columns, as bytes.
///
/// # Safety
/// `quants` must be a block's.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(super) unsafe fn lines<L: Layout, const EIGHTH: usize>(
    quants: *const u8,
) -> (__m512i, __m512i) {
    // SAFETY: by this function's own contract.
    let line = |index: usize| unsafe { _mm512_loadu_si512(quants.add(index * 4 * LANES).cast()) };
    if L::BITS == Bits::Eight {
        return (line(2 * EIGHTH), line(2 * EIGHTH + 1));
    }
    let together = line(EIGHTH);
    let low = |bits: i8| _mm512_and_si512(together, _mm512_set1_epi8(bits));
    let rest = |shifted: __m512i, bits: i8| _mm512_and_si512(shifted, _mm512_set1_epi8(bits));
    // The second line's upper bits are moved to their places from wherever this eighth has them.
    match L::BITS {
        Bits::Four | Bits::Eight => (low(0x0F), rest(_mm512_srli_epi16::<4>(together), 0x0F)),
        Bits::Five => {
            let high = line(4);
            let high = match EIGHTH {
                0 => _mm512_slli_epi16::<3>(high),
                1 => _mm512_slli_epi16::<1>(high),
                2 => _mm512_srli_epi16::<1>(high),
                _ => _mm512_srli_epi16::<3>(high),
            };
            let second = rest(_mm512_srli_epi16::<5>(together), 0x07);
            (low(0x1F), _mm512_or_si512(second, rest(high, 0x18)))
        }
        Bits::Six => {
            let high = line(4 + EIGHTH / 2);
            let high = match EIGHTH {
                0 | 2 => _mm512_slli_epi16::<2>(high),
                _ => _mm512_srli_epi16::<2>(high),
            };
            let second = rest(_mm512_srli_epi16::<6>(together), 0x03);
            (low(0x3F), _mm512_or_si512(second, rest(high, 0x3C)))
        }
    }
}

/// The scales of a block, or of a half block if these have their own.
///
/// # Safety
/// The group must be whole.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn scale<L: Layout>(group: *const u8, index: usize) -> __m512 {
    // SAFETY: by this function's own contract.
    unsafe {
        if L::SCALES == Scales::Block {
            return halves(group.add(L::SCALES_AT + index * 2 * LANES));
        }
        let bytes = _mm_loadu_si128(group.add(L::SCALES_AT + index * LANES).cast());
        let integers = if L::SCALES == Scales::Halves {
            _mm512_cvtepi8_epi32(bytes)
        } else {
            _mm512_cvtepu8_epi32(bytes)
        };
        _mm512_mul_ps(halves(group), _mm512_cvtepi32_ps(integers))
    }
}

/// What is subtracted from a block's scaled quants.
///
/// # Safety
/// The group must be whole, and its minima bytes.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn minima<L: Layout>(group: *const u8, block: usize) -> __m512 {
    // SAFETY: by this function's own contract.
    unsafe {
        let bytes = _mm_loadu_si128(group.add(L::MINIMA_AT + block * LANES).cast());
        let integers = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
        _mm512_mul_ps(halves(group.add(L::MINIMUM_AT)), integers)
    }
}

/// Adds integer products, scaled.
///
/// # Safety
/// There must be a scale for each row.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn add_scaled<const ROWS: usize>(
    dots: &[__m512i; ROWS],
    scale: __m512,
    input_scales: *const f32,
    totals: &mut [__m512; ROWS],
) {
    for (row, (dot, total)) in dots.iter().zip(totals).enumerate() {
        // SAFETY: by this function's own contract.
        let input_scale = _mm512_set1_ps(unsafe { *input_scales.add(row) });
        let scale = _mm512_mul_ps(scale, input_scale);
        *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(*dot), scale, *total);
    }
}

/// Sixteen f16.
///
/// # Safety
/// They must be there.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn halves(at: *const u8) -> __m512 {
    // SAFETY: by this function's own contract.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store<const STREAMS: usize, const ROWS: usize>(
    totals: [[__m512; ROWS]; STREAMS],
    sums: &mut [[f32; LANES]],
) {
    assert_eq!(sums.len(), STREAMS * ROWS);
    for stream in 0..STREAMS {
        for row in 0..ROWS {
            let sum = &mut sums[stream * ROWS + row];
            // SAFETY: both are sixteen floats.
            unsafe { _mm512_storeu_ps(sum.as_mut_ptr(), totals[stream][row]) };
        }
    }
}
