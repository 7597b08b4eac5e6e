//! The innermost loops, for each instruction set.
#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use super::{
    activation::Activation,
    layout::{BLOCK, LANES},
};
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
    /// The kernels for rows of prompts, where these are multiplied in another way.
    pub(super) prompts: fn(format: Format) -> Option<Prompts>,
}

/// A line of a panel for prompts: 32 columns of a row as bf16.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Line(pub(super) [u16; BLOCK]);

impl Line {
    pub(super) const ZERO: Self = Self([0; BLOCK]);
}

/// Rows of a panel for prompts; those that are left over are zeros.
pub(super) const PANEL_ROWS: usize = 16;

/// Multiplies tiles of so many groups with panels of prompts.
pub(super) type PromptProduct =
    unsafe fn(tiles: &[*const u8], groups: usize, panels: &[Line], sums: &mut [[f32; LANES]]);

/// Kernels for rows of prompts. A panel is a run of blocks, each a line of every row.
///
/// # Safety
/// The machine must have the kernels' instructions. `multiply` takes one tile or two of so many
/// groups, panels of as many, and for each tile sums for all rows of all panels, which it adds to;
/// it may be called between `begin` and `end` only.
#[derive(Clone, Copy)]
pub(super) struct Prompts {
    /// Makes the calling thread ready.
    pub(super) begin: unsafe fn(),
    pub(super) end: unsafe fn(),
    /// Writes a panel of up to [`PANEL_ROWS`] rows of so many columns.
    pub(super) prepare: unsafe fn(rows: &[f32], columns: usize, panel: &mut [Line]),
    pub(super) multiply: PromptProduct,
}

impl Table {
    /// The table of a level.
    pub(super) fn of(level: Level) -> &'static Self {
        match level.instructions() {
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx => &amx::TABLE,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => &avx512::TABLE,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => &avx2::TABLE,
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => &neon::TABLE,
            Instructions::Portable => &portable::TABLE,
        }
    }
}
