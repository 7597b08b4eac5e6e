//! Float formats in AVX2: two registers are a column of a tile.
#![allow(clippy::wildcard_imports)] // There are too many intrinsics to name.
#![allow(clippy::needless_range_loop)] // What is indexed by constants stays in registers.
use super::{HALF, LANES, halves, store};
use std::arch::x86_64::*;

/// A float format's column of a tile.
pub(super) trait Column {
    const BYTES: usize;

    /// The eight values from a lane on.
    ///
    /// # Safety
    /// The machine must have AVX2 and F16C, and the column must be there.
    unsafe fn load(column: *const u8, lane: usize) -> __m256;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Column for F32 {
    const BYTES: usize = 4 * LANES;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn load(column: *const u8, lane: usize) -> __m256 {
        // SAFETY: by this function's own contract.
        unsafe { _mm256_loadu_ps(column.add(lane * 4).cast()) }
    }
}

impl Column for F16 {
    const BYTES: usize = 2 * LANES;

    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn load(column: *const u8, lane: usize) -> __m256 {
        // SAFETY: by this function's own contract.
        unsafe { halves(column.add(lane * 2)) }
    }
}

impl Column for BF16 {
    const BYTES: usize = 2 * LANES;

    #[target_feature(enable = "avx2")]
    #[inline]
    unsafe fn load(column: *const u8, lane: usize) -> __m256 {
        // SAFETY: by this function's own contract.
        let bits = unsafe { _mm_loadu_si128(column.add(lane * 2).cast()) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
    }
}

/// Tiles of floats.
///
/// # Safety
/// As [`super::Product`] says.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn floats<C: Column, const STREAMS: usize, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    let mut at = [std::ptr::null(); STREAMS];
    at.copy_from_slice(tiles);
    let mut totals = [[[_mm256_setzero_ps(); 2]; ROWS]; STREAMS];
    for column in 0..groups {
        for stream in 0..STREAMS {
            // SAFETY: tiles and panel have as many columns as this function's contract says.
            unsafe {
                let tile = at[stream].add(column * C::BYTES);
                let weights = [C::load(tile, 0), C::load(tile, HALF)];
                for row in 0..ROWS {
                    let input = _mm256_set1_ps(*panel.add(column * ROWS + row).cast());
                    for half in 0..2 {
                        let total = &mut totals[stream][row][half];
                        *total = _mm256_fmadd_ps(weights[half], input, *total);
                    }
                }
            }
        }
    }
    store(totals, sums);
}
