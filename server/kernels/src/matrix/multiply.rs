//! Products of a packed matrix with rows of input.
use super::{
    Activation, Matrix, Workspace,
    kernels::Table,
    layout::LANES,
    panels::{Panels, heights},
};
use crate::pool::{Pool, Shards, Worker};
use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Rows of input that go through all tiles before the next ones: their panels should stay in a
/// core's second-level cache beside a tile or two.
const PANEL_BYTES: usize = 384 << 10;

/// Up to so many rows, memory is the limit, and each worker reads one run of neighbouring tiles.
const FEW_ROWS: usize = 8;
/// Pieces per worker that the tiles of more rows are handed out in.
const PIECES: usize = 16;

/// What to do with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Replace the output.
    Store,
    /// Add to the output: a residual connection.
    Add,
}

/// Slices that do not fit the matrix.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say it.
pub enum ShapeError {
    #[error("an input of {actual} values is not whole rows of {columns} columns")]
    Input { columns: usize, actual: usize },
    #[error("the output has {actual} values, but {rows} rows of {columns} columns take {expected}")]
    Output {
        rows: usize,
        columns: usize,
        expected: usize,
        actual: usize,
    },
    #[error("a gated product needs a matrix of two interleaved parts, not {parts}")]
    NotGated { parts: usize },
}

/// Multiplies each row of `input` with all rows of the matrix: output row i is the matrix times
/// input row i. The number of input rows follows from the length of `input`.
///
/// A row of output depends, to the bit, on its row of input only, however many rows and threads
/// there are.
pub fn multiply(
    pool: &Pool,
    matrix: &Matrix,
    input: &[f32],
    output: &mut [f32],
    write: Write,
    workspace: &mut Workspace,
) -> Result<(), ShapeError> {
    let rows = check(matrix, input, output, matrix.rows)?;
    let table = Table::of(workspace.level());
    let panels = workspace.prepare(pool, table, matrix, input);
    let product = Product {
        table,
        matrix,
        panels,
        output: Shards::new(output),
        output_columns: matrix.rows,
        claimed: AtomicUsize::new(0),
    };
    pool.run(|worker| {
        let mut sums = [[0.0; LANES]; MOST_SUMS];
        product.for_each(worker, matrix.tiles(), rows, |tiles, row, height| {
            let sums = &mut sums[..tiles.len() * height];
            product.sums(tiles, row, height, sums);
            for (tile, sums) in tiles.iter().zip(sums.chunks(height)) {
                let (column, count) = matrix.rows_of_tile(*tile);
                for (row, sums) in (row..).zip(sums) {
                    // SAFETY: this tile and row are no other call's.
                    let target = unsafe { product.target(row, column, count) };
                    match write {
                        Write::Store => target.copy_from_slice(&sums[..count]),
                        Write::Add => {
                            for (target, sum) in target.iter_mut().zip(sums) {
                                *target += sum;
                            }
                        }
                    }
                }
            }
        });
    });
    Ok(())
}

/// Multiplies with two interleaved parts, the gate and what it gates, and writes
/// activation(gate) · value: half as many columns as the matrix has rows.
pub fn multiply_gated(
    pool: &Pool,
    matrix: &Matrix,
    input: &[f32],
    activation: Activation,
    output: &mut [f32],
    workspace: &mut Workspace,
) -> Result<(), ShapeError> {
    if matrix.interleaved != 2 {
        return Err(ShapeError::NotGated {
            parts: matrix.interleaved,
        });
    }
    let rows = check(matrix, input, output, matrix.rows / 2)?;
    let table = Table::of(workspace.level());
    let panels = workspace.prepare(pool, table, matrix, input);
    let product = Product {
        table,
        matrix,
        panels,
        output: Shards::new(output),
        output_columns: matrix.rows / 2,
        claimed: AtomicUsize::new(0),
    };
    pool.run(|worker| {
        let mut gates = [[0.0; LANES]; MOST_SUMS];
        let mut values = [[0.0; LANES]; MOST_SUMS];
        product.for_each(worker, matrix.tiles() / 2, rows, |pairs, row, height| {
            let gates = &mut gates[..pairs.len() * height];
            let values = &mut values[..pairs.len() * height];
            // The tiles of a pair are neighbours, so each stream goes on where it was.
            let mut tiles = [0; MOST_STREAMS];
            let tiles = &mut tiles[..pairs.len()];
            for (sums, second) in [(&mut *gates, 0), (&mut *values, 1)] {
                for (tile, pair) in tiles.iter_mut().zip(pairs) {
                    *tile = 2 * pair + second;
                }
                product.sums(tiles, row, height, sums);
            }
            // SAFETY: whoever has the table's `Level` may run them.
            unsafe { (table.gate)(activation, gates, values) };
            for (pair, gates) in pairs.iter().zip(gates.chunks(height)) {
                let (column, count) = matrix.rows_of_tile(2 * pair);
                for (row, gates) in (row..).zip(gates) {
                    // SAFETY: this pair and row are no other call's.
                    let target = unsafe { product.target(row, column, count) };
                    target.copy_from_slice(&gates[..count]);
                }
            }
        });
    });
    Ok(())
}

/// The rows of an input and output that fit.
fn check(
    matrix: &Matrix,
    input: &[f32],
    output: &[f32],
    output_columns: usize,
) -> Result<usize, ShapeError> {
    if !input.len().is_multiple_of(matrix.columns) {
        return Err(ShapeError::Input {
            columns: matrix.columns,
            actual: input.len(),
        });
    }
    let rows = input.len() / matrix.columns;
    if output.len() != rows * output_columns {
        return Err(ShapeError::Output {
            rows,
            columns: output_columns,
            expected: rows * output_columns,
            actual: output.len(),
        });
    }
    Ok(rows)
}

/// Tiles that are read at once.
pub(super) const MOST_STREAMS: usize = 4;
/// Sums of one call to a kernel.
const MOST_SUMS: usize = MOST_STREAMS * MOST_ROWS;
/// Rows of input that a kernel takes.
const MOST_ROWS: usize = 8;

/// What all workers know.
struct Product<'a> {
    table: &'static Table,
    matrix: &'a Matrix,
    panels: Panels<'a>,
    output: Shards<f32>,
    output_columns: usize,
    /// Pieces that have been handed out.
    claimed: AtomicUsize,
}

impl Product<'_> {
    /// Calls `work` with some of the tiles (or pairs) and the first row and height of a panel; all
    /// workers together do so once for each tile and panel.
    fn for_each(
        &self,
        worker: &Worker<'_>,
        tiles: usize,
        rows: usize,
        mut work: impl FnMut(&[usize], usize, usize),
    ) {
        let tallest = self.table.tallest;
        let streams = (self.table.streams)(self.matrix.format, rows);
        let mut visit = |tiles: Range<usize>, rows: Range<usize>| {
            in_streams(&tiles, streams, |tiles| {
                for (row, height) in heights(rows.clone(), tallest) {
                    work(tiles, row, height);
                }
            });
        };
        if rows <= FEW_ROWS {
            visit(worker.share(tiles), 0..rows);
            return;
        }
        // Long products meet busy neighbours: who is held up takes less of the work.
        let step = (PANEL_BYTES / self.panels.bytes_of_row())
            .max(1)
            .next_multiple_of(tallest);
        let piece = tiles.div_ceil(PIECES * worker.count());
        let pieces = tiles.div_ceil(piece);
        loop {
            let claim = self.claimed.fetch_add(1, Relaxed);
            let (row, tile) = (claim / pieces * step, claim % pieces * piece);
            if row >= rows {
                return;
            }
            visit(tile..tiles.min(tile + piece), row..rows.min(row + step));
        }
    }

    /// The products of some tiles with a panel: for each tile, those of each row.
    fn sums(&self, tiles: &[usize], row: usize, height: usize, sums: &mut [[f32; LANES]]) {
        let mut starts = [std::ptr::null(); MOST_STREAMS];
        for (start, tile) in starts.iter_mut().zip(tiles) {
            *start = self.matrix.tile(*tile).as_ptr();
        }
        let product = (self.table.product)(self.matrix.format, tiles.len(), height);
        let panel = self.panels.starting_at(row);
        // SAFETY: whoever has the table's `Level` may run them; tiles and panel have as many
        // groups as the matrix; there is a sum for each tile and row.
        unsafe {
            product(
                &starts[..tiles.len()],
                self.matrix.groups,
                panel.as_ptr(),
                sums,
            );
        };
    }

    /// A piece of a row of the output.
    ///
    /// # Safety
    /// No other worker may ask for the same place.
    #[allow(clippy::mut_from_ref)]
    unsafe fn target(&self, row: usize, column: usize, count: usize) -> &mut [f32] {
        let start = row * self.output_columns + column;
        // SAFETY: by this function's own contract, and the output is borrowed as long as `self`.
        unsafe { self.output.range(start..start + count) }
    }
}

/// Calls `work` with several tiles at a time that lie far apart, so that the memory serves several
/// streams at once; those that are left over come one by one.
fn in_streams(tiles: &Range<usize>, streams: usize, mut work: impl FnMut(&[usize])) {
    let length = tiles.len() / streams;
    let mut together = [0; MOST_STREAMS];
    let together = &mut together[..streams];
    for index in 0..length {
        for (stream, tile) in together.iter_mut().enumerate() {
            *tile = tiles.start + stream * length + index;
        }
        work(together);
    }
    for tile in tiles.start + streams * length..tiles.end {
        work(&[tile]);
    }
}
