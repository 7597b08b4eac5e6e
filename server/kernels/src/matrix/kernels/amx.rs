//! AVX-512, and AMX for prompts: their inputs are rounded to bf16 instead of being quantised, and
//! weights are brought to bf16, scales and all, 256 columns of a tile at a time. A block's products
//! with sixteen rows are then one instruction, and sums stay in the tiles' registers.
//!
//! Bringing weights to bf16 takes as long as multiplying them with some eighty rows, so answers,
//! which come a row or some rows at a time, are multiplied as in AVX-512.
#![allow(clippy::wildcard_imports)] // There are too many intrinsics to name.
mod tiles;

use super::{Line, PANEL_ROWS, Prompts, Table, avx512};
use crate::{
    format::Format,
    matrix::layout::{BLOCK, LANES, Layout, Offset, Scales, with_layout},
    vector::amx,
};
use std::{arch::x86_64::*, mem::MaybeUninit};

pub(super) static TABLE: Table = Table {
    streams,
    prompts,
    ..avx512::TABLE
};

/// Few rows wait for memory, which serves several streams faster than one. Measured on Sapphire
/// Rapids, where even formats that have to be unpacked gain: by a third with four bits.
fn streams(_: Format, rows: usize) -> usize {
    if rows <= 8 { 4 } else { 1 }
}

fn prompts(format: Format) -> Option<Prompts> {
    with_layout!(
        format,
        L => Some(Prompts {
            begin: amx::configure,
            end: amx::release,
            prepare,
            multiply: multiply::<L>,
        }),
        None
    )
}

/// Blocks of a tile whose weights are in bf16 at a time, as many as the largest group has: with two
/// tiles 16 KiB, which the nearest cache holds beside as much of the input.
const CHUNK: usize = 8;

/// A block's weights in bf16, in pairs of columns: a tile.
type Weights = [Line; WEIGHT_LINES];
const WEIGHT_LINES: usize = BLOCK / 2;

/// Rounds rows to bf16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn prepare(rows: &[f32], columns: usize, panel: &mut [Line]) {
    for (block, lines) in panel.chunks_exact_mut(PANEL_ROWS).enumerate() {
        let column = block * BLOCK;
        let mut rows = rows.chunks_exact(columns);
        for line in lines {
            let values = rows.next().and_then(|row| row.get(column..column + BLOCK));
            let Some(values) = values else {
                *line = Line::ZERO;
                continue;
            };
            // SAFETY: both are 32 values.
            unsafe {
                let low = _mm512_loadu_ps(values.as_ptr());
                let high = _mm512_loadu_ps(values[LANES..].as_ptr());
                let rounded: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
                _mm512_store_si512(line.0.as_mut_ptr().cast(), rounded);
            }
        }
    }
}

/// Adds the products of one tile or two with panels. Two read each input once for both.
///
/// # Safety
/// As [`Prompts`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn multiply<L: Layout>(
    tiles: &[*const u8],
    groups: usize,
    panels: &[Line],
    sums: &mut [[f32; LANES]],
) {
    let mut weights = [const { MaybeUninit::<Weights>::uninit() }; 2 * CHUNK];
    let panel_lines = groups * L::BLOCKS * PANEL_ROWS;
    let count = sums.len() / PANEL_ROWS / tiles.len();
    for first in (0..groups).step_by(CHUNK / L::BLOCKS) {
        let groups = (CHUNK / L::BLOCKS).min(groups - first);
        for (tile, weights) in tiles.iter().zip(weights.chunks_exact_mut(CHUNK)) {
            for (index, weights) in weights.chunks_exact_mut(L::BLOCKS).take(groups).enumerate() {
                // SAFETY: the group lies within the tile.
                unsafe { dequantise::<L>(tile.add((first + index) * L::GROUP_BYTES), weights) };
            }
        }
        let mut panel = 0;
        while panel < count {
            // SAFETY: there are so many panels, and sums for their rows with each tile.
            unsafe {
                let product = tiles::Product {
                    weights: weights.as_ptr().cast(),
                    tiles_apart: CHUNK * WEIGHT_LINES,
                    input: panels
                        .as_ptr()
                        .add(panel * panel_lines + first * L::BLOCKS * PANEL_ROWS),
                    panels_apart: panel_lines,
                    blocks: groups * L::BLOCKS,
                    sums: sums.as_mut_ptr().add(panel * PANEL_ROWS),
                    sums_apart: count * PANEL_ROWS,
                };
                match (tiles.len(), count - panel) {
                    (1, 1) => product.add::<1, 1>(),
                    (1, _) => product.add::<1, 2>(),
                    (_, 1) => product.add::<2, 1>(),
                    (_, _) => product.add::<2, 2>(),
                }
            }
            panel += 2;
        }
    }
}

/// Brings the weights of a group's blocks to bf16.
///
/// # Safety
/// The group must be whole.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
unsafe fn dequantise<L: Layout>(group: *const u8, weights: &mut [MaybeUninit<Weights>]) {
    let halves = if L::SCALES == Scales::Halves { 2 } else { 1 };
    for (block, weights) in weights.iter_mut().enumerate() {
        // SAFETY: all offsets lie within the group, by its layout, and a block has so many lines.
        unsafe {
            let quants = group.add(L::QUANTS_AT + block * L::BLOCK_BYTES);
            let mut to = weights.as_mut_ptr().cast::<__m512i>();
            let mut scale = avx512::scale::<L>(group, halves * block);
            let mut offset = offset::<L>(group, block, scale);
            macro_rules! eighths {
                ($($eighth:literal)*) => { $(
                    if $eighth == 2 && L::SCALES == Scales::Halves {
                        scale = avx512::scale::<L>(group, halves * block + 1);
                        offset = self::offset::<L>(group, block, scale);
                    }
                    let (first, second) = avx512::lines::<L, $eighth>(quants);
                    for line in [first, second] {
                        for pair in four_columns(line, scale, offset) {
                            _mm512_store_si512(to, pair);
                            to = to.add(1);
                        }
                    }
                )* };
            }
            eighths!(0 1 2 3);
        }
    }
}

/// What is added to a block's scaled quants.
///
/// # Safety
/// The group must be whole.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn offset<L: Layout>(group: *const u8, block: usize, scale: __m512) -> __m512 {
    // SAFETY: all offsets lie within the group, by its layout.
    match L::OFFSET {
        Offset::Constant(offset) => _mm512_mul_ps(scale, _mm512_set1_ps(-offset as f32)),
        Offset::Added => unsafe { avx512::halves(group.add(L::MINIMA_AT + block * 2 * LANES)) },
        Offset::Subtracted => unsafe {
            _mm512_sub_ps(_mm512_setzero_ps(), avx512::minima::<L>(group, block))
        },
    }
}

/// Four columns of sixteen rows, as two pairs of columns in bf16.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn four_columns(line: __m512i, scale: __m512, offset: __m512) -> [__m512i; 2] {
    let byte = _mm512_set1_epi32(0xFF);
    let column = |quants| _mm512_fmadd_ps(_mm512_cvtepi32_ps(quants), scale, offset);
    [
        pair(
            column(_mm512_and_si512(line, byte)),
            column(_mm512_and_si512(_mm512_srli_epi32::<8>(line), byte)),
        ),
        pair(
            column(_mm512_and_si512(_mm512_srli_epi32::<16>(line), byte)),
            column(_mm512_srli_epi32::<24>(line)),
        ),
    ]
}

/// Two columns in bf16, a row's beside each other. Rounding is by an addition to the bits: a NaN of
/// which all bits were set would become a zero, but no converter writes such a scale.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pair(first: __m512, second: __m512) -> __m512i {
    let rounded = |column| _mm512_add_epi32(_mm512_castps_si512(column), _mm512_set1_epi32(0x8000));
    _mm512_mask_blend_epi16(
        0xAAAA_AAAA,
        _mm512_srli_epi32::<16>(rounded(first)),
        rounded(second),
    )
}
