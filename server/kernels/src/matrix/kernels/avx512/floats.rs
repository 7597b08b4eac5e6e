//! Float formats in AVX-512: a register is a column of a tile.
#![allow(clippy::wildcard_imports)] // There are too many intrinsics to name.
#![allow(clippy::needless_range_loop)] // What is indexed by constants stays in registers.
use super::{LANES, halves, store};
use std::arch::x86_64::*;

/// A float format's column of a tile.
pub(super) trait Column {
    const BYTES: usize;

    /// # Safety
    /// The machine must have AVX-512, and the sixteen values must be there.
    unsafe fn load(at: *const u8) -> __m512;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Column for F32 {
    const BYTES: usize = 4 * LANES;

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: by this function's own contract.
        unsafe { _mm512_loadu_ps(at.cast()) }
    }
}

impl Column for F16 {
    const BYTES: usize = 2 * LANES;

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: by this function's own contract.
        unsafe { halves(at) }
    }
}

impl Column for BF16 {
    const BYTES: usize = 2 * LANES;

    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn load(at: *const u8) -> __m512 {
        // SAFETY: by this function's own contract.
        let bits = _mm512_cvtepu16_epi32(unsafe { _mm256_loadu_si256(at.cast()) });
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
    }
}

/// Tiles of floats.
///
/// # Safety
/// As [`super::Product`] says.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn floats<C: Column, const STREAMS: usize, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    let mut at = [std::ptr::null(); STREAMS];
    at.copy_from_slice(tiles);
    let mut totals = [[_mm512_setzero_ps(); ROWS]; STREAMS];
    for column in 0..groups {
        for stream in 0..STREAMS {
            // SAFETY: tiles and panel have as many columns as this function's contract says.
            unsafe {
                let weights = C::load(at[stream].add(column * C::BYTES));
                for row in 0..ROWS {
                    let input = _mm512_set1_ps(*panel.add(column * ROWS + row).cast());
                    totals[stream][row] = _mm512_fmadd_ps(weights, input, totals[stream][row]);
                }
            }
        }
    }
    store(totals, sums);
}
