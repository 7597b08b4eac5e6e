//! Q4_1 blocks to Q8_0 blocks, without a detour through floats for each weight
//! (docs/decisions/0003-q4_1-in-8-bits.md).
use half::f16;

/// Weights in a block of either format.
const WEIGHTS: usize = 32;
/// Scale and minimum (16-bit floats), then two 4-bit numbers a byte: the first half of the block
/// in the low bits, the second in the high ones.
const Q4_1_BYTES: usize = 4 + WEIGHTS / 2;
/// Scale (16-bit float), then one signed byte a weight.
const Q8_0_BYTES: usize = 2 + WEIGHTS;

/// The Q8_0 form of `blocks`, which are whole Q4_1 blocks.
pub(super) fn to_q8_0(blocks: &[u8]) -> Vec<u8> {
    let mut converted = Vec::with_capacity(blocks.len() / Q4_1_BYTES * Q8_0_BYTES);
    let (blocks, _) = blocks.as_chunks::<Q4_1_BYTES>();
    for block in blocks {
        converted.extend_from_slice(&convert(block));
    }
    converted
}

fn convert(block: &[u8; Q4_1_BYTES]) -> [u8; Q8_0_BYTES] {
    let number = |low, high| f16::from_le_bytes([block[low], block[high]]).to_f32();
    let (scale, minimum) = (number(0, 1), number(2, 3));
    let packed = &block[4..];
    // A block has at most 16 different weights, on a line: its ends are the largest.
    let levels = packed.iter().flat_map(|pair| [pair & 15, pair >> 4]);
    let (lowest, highest) = levels.fold((15, 0), |(low, high): (u8, u8), level| {
        (low.min(level), high.max(level))
    });
    let weight = |level: u8| scale * f32::from(level) + minimum;
    let largest = weight(lowest).abs().max(weight(highest).abs());
    let new_scale = f16::from_f32(largest / 127.0);
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let mut bytes = [0_u8; 16];
    for (level, byte) in (0_u8..).zip(&mut bytes) {
        // Levels that do not occur may lie outside; the cast keeps them in range.
        #[expect(clippy::cast_possible_truncation, reason = "rounded to -127..=127")]
        let quantised = (weight(level) * inverse).round() as i8;
        *byte = quantised.cast_unsigned();
    }
    let mut converted = [0; Q8_0_BYTES];
    converted[..2].copy_from_slice(&new_scale.to_le_bytes());
    let (first, second) = converted[2..].split_at_mut(WEIGHTS / 2);
    for ((pair, first), second) in packed.iter().zip(first).zip(second) {
        *first = bytes[usize::from(pair & 15)];
        *second = bytes[usize::from(pair >> 4)];
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{
        Device, Tensor,
        quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml},
    };

    fn weights(tensor: &QTensor) -> Vec<f32> {
        let floats = tensor.dequantize(&Device::Cpu).unwrap();
        floats.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn round_trip(values: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
        let count = values.len();
        let tensor = Tensor::from_vec(values, count, &Device::Cpu).unwrap();
        let stored = QTensor::quantize(&tensor, GgmlDType::Q4_1).unwrap();
        let bytes = to_q8_0(&stored.data().unwrap());
        let held = qtensor_from_ggml(GgmlDType::Q8_0, &bytes, vec![count], &Device::Cpu).unwrap();
        (weights(&stored), weights(&held))
    }

    #[test]
    fn the_weights_stay_what_they_were_up_to_half_a_step_of_eight_bits() {
        let values: Vec<f32> = (0..320_u16)
            .map(|index| (f32::from(index) * 0.37).sin() * 3.0 + f32::from(index / 32) - 4.0)
            .collect();
        let (stored, held) = round_trip(values);
        for (stored, held) in stored.chunks(WEIGHTS).zip(held.chunks(WEIGHTS)) {
            let largest = stored
                .iter()
                .fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            for (stored, held) in stored.iter().zip(held) {
                assert!(
                    (stored - held).abs() <= largest / 127.0 * 0.51 + 1e-3,
                    "{held} instead of {stored}"
                );
            }
        }
    }

    #[test]
    fn a_block_of_zeros_stays_zeros() {
        assert_eq!(round_trip(vec![0.0; WEIGHTS]).1, vec![0.0; WEIGHTS]);
    }
}
