//! Products on tiles. They are written in assembly, since Rust has no stable names for the
//! instructions; nothing else touches the tiles' registers.
use super::{LANES, Line, PANEL_ROWS, WEIGHT_LINES};
use std::arch::asm;

/// Products of weights with panels.
pub(super) struct Product {
    pub(super) weights: *const Line,
    /// Lines from one tile of weights to the next.
    pub(super) tiles_apart: usize,
    pub(super) input: *const Line,
    /// Lines from one panel to the next.
    pub(super) panels_apart: usize,
    pub(super) blocks: usize,
    pub(super) sums: *mut [f32; LANES],
    /// Rows of sums from one tile of weights to the next.
    pub(super) sums_apart: usize,
}

impl Product {
    /// Adds up the products of one or two tiles of weights with one or two panels. Two of both hide
    /// each other's latency, and read half as much for each product.
    ///
    /// # Safety
    /// Tiles must be configured, and all pointers lead to as much as is said beside them.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    pub(super) unsafe fn add<const TILES: usize, const PANELS: usize>(self) {
        let stride = size_of::<Line>();
        macro_rules! sums {
            (@load $register:literal $at:expr) => {
                asm!(
                    concat!("tileloadd ", $register, ", [{at} + {stride}]"),
                    at = in(reg) $at, stride = in(reg) stride,
                    options(nostack, preserves_flags, readonly),
                )
            };
            (@store $register:literal $at:expr) => {
                asm!(
                    concat!("tilestored [{at} + {stride}], ", $register),
                    at = in(reg) $at, stride = in(reg) stride,
                    options(nostack, preserves_flags),
                )
            };
            ($what:ident) => {
                let at = |tile, panel| {
                    self.sums
                        .wrapping_add(tile * self.sums_apart + panel * PANEL_ROWS)
                };
                // SAFETY: by this function's own contract.
                unsafe {
                    sums!(@$what "tmm0" at(0, 0));
                    if PANELS > 1 {
                        sums!(@$what "tmm1" at(0, 1));
                    }
                    if TILES > 1 {
                        sums!(@$what "tmm2" at(1, 0));
                    }
                    if TILES > 1 && PANELS > 1 {
                        sums!(@$what "tmm3" at(1, 1));
                    }
                }
            };
        }
        macro_rules! load {
            ($register:literal $at:expr) => {
                sums!(@load $register $at)
            };
        }
        macro_rules! multiply {
            ($sums:literal $input:literal $weights:literal) => {
                asm!(
                    concat!("tdpbf16ps ", $sums, ", ", $input, ", ", $weights),
                    options(nostack, preserves_flags, nomem),
                )
            };
        }
        sums!(load);
        let (mut weights, mut input) = (self.weights, self.input);
        for _ in 0..self.blocks {
            // SAFETY: by this function's own contract.
            unsafe {
                load!("tmm6" weights);
                load!("tmm4" input);
                multiply!("tmm0" "tmm4" "tmm6");
                if PANELS > 1 {
                    load!("tmm5" input.wrapping_add(self.panels_apart));
                    multiply!("tmm1" "tmm5" "tmm6");
                }
                if TILES > 1 {
                    load!("tmm7" weights.wrapping_add(self.tiles_apart));
                    multiply!("tmm2" "tmm4" "tmm7");
                }
                if TILES > 1 && PANELS > 1 {
                    multiply!("tmm3" "tmm5" "tmm7");
                }
            }
            weights = weights.wrapping_add(WEIGHT_LINES);
            input = input.wrapping_add(PANEL_ROWS);
        }
        sums!(store);
    }
}
