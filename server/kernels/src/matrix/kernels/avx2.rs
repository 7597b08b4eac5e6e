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
    prompts: |_| None,
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

/// A sum for each row of input: of the first eight rows of a tile and of the others.
type Sums<V, const ROWS: usize> = [[V; 2]; ROWS];

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
    let mut totals = [[[_mm256_setzero_ps(); 2]; ROWS]; STREAMS];
    for _ in 0..groups {
        for block in 0..L::BLOCKS {
            // By constant numbers, so that totals stay in registers.
            macro_rules! add_blocks {
                ($($stream:literal)*) => { $(
                    if $stream < STREAMS {
                        // SAFETY: tiles and panel have as many groups as this function's contract
                        // says.
                        unsafe {
                            add_block::<L, ROWS>(at[$stream], block, panel, &mut totals[$stream]);
                        }
                    }
                )* };
            }
            add_blocks!(0 1 2 3);
            panel = panel.wrapping_add(record);
        }
        for at in &mut at {
            *at = at.wrapping_add(L::GROUP_BYTES);
        }
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
    totals: &mut Sums<__m256, ROWS>,
) {
    // SAFETY: all offsets lie within the group and the record, by their layouts.
    unsafe {
        let quants = group.add(L::QUANTS_AT + block * L::BLOCK_BYTES);
        let input_scales = input.add(ROWS * BLOCK / 4).cast::<f32>();
        let words = input.add(ROWS * (BLOCK / 4 + 1));
        let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
        let mut pairs = dots;
        add_eight_columns::<L, 0, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS == Bits::Six {
            widen(&mut pairs, &mut dots);
        }
        add_eight_columns::<L, 1, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS == Bits::Six || L::BITS == Bits::Five {
            widen(&mut pairs, &mut dots);
        }
        if L::SCALES == Scales::Halves {
            let scales = scales::<L>(group, 2 * block);
            add_scaled::<L, ROWS>(&dots, scales, words, input_scales, totals);
            dots = pairs;
        }
        add_eight_columns::<L, 2, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS == Bits::Six {
            widen(&mut pairs, &mut dots);
        }
        add_eight_columns::<L, 3, ROWS>(quants, input, &mut pairs, &mut dots);
        if L::BITS != Bits::Eight {
            widen(&mut pairs, &mut dots);
        }
        let (scales, last_words) = match L::SCALES {
            Scales::Block | Scales::Group => (scales::<L>(group, block), words),
            Scales::Halves => (scales::<L>(group, 2 * block + 1), words.add(ROWS)),
        };
        add_scaled::<L, ROWS>(&dots, scales, last_words, input_scales, totals);
        add_minima::<L, ROWS>(group, block, words.cast(), totals);
    }
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
    pairs: &mut Sums<__m256i, ROWS>,
    dots: &mut Sums<__m256i, ROWS>,
) {
    // SAFETY: by this function's own contract.
    let lines = unsafe {
        [
            lines::<L, EIGHTH>(quants),
            lines::<L, EIGHTH>(quants.add(4 * HALF)),
        ]
    };
    for four in 0..2 {
        let weights = lines.map(|lines| lines[four]);
        for row in 0..ROWS {
            // SAFETY: by this function's own contract.
            let input = unsafe {
                _mm256_set1_epi32(*input.add(row * BLOCK / 4 + 2 * EIGHTH + four).cast())
            };
            if L::BITS == Bits::Eight {
                let ones = _mm256_set1_epi16(1);
                for (dot, weights) in dots[row].iter_mut().zip(weights) {
                    let size = _mm256_abs_epi8(weights);
                    let signed = _mm256_sign_epi8(input, weights);
                    let sums = _mm256_madd_epi16(_mm256_maddubs_epi16(size, signed), ones);
                    *dot = _mm256_add_epi32(*dot, sums);
                }
                settle(&mut dots[row]);
            } else {
                for (pair, weights) in pairs[row].iter_mut().zip(weights) {
                    *pair = _mm256_add_epi16(*pair, _mm256_maddubs_epi16(weights, input));
                }
                settle(&mut pairs[row]);
            }
        }
    }
}

/// Makes the compiler compute the sums before it loads what follows. Otherwise it would load a
/// whole block's input first, for which there are not enough registers.
#[target_feature(enable = "avx2")]
#[inline]
fn settle([low, high]: &mut [__m256i; 2]) {
    // SAFETY: there is no instruction.
    unsafe {
        std::arch::asm!(
            "/* {} {} */",
            inout(ymm_reg) * low,
            inout(ymm_reg) * high,
            options(nostack, preserves_flags)
        );
    }
}

/// Adds the 16-bit sums to the dot products and clears them.
#[target_feature(enable = "avx2")]
#[inline]
fn widen<const ROWS: usize>(pairs: &mut Sums<__m256i, ROWS>, dots: &mut Sums<__m256i, ROWS>) {
    let ones = _mm256_set1_epi16(1);
    for (pair, dot) in pairs
        .as_flattened_mut()
        .iter_mut()
        .zip(dots.as_flattened_mut())
    {
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
unsafe fn lines<L: Layout, const EIGHTH: usize>(quants: *const u8) -> [__m256i; 2] {
    // SAFETY: by this function's own contract.
    let line = |index: usize| unsafe { _mm256_loadu_si256(quants.add(index * 4 * LANES).cast()) };
    if L::BITS == Bits::Eight {
        let sign = _mm256_set1_epi8(i8::MIN);
        return [2 * EIGHTH, 2 * EIGHTH + 1].map(|index| _mm256_xor_si256(line(index), sign));
    }
    let together = line(EIGHTH);
    let low = |bits: i8| _mm256_and_si256(together, _mm256_set1_epi8(bits));
    let rest = |shifted: __m256i, bits: i8| _mm256_and_si256(shifted, _mm256_set1_epi8(bits));
    // The second line's upper bits are moved to their places from wherever this eighth has them.
    match L::BITS {
        Bits::Four | Bits::Eight => [low(0x0F), rest(_mm256_srli_epi16::<4>(together), 0x0F)],
        Bits::Five => {
            let high = line(4);
            let high = match EIGHTH {
                0 => _mm256_slli_epi16::<3>(high),
                1 => _mm256_slli_epi16::<1>(high),
                2 => _mm256_srli_epi16::<1>(high),
                _ => _mm256_srli_epi16::<3>(high),
            };
            let second = rest(_mm256_srli_epi16::<5>(together), 0x07);
            [low(0x1F), _mm256_or_si256(second, rest(high, 0x18))]
        }
        Bits::Six => {
            let high = line(4 + EIGHTH / 2);
            let high = match EIGHTH {
                0 | 2 => _mm256_slli_epi16::<2>(high),
                _ => _mm256_srli_epi16::<2>(high),
            };
            let second = rest(_mm256_srli_epi16::<6>(together), 0x03);
            [low(0x3F), _mm256_or_si256(second, rest(high, 0x3C))]
        }
    }
}

/// The scales of a block, or of a half block if these have their own.
///
/// # Safety
/// The group must be whole.
#[target_feature(enable = "avx2,f16c")]
#[inline]
unsafe fn scales<L: Layout>(group: *const u8, index: usize) -> [__m256; 2] {
    // SAFETY: by this function's own contract.
    [0, HALF].map(|lane| unsafe {
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
    })
}

/// Adds integer products, scaled.
///
/// # Safety
/// There must be a scale and a word for each row.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add_scaled<L: Layout, const ROWS: usize>(
    dots: &Sums<__m256i, ROWS>,
    scales: [__m256; 2],
    words: *const u32,
    input_scales: *const f32,
    totals: &mut Sums<__m256, ROWS>,
) {
    for (row, (dots, totals)) in dots.iter().zip(totals).enumerate() {
        // SAFETY: by this function's own contract.
        let input_scale = _mm256_set1_ps(unsafe { *input_scales.add(row) });
        for ((dot, scale), total) in dots.iter().zip(scales).zip(totals) {
            let mut dot = *dot;
            // Eight bits are multiplied as what they are, so nothing has to be taken off.
            if matches!(L::OFFSET, Offset::Constant(_)) && L::BITS != Bits::Eight {
                // SAFETY: by this function's own contract.
                dot = _mm256_add_epi32(dot, _mm256_set1_epi32(unsafe { *words.add(row).cast() }));
            }
            let scale = _mm256_mul_ps(scale, input_scale);
            *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), scale, *total);
        }
    }
}

/// Adds a block's minima, times the sums of the input.
///
/// # Safety
/// The group must be whole, and there must be a sum for each row.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn add_minima<L: Layout, const ROWS: usize>(
    group: *const u8,
    block: usize,
    input_sums: *const f32,
    totals: &mut Sums<__m256, ROWS>,
) {
    for (half, lane) in [0, HALF].into_iter().enumerate() {
        // SAFETY: by this function's own contract.
        let minima = unsafe {
            match L::OFFSET {
                Offset::Constant(_) => return,
                Offset::Added => halves(group.add(L::MINIMA_AT + (block * LANES + lane) * 2)),
                Offset::Subtracted => {
                    let bytes = group.add(L::MINIMA_AT + block * LANES + lane).cast();
                    let integers = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes));
                    let minimum = halves(group.add(L::MINIMUM_AT + lane * 2));
                    _mm256_mul_ps(minimum, _mm256_cvtepi32_ps(integers))
                }
            }
        };
        for (row, totals) in totals.iter_mut().enumerate() {
            // SAFETY: by this function's own contract.
            let sum = _mm256_set1_ps(unsafe { *input_sums.add(row) });
            totals[half] = if L::OFFSET == Offset::Added {
                _mm256_fmadd_ps(minima, sum, totals[half])
            } else {
                _mm256_fnmadd_ps(minima, sum, totals[half])
            };
        }
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
    totals: [Sums<__m256, ROWS>; STREAMS],
    sums: &mut [[f32; LANES]],
) {
    for (sum, [low, high]) in sums.iter_mut().zip(totals.as_flattened()) {
        // SAFETY: eight floats, of each half of sixteen.
        unsafe {
            _mm256_storeu_ps(sum.as_mut_ptr(), *low);
            _mm256_storeu_ps(sum.as_mut_ptr().add(HALF), *high);
        }
    }
}
