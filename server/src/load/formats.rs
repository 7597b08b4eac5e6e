//! The formats of weights: their names, sizes, and one into another.
use super::q4_1;
use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml},
};
use half::{bf16, f16};
use rayon::prelude::*;
use std::borrow::Cow;

/// Numbers that one thread converts at a time: small enough to need little memory, and a multiple
/// of every block.
const CHUNK: usize = 1 << 18;

/// The name of a weight format, as precisions are written.
pub fn format_name(format: GgmlDType) -> String {
    let name = format!("{format:?}").to_lowercase();
    // `q4k` in the library is `q4_k` everywhere else.
    match name.strip_suffix('k') {
        Some(stem) => format!("{stem}_k"),
        None => name,
    }
}

/// Bytes of `elements` numbers in `format`; nothing where they are not whole blocks.
pub fn bytes_of(format: GgmlDType, elements: usize) -> Option<usize> {
    let block = format.block_size();
    if elements.is_multiple_of(block) {
        (elements / block).checked_mul(format.type_size())
    } else {
        None
    }
}

/// Whether `format` holds floats, each for itself.
pub const fn is_float(format: GgmlDType) -> bool {
    float_type(format).is_some()
}

/// The tensor library's type of a format that holds floats.
pub const fn float_type(format: GgmlDType) -> Option<DType> {
    match format {
        GgmlDType::F32 => Some(DType::F32),
        GgmlDType::F16 => Some(DType::F16),
        GgmlDType::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// `bytes` in the format `from` as the format `to`: floats into anything, and formats of blocks into
/// Q8_0. Other conversions of blocks lose too much and are an error.
pub fn convert(
    bytes: &[u8],
    from: GgmlDType,
    to: GgmlDType,
) -> Result<Cow<'_, [u8]>, candle_core::Error> {
    if from == to {
        return Ok(Cow::Borrowed(bytes));
    }
    if from == GgmlDType::Q4_1 && to == GgmlDType::Q8_0 {
        return Ok(Cow::Owned(q4_1::to_q8_0(bytes)));
    }
    if !is_float(from) {
        if to != GgmlDType::Q8_0 {
            candle_core::bail!("{from:?} cannot be converted to {to:?}");
        }
        return Ok(Cow::Owned(from_floats(dequantise(bytes, from)?, to)?));
    }
    let parts = bytes
        .par_chunks(CHUNK * from.type_size())
        .map(|part| from_floats(widen(part, from), to))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Cow::Owned(parts.concat()))
}

/// The numbers that `bytes` encode in a format of blocks.
fn dequantise(bytes: &[u8], format: GgmlDType) -> Result<Vec<f32>, candle_core::Error> {
    let count = bytes.len() / format.type_size() * format.block_size();
    let blocks = qtensor_from_ggml(format, bytes, vec![count], &Device::Cpu)?;
    blocks.dequantize(&Device::Cpu)?.to_vec1()
}

/// The numbers that `bytes` encode in a float format.
pub fn widen(bytes: &[u8], format: GgmlDType) -> Vec<f32> {
    let halves = || bytes.as_chunks::<2>().0.iter();
    match format {
        GgmlDType::F16 => halves()
            .map(|&pair| f16::from_le_bytes(pair).to_f32())
            .collect(),
        GgmlDType::BF16 => halves()
            .map(|&pair| bf16::from_le_bytes(pair).to_f32())
            .collect(),
        _ => {
            let (floats, _) = bytes.as_chunks::<4>();
            floats
                .iter()
                .map(|&four| f32::from_le_bytes(four))
                .collect()
        }
    }
}

fn from_floats(floats: Vec<f32>, to: GgmlDType) -> Result<Vec<u8>, candle_core::Error> {
    let floats_to = |narrow: &dyn Fn(&f32) -> [u8; 2]| floats.iter().flat_map(narrow).collect();
    Ok(match to {
        GgmlDType::F32 => floats
            .iter()
            .flat_map(|float| float.to_le_bytes())
            .collect(),
        GgmlDType::F16 => floats_to(&|&float| f16::from_f32(float).to_le_bytes()),
        GgmlDType::BF16 => floats_to(&|&float| bf16::from_f32(float).to_le_bytes()),
        blocks => {
            let count = floats.len();
            let tensor = Tensor::from_vec(floats, count, &Device::Cpu)?;
            QTensor::quantize(&tensor, blocks)?.data()?.into_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(count: u16) -> Vec<u8> {
        let numbers = (0..count).map(|index| (f32::from(index) * 0.37).sin());
        numbers.flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn formats_have_the_names_of_precisions() {
        assert_eq!(format_name(GgmlDType::Q4K), "q4_k");
        assert_eq!(format_name(GgmlDType::Q8_0), "q8_0");
        assert_eq!(format_name(GgmlDType::BF16), "bf16");
    }

    #[test]
    fn more_bits_lose_less() {
        let bytes = floats(1024);
        let wanted = widen(&bytes, GgmlDType::F32);
        let mut last = 0.0;
        for format in [
            GgmlDType::Q8_0,
            GgmlDType::Q6K,
            GgmlDType::Q5K,
            GgmlDType::Q4K,
        ] {
            let blocks = convert(&bytes, GgmlDType::F32, format).unwrap();
            let tensor = qtensor_from_ggml(format, &blocks, vec![1024], &Device::Cpu).unwrap();
            let back: Vec<f32> = tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
            let off: f32 = back.iter().zip(&wanted).map(|(a, b)| (a - b).powi(2)).sum();
            assert!(off > last, "{format:?}: {off}");
            last = off;
        }
        // Of 1,024 numbers between -1 and 1.
        assert!(last < 4.0, "{last}");
    }

    #[test]
    fn blocks_that_are_not_whole_have_no_size() {
        assert_eq!(bytes_of(GgmlDType::Q8_0, 64), Some(68));
        assert_eq!(bytes_of(GgmlDType::Q8_0, 65), None);
        assert_eq!(bytes_of(GgmlDType::F32, usize::MAX), None);
    }

    #[test]
    fn sixteen_bits_keep_what_they_can_hold() {
        let bytes = floats(300);
        for (format, error) in [(GgmlDType::F16, 5e-4), (GgmlDType::BF16, 4e-3)] {
            let narrow = convert(&bytes, GgmlDType::F32, format).unwrap();
            assert_eq!(narrow.len(), 600);
            let back = widen(&narrow, format);
            for (back, wanted) in back.iter().zip(widen(&bytes, GgmlDType::F32)) {
                assert!((back - wanted).abs() < error, "{back} instead of {wanted}");
            }
        }
    }

    #[test]
    fn parts_of_a_conversion_join_without_a_seam() {
        let numbers = CHUNK + 256;
        let bytes: Vec<u8> = floats(256).into_iter().cycle().take(numbers * 4).collect();
        let blocks = convert(&bytes, GgmlDType::F32, GgmlDType::Q4K).unwrap();
        assert_eq!(Some(blocks.len()), bytes_of(GgmlDType::Q4K, numbers));
        let block = GgmlDType::Q4K.type_size();
        assert_eq!(blocks[..block], blocks[blocks.len() - block..]);
    }

    #[test]
    fn blocks_are_not_converted_into_other_blocks() {
        assert!(convert(&[0; 34], GgmlDType::Q8_0, GgmlDType::Q4_0).is_err());
    }
}
