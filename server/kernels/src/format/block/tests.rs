//! Blocks against values that llama.cpp's `gguf` package gives for the same bytes.
#![allow(clippy::float_cmp)] // Equal means equal here.
use super::*;

/// Two blocks of arbitrary bytes with scales that a model might have.
fn bytes(format: Format) -> Vec<u8> {
    let count = 2 * format.block_bytes();
    let mut bytes: Vec<u8> = (0..count)
        .map(|index| u8::try_from((index * 167 + 13) % 251).unwrap())
        .collect();
    let halves: &[usize] = match format {
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q6_K => &[208],
        _ => &[0],
    };
    for block in bytes.chunks_mut(format.block_bytes()) {
        for (&at, value) in halves.iter().zip([0x2C66_u16, 0x3155]) {
            block[at..at + 2].copy_from_slice(&value.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn values_are_llama_cpps() {
    // The sum weighs the value of column c by c % 13 - 5, so that no two may be swapped.
    let expected = [
        (
            Format::Q8_0,
            -45.908_691,
            [(7, 0.687_255_86), (60, -6.666_382)],
        ),
        (
            Format::Q4_0,
            -3.436_279_3,
            [(7, 0.137_451_17), (60, -0.206_176_76)],
        ),
        (
            Format::Q4_1,
            27.601_685,
            [(7, 1.060_058_6), (60, 0.166_625_98)],
        ),
        (
            Format::Q5_0,
            -6.597_656_25,
            [(7, -1.099_609_4), (60, -0.412_353_52)],
        ),
        (
            Format::Q5_1,
            80.039_306_64,
            [(7, 1.816_04), (60, 0.510_253_9)],
        ),
        (
            Format::Q4_K,
            5_323.677,
            [(7, 26.546_265), (272, -6.427_734_4)],
        ),
        (Format::Q5_K, 16_416.081, [(7, 58.091_31), (272, 10.628_54)]),
        (
            Format::Q6_K,
            12_379.952,
            [(7, -69.275_39), (272, 28.452_393)],
        ),
    ];
    for (format, sum, values) in expected {
        let mut all = vec![0.0; 2 * format.block_columns()];
        format.dequantise(&bytes(format), &mut all);
        for (column, value) in values {
            assert_eq!(all[column], value, "{format} column {column}");
        }
        let weighted = all.iter().zip((0..13_i8).cycle());
        let actual: f64 = weighted
            .map(|(value, weight)| f64::from(*value) * f64::from(weight - 5))
            .sum();
        assert!((actual / sum - 1.0).abs() < 1e-6, "{format}: {actual}");
    }
}

#[test]
fn float_formats_are_read_as_they_are() {
    let mut values = [0.0; 2];
    Format::F32.dequantise(&[0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0], &mut values);
    assert_eq!(values, [1.0, -2.0]);
    Format::F16.dequantise(&[0, 0x3C, 0, 0xC0], &mut values);
    assert_eq!(values, [1.0, -2.0]);
    Format::BF16.dequantise(&[0x80, 0x3F, 0, 0xC0], &mut values);
    assert_eq!(values, [1.0, -2.0]);
}

#[test]
fn a_row_is_whole_blocks() {
    assert_eq!(Format::Q4_K.row_bytes(512), Some(288));
    assert_eq!(Format::Q4_K.row_bytes(576), None);
    assert_eq!(Format::Q8_0.row_bytes(576), Some(612));
    assert_eq!(Format::BF16.row_bytes(3), Some(6));
}
