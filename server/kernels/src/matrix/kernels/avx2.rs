//! The kernels in AVX2: two registers are a tile's sixteen rows.
//!
//! Without VNNI, bytes are multiplied into 16-bit sums of two, which must not overflow before they
//! are widened. Inputs lie within ±127, so of four-bit weights eight such sums may be added up, of
//! five bits four and of six bits two. Eight bits leave no room at all; there the weight's sign
//! goes over to the input, and 128 · 127 · 2 just fits.
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
    tallest: 4,
    streams,
    product,
    prepare,
    gate,
};

/// Few rows wait for memory, which serves several streams faster than one: by a third on Zen 2.
fn streams(_: Format, rows: usize) -> usize {
    if rows < 4 { 4 } else { 1 }
}

fn product(format: Format, streams: usize, rows: usize) -> Product {
    match (streams, rows) {
        (4, 1) => product_of::<4, 1>(format),
        (4, _) => product_of::<4, 2>(format),
        (_, 1) => product_of::<1, 1>(format),
        (_, 2) => product_of::<1, 2>(format),
        _ => product_of::<1, 4>(format),
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
    #[target_feature(enable = "avx2,fma,f16c")]
    fn quantise<L: Layout>(rows: &[f32], columns: usize, first_group: usize, words: &mut [u32]) {
        panels::quantise::<L>(rows, columns, first_group, words);
    }
    with_layout!(format, L => quantise::<L>, panels::interleave)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn gate(activation: Activation, gates: &mut [[f32; LANES]], values: &[[f32; LANES]]) {
    activation::gate(activation, gates, values);
}

/// The lanes of a register.
const HALF: usize = LANES / 2;

/// Tiles of integers.
///
/// # Safety
/// As [`Product`] says.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn integers<L: Layout, const STREAMS: usize, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    mut panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    let record = ROWS * (BLOCK / 4 + 1 + L::WORDS);
    let mut at = [std::ptr::null(); STREAMS];
    at.copy_from_slice(tiles);
    let mut totals = [[[_mm256_setzero_ps(); ROWS]; 2]; STREAMS];
    for _ in 0..groups {
        // By constant numbers, so that totals stay in registers.
        macro_rules! add_groups {
            ($($stream:literal)*) => { $(
                if $stream < STREAMS {
                    for block in 0..L::BLOCKS {
                        let [low, high] = &mut totals[$stream];
                        // SAFETY: tiles and panel have as many groups as this function's contract
                        // says.
                        unsafe {
                            let input = panel.add(block * record);
                            add_block::<L, ROWS>(at[$stream], block, 0, input, low);
                            add_block::<L, ROWS>(at[$stream], block, HALF, input, high);
                        }
                    }
                    at[$stream] = at[$stream].wrapping_add(L::GROUP_BYTES);
                }
            )* };
        }
        add_groups!(0 1 2 3);
        panel = panel.wrapping_add(L::BLOCKS * record);
    }
    store(totals, sums);
}

/// Adds the products of eight lanes of one block, from the lane given on.
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
    lane: usize,
    input: *const u32,
    totals: &mut [__m256; ROWS],
) {
    // SAFETY: all offsets lie within the group and the record, by their layouts.
    unsafe {
        let quants = group.add(L::QUANTS_AT + block * L::BLOCK_BYTES + lane * 4);
        let input_scales = input.add(ROWS * BLOCK / 4).cast::<f32>();
        let words = input.add(ROWS * (BLOCK / 4 + 1));
        let mut dots = starts::<L, ROWS>(words);
        let mut pairs = [_mm256_setzero_si256(); ROWS];
        add_eight_columns::<L, 0, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS == Bits::Six {
            widen(&mut pairs, &mut dots);
        }
        add_eight_columns::<L, 1, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS == Bits::Six || L::BITS == Bits::Five {
            widen(&mut pairs, &mut dots);
        }
        if L::SCALES == Scales::Halves {
            let scale = scale::<L>(group, 2 * block, lane);
            add_scaled(&dots, scale, input_scales, totals);
            dots = starts::<L, ROWS>(words.add(ROWS));
        }
        add_eight_columns::<L, 2, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS == Bits::Six {
            widen(&mut pairs, &mut dots);
        }
        add_eight_columns::<L, 3, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS != Bits::Eight {
            widen(&mut pairs, &mut dots);
        }
        let scale = match L::SCALES {
            Scales::Block | Scales::Group => scale::<L>(group, block, lane),
            Scales::Halves => scale::<L>(group, 2 * block + 1, lane),
        };
        add_scaled(&dots, scale, input_scales, totals);
        match L::OFFSET {
            Offset::Constant(_) => {}
            Offset::Added => {
                let minima = halves(group.add(L::MINIMA_AT + (block * LANES + lane) * 2));
                for (row, total) in totals.iter_mut().enumerate() {
                    let sum = _mm256_set1_ps(*words.add(row).cast());
                    *total = _mm256_fmadd_ps(minima, sum, *total);
                }
            }
            Offset::Subtracted => {
                let minima = _mm256_mul_ps(
                    halves(group.add(L::MINIMUM_AT + lane * 2)),
                    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(
                        group.add(L::MINIMA_AT + block * LANES + lane).cast(),
                    ))),
                );
                for (row, total) in totals.iter_mut().enumerate() {
                    let sum = _mm256_set1_ps(*words.add(row).cast());
                    *total = _mm256_fnmadd_ps(minima, sum, *total);
                }
            }
        }
    }
}

/// What the integer products start from.
///
/// # Safety
/// There must be a word for each row.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn starts<L: Layout, const ROWS: usize>(words: *const u32) -> [__m256i; ROWS] {
    let mut starts = [_mm256_setzero_si256(); ROWS];
    // Eight bits are multiplied as what they are, so nothing has to be taken off.
    if matches!(L::OFFSET, Offset::Constant(_)) && L::BITS != Bits::Eight {
        for (row, start) in starts.iter_mut().enumerate() {
            // SAFETY: by this function's own contract.
            *start = _mm256_set1_epi32(unsafe { *words.add(row).cast() });
        }
    }
    starts
}

/// Adds the products of the EIGHTH-th eight columns of a block to the 16-bit sums of pairs, or of
/// eight-bit weights to the dot products themselves.
///
/// # Safety
/// `quants` must be a block's, `input` a record's.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add_eight_columns<L: Layout, const EIGHTH: usize, const ROWS: usize>(
    quants: *const u8,
    input: *const u32,
    pairs: &mut [__m256i; ROWS],
    dots: &mut [__m256i; ROWS],
) {
    // SAFETY: by this function's own contract.
    let input = |row: usize, four: usize| unsafe {
        _mm256_set1_epi32(*input.add(row * BLOCK / 4 + 2 * EIGHTH + four).cast())
    };
    // SAFETY: by this function's own contract.
    let (first, second) = unsafe { lines::<L, EIGHTH>(quants) };
    if L::BITS == Bits::Eight {
        let ones = _mm256_set1_epi16(1);
        for (four, line) in [first, second].into_iter().enumerate() {
            let size = _mm256_abs_epi8(line);
            for (row, dot) in dots.iter_mut().enumerate() {
                let signed = _mm256_sign_epi8(input(row, four), line);
                let sums = _mm256_madd_epi16(_mm256_maddubs_epi16(size, signed), ones);
                *dot = _mm256_add_epi32(*dot, sums);
            }
        }
        return;
    }
    for (row, pair) in pairs.iter_mut().enumerate() {
        let first = _mm256_maddubs_epi16(first, input(row, 0));
        let second = _mm256_maddubs_epi16(second, input(row, 1));
        *pair = _mm256_add_epi16(*pair, _mm256_add_epi16(first, second));
    }
}

/// Adds the 16-bit sums to the dot products and clears them.
#[target_feature(enable = "avx2")]
#[inline]
fn widen<const ROWS: usize>(pairs: &mut [__m256i; ROWS], dots: &mut [__m256i; ROWS]) {
    let ones = _mm256_set1_epi16(1);
    for (pair, dot) in pairs.iter_mut().zip(dots) {
        *dot = _mm256_add_epi32(*dot, _mm256_madd_epi16(*pair, ones));
        *pair = _mm256_setzero_si256();
    }
}

/// Two half lines of four columns, as bytes; eight-bit weights with their sign.
///
/// # Safety
/// `quants` must be a block's, moved to the first lane.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn lines<L: Layout, const EIGHTH: usize>(quants: *const u8) -> (__m256i, __m256i) {
    // SAFETY: by this function's own contract.
    let line = |index: usize| unsafe { _mm256_loadu_si256(quants.add(index * 4 * LANES).cast()) };
    if L::BITS == Bits::Eight {
        let sign = _mm256_set1_epi8(i8::MIN);
        return (
            _mm256_xor_si256(line(2 * EIGHTH), sign),
            _mm256_xor_si256(line(2 * EIGHTH + 1), sign),
        );
    }
    let mask = _mm256_set1_epi8(15);
    let nibbles = line(EIGHTH);
    let first = _mm256_and_si256(nibbles, mask);
    let second = _mm256_and_si256(_mm256_srli_epi16::<4>(nibbles), mask);
    let (bits, high) = match L::BITS {
        Bits::Four | Bits::Eight => return (first, second),
        Bits::Five => (0x10, line(4)),
        Bits::Six => (0x30, line(4 + EIGHTH / 2)),
    };
    // The bits above the nibbles, moved to their places from wherever this eighth has them.
    let (one, other) = match (L::BITS, EIGHTH) {
        (Bits::Five, 0) => (_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<3>(high)),
        (Bits::Five, 1) => (_mm256_slli_epi16::<2>(high), _mm256_slli_epi16::<1>(high)),
        (Bits::Five, 2) => (high, _mm256_srli_epi16::<1>(high)),
        (Bits::Five, _) => (_mm256_srli_epi16::<2>(high), _mm256_srli_epi16::<3>(high)),
        (_, 0 | 2) => (_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high)),
        _ => (high, _mm256_srli_epi16::<2>(high)),
    };
    let bits = _mm256_set1_epi8(bits);
    (
        _mm256_or_si256(first, _mm256_and_si256(one, bits)),
        _mm256_or_si256(second, _mm256_and_si256(other, bits)),
    )
}

/// The scales of eight lanes of a block, or of a half block if these have their own.
///
/// # Safety
/// The group must be whole.
#[target_feature(enable = "avx2,f16c")]
#[inline]
unsafe fn scale<L: Layout>(group: *const u8, index: usize, lane: usize) -> __m256 {
    // SAFETY: by this function's own contract.
    unsafe {
        if L::SCALES == Scales::Block {
            return halves(group.add(L::SCALES_AT + (index * LANES + lane) * 2));
        }
        let bytes = _mm_loadl_epi64(group.add(L::SCALES_AT + index * LANES + lane).cast());
        let integers = if L::SCALES == Scales::Halves {
            _mm256_cvtepi8_epi32(bytes)
        } else {
            _mm256_cvtepu8_epi32(bytes)
        };
        _mm256_mul_ps(halves(group.add(lane * 2)), _mm256_cvtepi32_ps(integers))
    }
}

/// Adds integer products, scaled.
///
/// # Safety
/// There must be a scale for each row.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add_scaled<const ROWS: usize>(
    dots: &[__m256i; ROWS],
    scale: __m256,
    input_scales: *const f32,
    totals: &mut [__m256; ROWS],
) {
    for (row, (dot, total)) in dots.iter().zip(totals).enumerate() {
        // SAFETY: by this function's own contract.
        let input_scale = _mm256_set1_ps(unsafe { *input_scales.add(row) });
        let scale = _mm256_mul_ps(scale, input_scale);
        *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(*dot), scale, *total);
    }
}

/// Eight f16.
///
/// # Safety
/// They must be there.
#[target_feature(enable = "avx2,f16c")]
#[inline]
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: by this function's own contract.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}

#[target_feature(enable = "avx2")]
#[inline]
fn store<const STREAMS: usize, const ROWS: usize>(
    totals: [[[__m256; ROWS]; 2]; STREAMS],
    sums: &mut [[f32; LANES]],
) {
    assert_eq!(sums.len(), STREAMS * ROWS);
    for stream in 0..STREAMS {
        for row in 0..ROWS {
            let sum = &mut sums[stream * ROWS + row];
            for half in 0..2 {
                let total = totals[stream][half][row];
                // SAFETY: eight floats, of each half of sixteen.
                unsafe { _mm256_storeu_ps(sum.as_mut_ptr().add(half * HALF), total) };
            }
        }
    }
}
