//! Weight matrices packed for the kernels, and products with them.
mod activation;
mod kernels;
mod layout;
mod memory;
mod multiply;
mod pack;
mod panels;
mod product;
mod unpack;

pub use activation::Activation;
pub use multiply::{ShapeError, Write, multiply, multiply_gated};
pub use panels::{Input, Workspace};

use crate::{format::Format, pool::Pool};
use layout::{Geometry, LANES};
use memory::Memory;
use std::io;

/// Rows of a matrix as a model file stores them.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The rows, one after the other.
    pub bytes: &'a [u8],
    /// How they are stored.
    pub format: Format,
    /// How many there are.
    pub rows: usize,
}

/// How the rows of several parts lie in one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Part after part: one product gives, say, queries, keys and values.
    Stacked,
    /// Sixteen rows of each part in turn, so that a thread which computes a gate finds the value
    /// to be gated next to it. The parts need equally many rows.
    Interleaved,
}

/// Why rows could not be packed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // The messages say it.
pub enum PackError {
    #[error("a matrix needs at least one part")]
    NoParts,
    #[error(
        "{format} stores {block} weights a block, and {columns} columns are not whole blocks: store this tensor in another format, such as Q8_0 or F16"
    )]
    Columns {
        format: Format,
        columns: usize,
        block: usize,
    },
    #[error(
        "part {part}: {rows} rows of {columns} columns in {format} take {expected} bytes, but there are {actual}: the file is damaged or its shapes are wrong; fetch it again"
    )]
    Bytes {
        part: usize,
        format: Format,
        rows: usize,
        columns: usize,
        expected: usize,
        actual: usize,
    },
    #[error(
        "part {part} is stored as {other} but the first part as {first}: pack them as two matrices"
    )]
    Formats {
        first: Format,
        part: usize,
        other: Format,
    },
    #[error(
        "part {part} has {other} rows but the first part {first}: only parts of as many rows interleave; stack them"
    )]
    Rows {
        first: usize,
        part: usize,
        other: usize,
    },
    #[error(
        "no memory for {bytes} bytes of packed weights ({source}): use a smaller model or raise the memory limit"
    )]
    Memory { bytes: usize, source: io::Error },
}

/// A matrix whose rows are multiplied with inputs. It takes hardly more memory than the stored
/// rows did, and replaces them.
#[derive(Debug)]
pub struct Matrix {
    format: Format,
    columns: usize,
    /// Rows of the parts together.
    rows: usize,
    /// 1, or how many parts take turns.
    interleaved: usize,
    /// Groups in a tile.
    groups: usize,
    tile_bytes: usize,
    data: Memory,
}

impl Matrix {
    /// Packs the rows of one or several parts that share a format.
    ///
    /// Parts of unlike formats are refused, because a kernel reads one format: a model file that
    /// stores, say, values in a better format than queries needs a matrix for each.
    pub fn pack(
        pool: &Pool,
        parts: &[Part<'_>],
        columns: usize,
        arrangement: Arrangement,
    ) -> Result<Self, PackError> {
        let format = pack::check(parts, columns, arrangement)?;
        let geometry = Geometry::of(format);
        let groups = columns.div_ceil(geometry.group_columns);
        let tile_bytes = groups * geometry.group_bytes;
        let rows = parts.iter().map(|part| part.rows).sum();
        let (interleaved, tiles) = match arrangement {
            Arrangement::Stacked => (1, usize::div_ceil(rows, LANES)),
            Arrangement::Interleaved => (parts.len(), parts.len() * parts[0].rows.div_ceil(LANES)),
        };
        let bytes = tiles * tile_bytes;
        let data = Memory::filled(bytes, |data| {
            pool.for_chunks(data, tile_bytes, |tile, data| {
                let rows = pack::rows_of_tile(parts, arrangement, tile);
                pack::write_tile(format, &rows, data);
            });
        });
        Ok(Self {
            format,
            columns,
            rows,
            interleaved,
            groups,
            tile_bytes,
            data: data.map_err(|source| PackError::Memory { bytes, source })?,
        })
    }

    /// How the weights are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rows of all parts: what a product writes per row of input.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What a product reads per row of input.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The memory the packed weights take; a product reads each byte once or more.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Writes the weights of one row (of the parts one after the other) as floats, as many as
    /// `values` holds. False if there is no such row.
    ///
    /// This is how a model with tied weights embeds tokens without a second copy.
    #[must_use]
    pub fn row_into(&self, index: usize, values: &mut [f32]) -> bool {
        if index >= self.rows {
            return false;
        }
        let rows_of_part = self.rows / self.interleaved;
        let (part, row) = (index / rows_of_part, index % rows_of_part);
        let tile = row / LANES * self.interleaved + part;
        let columns = values.len().min(self.columns);
        unpack::dequantise_row(
            self.format,
            self.tile(tile),
            row % LANES,
            &mut values[..columns],
        );
        true
    }

    fn tiles(&self) -> usize {
        self.data.len() / self.tile_bytes
    }

    fn tile(&self, tile: usize) -> &[u8] {
        &self.data[tile * self.tile_bytes..(tile + 1) * self.tile_bytes]
    }

    /// The first row that a tile holds, of the parts one after the other, and how many it holds.
    fn rows_of_tile(&self, tile: usize) -> (usize, usize) {
        let rows_of_part = self.rows / self.interleaved;
        let (part, first) = (tile % self.interleaved, tile / self.interleaved * LANES);
        (part * rows_of_part + first, LANES.min(rows_of_part - first))
    }
}

#[cfg(test)]
mod tests;
