//! What packing and products promise, for every format and every level of the machine.
mod bits;
mod packing;
mod products;

use super::*;
use crate::vector::Level;
use half::{bf16, f16};

/// Pseudo-random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        self.next() as f32 / (1_u32 << 30) as f32 - 1.0
    }

    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }
}

/// Rows as a model file would store them.
fn stored(random: &mut Random, format: Format, rows: usize, columns: usize) -> Vec<u8> {
    let blocks = rows * columns / format.block_columns();
    let mut bytes = Vec::new();
    for _ in 0..blocks {
        let value = random.float();
        match format {
            Format::F32 => bytes.extend(value.to_le_bytes()),
            Format::F16 => bytes.extend(f16::from_f32(value).to_le_bytes()),
            Format::BF16 => bytes.extend(bf16::from_f32(value).to_le_bytes()),
            _ => bytes.extend((0..format.block_bytes()).map(|_| random.next().to_le_bytes()[1])),
        }
    }
    for block in bytes.chunks_mut(format.block_bytes()) {
        let halves: &[usize] = match format {
            Format::F32 | Format::F16 | Format::BF16 => &[],
            Format::Q8_0 | Format::Q4_0 | Format::Q5_0 => &[0],
            Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
            Format::Q6_K => &[208],
        };
        for &at in halves {
            let scale = f16::from_f32(random.float() * 0.01);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}

/// The rows' values.
fn values(format: Format, bytes: &[u8]) -> Vec<f32> {
    let blocks = bytes.len() / format.block_bytes();
    let mut values = vec![f32::NAN; blocks * format.block_columns()];
    format.dequantise(bytes, &mut values);
    values
}

/// Shapes that try out padding: one row and some more than a tile, odd numbers of blocks.
fn shapes(format: Format) -> &'static [(usize, usize)] {
    match format.block_columns() {
        1 => &[(1, 1), (17, 7), (33, 100), (80, 64)],
        32 => &[(1, 32), (17, 576), (33, 96), (80, 64), (16, 224)],
        _ => &[(1, 256), (17, 256), (33, 768), (80, 512)],
    }
}

fn part(bytes: &[u8], format: Format, rows: usize) -> Part<'_> {
    Part {
        bytes,
        format,
        rows,
    }
}

fn pack(bytes: &[u8], format: Format, rows: usize, columns: usize) -> Matrix {
    let pool = Pool::new(1).unwrap();
    let parts = [part(bytes, format, rows)];
    Matrix::pack(&pool, &parts, columns, Arrangement::Stacked).unwrap()
}
