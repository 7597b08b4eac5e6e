//! Products of a packed matrix with rows of input.
use super::{
    Activation, Matrix, Workspace,
    layout::LANES,
    panels::Input,
    product::{Product, TOGETHER},
};
use crate::pool::{Pool, Shards};

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
    input: Input<'_>,
    output: &mut [f32],
    write: Write,
    workspace: &mut Workspace,
) -> Result<(), ShapeError> {
    check(matrix, input, output, matrix.rows)?;
    let (product, sums) = Product::new(pool, matrix, input, workspace);
    let output = Shards::new(output);
    pool.run(|worker| {
        // SAFETY: each worker has its own.
        let [sums, _] = unsafe { sums.of(worker) };
        product.for_each(worker, matrix.tiles(), |tiles, rows| {
            let sums = product.sums(tiles, rows.clone(), sums);
            for (row, tile, sums) in sums.by_rows(tiles, rows) {
                let (column, count) = matrix.rows_of_tile(tile);
                let start = row * matrix.rows + column;
                // SAFETY: this tile and row are no other call's.
                let target = unsafe { output.range(start..start + count) };
                match write {
                    Write::Store => store(target, sums),
                    Write::Add => add(target, sums),
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
    input: Input<'_>,
    activation: Activation,
    output: &mut [f32],
    workspace: &mut Workspace,
) -> Result<(), ShapeError> {
    if matrix.interleaved != 2 {
        return Err(ShapeError::NotGated {
            parts: matrix.interleaved,
        });
    }
    check(matrix, input, output, matrix.rows / 2)?;
    let (product, sums) = Product::new(pool, matrix, input, workspace);
    let columns = matrix.rows / 2;
    let output = Shards::new(output);
    pool.run(|worker| {
        // SAFETY: each worker has its own.
        let [gates, values] = unsafe { sums.of(worker) };
        product.for_each(worker, matrix.tiles() / 2, |pairs, rows| {
            // The tiles of a pair are neighbours, so each stream goes on where it was.
            let mut tiles = [0; TOGETHER];
            let tiles = &mut tiles[..pairs.len()];
            let [mut gates, values] =
                [(&mut *gates, 0), (&mut *values, 1)].map(|(sums, second)| {
                    for (tile, pair) in tiles.iter_mut().zip(pairs) {
                        *tile = 2 * pair + second;
                    }
                    product.sums(tiles, rows.clone(), sums)
                });
            product.gate(activation, &mut gates, &values);
            for (row, pair, gates) in gates.by_rows(pairs, rows) {
                let (column, count) = matrix.rows_of_tile(2 * pair);
                let start = row * columns + column;
                // SAFETY: this pair and row are no other call's.
                store(unsafe { output.range(start..start + count) }, gates);
            }
        });
    });
    Ok(())
}

/// Stores as many values as the target has.
fn store(target: &mut [f32], values: &[f32; LANES]) {
    target.copy_from_slice(&values[..target.len()]);
}

fn add(target: &mut [f32], values: &[f32; LANES]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += value;
    }
}

/// Whether input and output fit.
fn check(
    matrix: &Matrix,
    input: Input<'_>,
    output: &[f32],
    output_columns: usize,
) -> Result<(), ShapeError> {
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
    Ok(())
}
