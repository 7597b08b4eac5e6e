//! Reading packed weights one by one: for embeddings and for the portable kernels.
use super::layout::{BLOCK, Bits, LANES, Layout, Offset, Scales, with_layout};
use crate::format::Format;
use half::f16;

/// The scale of half a block of the group.
pub(super) fn scale<L: Layout>(group: &[u8], block: usize, half: usize, lane: usize) -> f32 {
    match L::SCALES {
        Scales::Block => half_at(group, L::SCALES_AT + block * 2 * LANES, lane),
        Scales::Group => {
            half_at(group, 0, lane) * f32::from(group[L::SCALES_AT + block * LANES + lane])
        }
        Scales::Halves => {
            let scale = group[L::SCALES_AT + (2 * block + half) * LANES + lane];
            half_at(group, 0, lane) * f32::from(scale.cast_signed())
        }
    }
}

/// What is added to each weight of a block of the group.
pub(super) fn minimum<L: Layout>(group: &[u8], block: usize, lane: usize) -> f32 {
    match L::OFFSET {
        Offset::Constant(_) => 0.0,
        Offset::Added => half_at(group, L::MINIMA_AT + block * 2 * LANES, lane),
        Offset::Subtracted => {
            let minimum = f32::from(group[L::MINIMA_AT + block * LANES + lane]);
            -half_at(group, L::MINIMUM_AT, lane) * minimum
        }
    }
}

/// The quants of a block of the group, of all rows: eight lines of four columns.
pub(super) fn quants<L: Layout>(group: &[u8], block: usize) -> [u8; BLOCK * LANES] {
    let bytes = &group[L::QUANTS_AT + block * L::BLOCK_BYTES..][..L::BLOCK_BYTES];
    let mut quants = [0; BLOCK * LANES];
    if L::BITS == Bits::Eight {
        quants.copy_from_slice(bytes);
        return quants;
    }
    let width = L::BITS.width();
    let rest = 2 * width - 8;
    let (together, high) = bytes.split_at(16 * LANES);
    let lines = together.chunks_exact(4 * LANES);
    for (eighth, (line, pair)) in lines.zip(quants.chunks_exact_mut(8 * LANES)).enumerate() {
        let (first, second) = pair.split_at_mut(4 * LANES);
        for ((byte, first), second) in line.iter().zip(first).zip(&mut *second) {
            *first = byte & ((1 << width) - 1);
            *second = byte >> width;
        }
        let (high_line, shift) = (eighth * rest / 8, eighth * rest % 8);
        let high = high.chunks_exact(4 * LANES).nth(high_line);
        for (byte, second) in high.into_iter().flatten().zip(second) {
            *second |= (byte >> shift & ((1 << rest) - 1)) << (8 - width);
        }
    }
    quants
}

/// Writes the values of one row of a tile.
pub(super) fn dequantise_row(format: Format, tile: &[u8], lane: usize, values: &mut [f32]) {
    with_layout!(
        format,
        L => {
            let groups = tile.chunks_exact(L::GROUP_BYTES);
            for (group, values) in groups.zip(values.chunks_mut(L::BLOCKS * BLOCK)) {
                for (block, values) in values.chunks_mut(BLOCK).enumerate() {
                    dequantise_block::<L>(group, block, lane, values);
                }
            }
        },
        {
            let width = format.block_bytes();
            for (group, value) in tile.chunks_exact(width * LANES).zip(values.chunks_mut(1)) {
                format.dequantise(&group[lane * width..(lane + 1) * width], value);
            }
        }
    );
}

fn dequantise_block<L: Layout>(group: &[u8], block: usize, lane: usize, values: &mut [f32]) {
    let all_quants = quants::<L>(group, block);
    let scales = [0, 1].map(|half| scale::<L>(group, block, half, lane));
    let minimum = minimum::<L>(group, block, lane);
    for (column, value) in values.iter_mut().enumerate() {
        let quant = f32::from(all_quants[column / 4 * 4 * LANES + lane * 4 + column % 4]);
        let scale = scales[column / (BLOCK / 2)];
        *value = match L::OFFSET {
            // At most 128, which a float holds exactly.
            Offset::Constant(offset) => scale * (quant - offset as f32),
            Offset::Added | Offset::Subtracted => scale * quant + minimum,
        };
    }
}

fn half_at(group: &[u8], line_at: usize, lane: usize) -> f32 {
    let at = line_at + lane * 2;
    f16::from_le_bytes([group[at], group[at + 1]]).to_f32()
}
