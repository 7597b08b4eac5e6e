//! The innermost loops, for each instruction set.
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::{activation::Activation, layout::LANES};
use crate::{
    format::Format,
    vector::{Instructions, Level},
};

/// Multiplies tiles with a panel: `sums[tile * rows + row]` is set to the sixteen products of the
/// tile's rows with the panel's row, each summed up in the order of the columns.
///
/// # Safety
/// The machine must have the kernel's instructions. Tiles and panel must have `groups` groups of
/// the format, `sums` as many items as there are tiles times rows.
pub(super) type Product =
    unsafe fn(tiles: &[*const u8], groups: usize, panel: *const u32, sums: &mut [[f32; LANES]]);

/// Writes a part of a panel, given its rows, their columns and the first group to be written.
///
/// # Safety
/// The machine must have the kernel's instructions.
pub(super) type Prepare =
    unsafe fn(rows: &[f32], columns: usize, first_group: usize, words: &mut [u32]);

/// Applies gates.
///
/// # Safety
/// The machine must have the kernel's instructions.
pub(super) type Gate =
    unsafe fn(activation: Activation, gates: &mut [[f32; LANES]], values: &[[f32; LANES]]);

/// The kernels of an instruction set.
pub(super) struct Table {
    /// The most rows of a panel, a power of two.
    pub(super) tallest: usize,
    /// How many tiles to read at once for so many rows of input.
    pub(super) streams: fn(format: Format, rows: usize) -> usize,
    /// The kernel for so many tiles (one or what `streams` says) and rows of a panel.
    pub(super) product: fn(format: Format, streams: usize, rows: usize) -> Product,
    pub(super) prepare: fn(format: Format) -> Prepare,
    pub(super) gate: Gate,
}

impl Table {
    /// The table of a level.
    pub(super) fn of(level: Level) -> &'static Self {
        match level.instructions() {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => &avx512::TABLE,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => &avx2::TABLE,
            Instructions::Portable => &portable::TABLE,
        }
    }
}
