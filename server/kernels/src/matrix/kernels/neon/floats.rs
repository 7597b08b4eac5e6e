//! Float formats in NEON: four registers are a column of a tile.
#![allow(clippy::wildcard_imports)] // There are too many intrinsics to name.
use super::{LANES, QUARTER, halves, store};
use std::{arch::aarch64::*, array};

/// A float format's column of a tile.
pub(super) trait Column {
    /// Bytes of a value.
    const BYTES: usize;

    /// # Safety
    /// The four values must be there. Every processor of this architecture has NEON.
    unsafe fn load(at: *const u8) -> float32x4_t;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

impl Column for F32 {
    const BYTES: usize = 4;

    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn load(at: *const u8) -> float32x4_t {
        // SAFETY: by this function's own contract, here and below.
        unsafe { vld1q_f32(at.cast()) }
    }
}

impl Column for F16 {
    const BYTES: usize = 2;

    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn load(at: *const u8) -> float32x4_t {
        unsafe { halves(at) }
    }
}

impl Column for BF16 {
    const BYTES: usize = 2;

    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn load(at: *const u8) -> float32x4_t {
        vreinterpretq_f32_u32(vshll_n_u16::<16>(unsafe { vld1_u16(at.cast()) }))
    }
}

/// Tiles of floats.
///
/// # Safety
/// As [`super::Product`] says.
#[target_feature(enable = "neon")]
pub(super) unsafe fn floats<C: Column, const ROWS: usize>(
    tiles: &[*const u8],
    groups: usize,
    panel: *const u32,
    sums: &mut [[f32; LANES]],
) {
    for (tile, sums) in tiles.iter().zip(sums.chunks_exact_mut(ROWS)) {
        let mut totals = [[vdupq_n_f32(0.0); 4]; ROWS];
        for column in 0..groups {
            // SAFETY: tiles and panel have as many columns as this function's contract says.
            unsafe {
                let weights: [_; 4] = array::from_fn(|quarter| {
                    C::load(tile.add((column * LANES + quarter * QUARTER) * C::BYTES))
                });
                for (row, totals) in totals.iter_mut().enumerate() {
                    let input = *panel.add(column * ROWS + row).cast();
                    for (total, weights) in totals.iter_mut().zip(weights) {
                        *total = vfmaq_n_f32(*total, weights, input);
                    }
                }
            }
        }
        store(&totals, sums);
    }
}
