//! One quantised block, its bits sorted out.
use super::Format;
use half::f16;

/// The fields of a block, in the order of its columns. What a format lacks is zero.
pub(crate) struct Block {
    /// The block's scale; a k-quant multiplies it by one of `scales`.
    pub(crate) scale: f16,
    /// What is added (Q4_1, Q5_1) or, times one of `minima`, subtracted (Q4_K, Q5_K).
    pub(crate) minimum: f16,
    /// One per 32 columns (Q4_K, Q5_K: unsigned) or 16 columns (Q6_K: signed).
    pub(crate) scales: [u8; 16],
    /// One per 32 columns.
    pub(crate) minima: [u8; 8],
    /// The weights, moved up to be non-negative: by 128 (Q8_0), 8 (Q4_0), 16 (Q5_0),
    /// 32 (Q6_K).
    pub(crate) quants: [u8; 256],
}

impl Block {
    /// Reads a block of a quantised format; `bytes` are as many as the format says.
    pub(crate) fn read(format: Format, bytes: &[u8]) -> Self {
        let mut block = Self {
            scale: half_at(bytes, 0),
            minimum: f16::ZERO,
            scales: [0; 16],
            minima: [0; 8],
            quants: [0; 256],
        };
        match format {
            Format::F32 | Format::F16 | Format::BF16 => {}
            Format::Q8_0 => {
                for (quant, byte) in block.quants.iter_mut().zip(&bytes[2..34]) {
                    *quant = byte ^ 0x80;
                }
            }
            Format::Q4_0 => block.read_nibbles(&bytes[2..18], 16),
            Format::Q4_1 => {
                block.minimum = half_at(bytes, 2);
                block.read_nibbles(&bytes[4..20], 16);
            }
            Format::Q5_0 => {
                block.read_nibbles(&bytes[6..22], 16);
                block.read_fifth_bits(&bytes[2..6]);
            }
            Format::Q5_1 => {
                block.minimum = half_at(bytes, 2);
                block.read_nibbles(&bytes[8..24], 16);
                block.read_fifth_bits(&bytes[4..8]);
            }
            Format::Q4_K => {
                block.read_scales_and_minima(bytes);
                block.read_nibbles(&bytes[16..144], 32);
            }
            Format::Q5_K => {
                block.read_scales_and_minima(bytes);
                block.read_nibbles(&bytes[48..176], 32);
                for (column, quant) in block.quants.iter_mut().enumerate() {
                    *quant |= (bytes[16 + column % 32] >> (column / 32) & 1) << 4;
                }
            }
            Format::Q6_K => {
                block.scale = half_at(bytes, 208);
                block.scales.copy_from_slice(&bytes[192..208]);
                block.read_nibbles(&bytes[..128], 64);
                for (column, quant) in block.quants.iter_mut().enumerate() {
                    let byte = bytes[128 + column / 128 * 32 + column % 32];
                    *quant |= (byte >> (column % 128 / 32 * 2) & 3) << 4;
                }
            }
        }
        block
    }

    /// Runs of `run` bytes: the low halves are as many columns, the high halves the next ones.
    fn read_nibbles(&mut self, bytes: &[u8], run: usize) {
        for (bytes, quants) in bytes.chunks(run).zip(self.quants.chunks_mut(2 * run)) {
            let (low, high) = quants.split_at_mut(run);
            for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
                *low = byte & 15;
                *high = byte >> 4;
            }
        }
    }

    /// A bit for each of 32 columns, in order.
    fn read_fifth_bits(&mut self, bytes: &[u8]) {
        for (byte, quants) in bytes.iter().zip(self.quants.chunks_mut(8)) {
            for (column, quant) in quants.iter_mut().enumerate() {
                *quant |= (byte >> column & 1) << 4;
            }
        }
    }

    /// Eight scales and eight minima of six bits, in twelve bytes.
    fn read_scales_and_minima(&mut self, bytes: &[u8]) {
        self.minimum = half_at(bytes, 2);
        let packed = &bytes[4..16];
        for index in 0..4 {
            let (scale, minimum, rest) = (packed[index], packed[index + 4], packed[index + 8]);
            self.scales[index] = scale & 63;
            self.minima[index] = minimum & 63;
            self.scales[index + 4] = (rest & 15) | (scale >> 6 << 4);
            self.minima[index + 4] = (rest >> 4) | (minimum >> 6 << 4);
        }
    }

    /// Writes the block's values.
    pub(super) fn dequantise(&self, format: Format, values: &mut [f32]) {
        let (scale, minimum) = (self.scale.to_f32(), self.minimum.to_f32());
        for (column, (value, &quant)) in values.iter_mut().zip(&self.quants).enumerate() {
            let quant = f32::from(quant);
            *value = match format {
                Format::F32 | Format::F16 | Format::BF16 => 0.0,
                Format::Q8_0 => (quant - 128.0) * scale,
                Format::Q4_0 => (quant - 8.0) * scale,
                Format::Q5_0 => (quant - 16.0) * scale,
                Format::Q4_1 | Format::Q5_1 => quant * scale + minimum,
                Format::Q4_K | Format::Q5_K => {
                    let scale = scale * f32::from(self.scales[column / 32]);
                    scale * quant - minimum * f32::from(self.minima[column / 32])
                }
                Format::Q6_K => {
                    scale * f32::from(self.scales[column / 16].cast_signed()) * (quant - 32.0)
                }
            };
        }
    }
}

fn half_at(bytes: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests;
