//! From ggml's rows to tiles.
use super::{
    Arrangement, PackError, Part,
    layout::{BLOCK, Bits, Geometry, LANES, Layout, Offset, Scales, with_layout},
};
use crate::format::{Block, Format};

/// Checks the parts of a matrix and returns their common format.
pub(super) fn check(
    parts: &[Part<'_>],
    columns: usize,
    arrangement: Arrangement,
) -> Result<Format, PackError> {
    let first = parts.first().ok_or(PackError::NoParts)?;
    for (index, part) in parts.iter().enumerate() {
        let row_bytes = part.format.row_bytes(columns);
        let row_bytes = row_bytes.ok_or(PackError::Columns {
            format: part.format,
            columns,
            block: part.format.block_columns(),
        })?;
        let expected = row_bytes.checked_mul(part.rows);
        if columns == 0 || part.rows == 0 || expected != Some(part.bytes.len()) {
            return Err(PackError::Bytes {
                part: index,
                format: part.format,
                rows: part.rows,
                columns,
                expected: expected.unwrap_or(usize::MAX),
                actual: part.bytes.len(),
            });
        }
        if part.format != first.format {
            return Err(PackError::Formats {
                first: first.format,
                part: index,
                other: part.format,
            });
        }
        if arrangement == Arrangement::Interleaved && part.rows != first.rows {
            return Err(PackError::Rows {
                first: first.rows,
                part: index,
                other: part.rows,
            });
        }
    }
    Ok(first.format)
}

/// The stored rows of a tile, by lane. Lanes beyond the last row have none.
pub(super) fn rows_of_tile<'a>(
    parts: &[Part<'a>],
    arrangement: Arrangement,
    tile: usize,
) -> [Option<&'a [u8]>; LANES] {
    let row = |part: &Part<'a>, row: usize| {
        let bytes = part.bytes.len() / part.rows;
        part.bytes.get(row * bytes..(row + 1) * bytes)
    };
    std::array::from_fn(|lane| match arrangement {
        Arrangement::Interleaved => {
            let part = parts.get(tile % parts.len())?;
            row(part, tile / parts.len() * LANES + lane)
        }
        Arrangement::Stacked => {
            let mut index = tile * LANES + lane;
            for part in parts {
                if index < part.rows {
                    return row(part, index);
                }
                index -= part.rows;
            }
            None
        }
    })
}

/// Writes a tile. It is zero before, and zeros are weights of nothing.
pub(super) fn write_tile(format: Format, rows: &[Option<&[u8]>; LANES], tile: &mut [u8]) {
    let group_bytes = Geometry::of(format).group_bytes;
    for (lane, row) in rows.iter().enumerate() {
        let Some(row) = row else { continue };
        with_layout!(
            format,
            L => {
                let blocks_of_group = L::BLOCKS * BLOCK / format.block_columns();
                let groups = row.chunks(blocks_of_group * format.block_bytes());
                for (group, row) in tile.chunks_mut(group_bytes).zip(groups) {
                    for (index, bytes) in row.chunks_exact(format.block_bytes()).enumerate() {
                        write_block::<L>(group, lane, index, &Block::read(format, bytes));
                    }
                }
            },
            {
                let width = format.block_bytes();
                for (group, value) in tile.chunks_mut(group_bytes).zip(row.chunks_exact(width)) {
                    group[lane * width..(lane + 1) * width].copy_from_slice(value);
                }
            }
        );
    }
}

/// Writes a stored block into a group: one of several, or, of a k-quant, all of it.
fn write_block<L: Layout>(group: &mut [u8], lane: usize, index: usize, block: &Block) {
    let half_at = |line: usize| line + lane * 2..line + lane * 2 + 2;
    match L::SCALES {
        Scales::Block => {
            group[half_at(L::SCALES_AT + index * 2 * LANES)]
                .copy_from_slice(&block.scale.to_le_bytes());
            if L::OFFSET == Offset::Added {
                group[half_at(L::MINIMA_AT + index * 2 * LANES)]
                    .copy_from_slice(&block.minimum.to_le_bytes());
            }
            write_quants::<L>(group, lane, index, &block.quants[..BLOCK]);
        }
        Scales::Group | Scales::Halves => {
            group[half_at(0)].copy_from_slice(&block.scale.to_le_bytes());
            if L::SCALES == Scales::Group {
                group[half_at(L::MINIMUM_AT)].copy_from_slice(&block.minimum.to_le_bytes());
                for (index, minimum) in block.minima.iter().enumerate() {
                    group[L::MINIMA_AT + index * LANES + lane] = *minimum;
                }
            }
            let scales = L::BLOCKS * L::WORDS;
            for (index, scale) in block.scales[..scales].iter().enumerate() {
                group[L::SCALES_AT + index * LANES + lane] = *scale;
            }
            for (index, quants) in block.quants.chunks(BLOCK).enumerate() {
                write_quants::<L>(group, lane, index, quants);
            }
        }
    }
}

/// Writes the 32 quants of a block of the group.
fn write_quants<L: Layout>(group: &mut [u8], lane: usize, index: usize, quants: &[u8]) {
    let block = &mut group[L::QUANTS_AT + index * L::BLOCK_BYTES..][..L::BLOCK_BYTES];
    if L::BITS == Bits::Eight {
        for (four, line) in quants.chunks(4).zip(block.chunks_mut(4 * LANES)) {
            line[lane * 4..lane * 4 + 4].copy_from_slice(four);
        }
        return;
    }
    let width = L::BITS.width();
    // Of the second four columns, so many bits have no room beside the first four.
    let rest = 2 * width - 8;
    let (together, high) = block.split_at_mut(16 * LANES);
    let lines = together.chunks_mut(4 * LANES).zip(quants.chunks(8));
    for (eighth, (line, eight)) in lines.enumerate() {
        let (high_line, shift) = (eighth * rest / 8, eighth * rest % 8);
        for column in 0..4 {
            let (first, second) = (eight[column], eight[column + 4]);
            let at = lane * 4 + column;
            line[at] = first | second << width;
            if rest > 0 {
                high[high_line * 4 * LANES + at] |= second >> (8 - width) << shift;
            }
        }
    }
}
