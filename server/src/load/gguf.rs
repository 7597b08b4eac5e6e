//! GGUF files: a checked header, typed metadata, and tensors read straight from the mapped file.
use super::{error::LoadError, q4_1};
use candle_core::{
    Device,
    quantized::{
        GgmlDType, QTensor,
        ggml_file::qtensor_from_ggml,
        gguf_file::{Content, TensorInfo, Value},
    },
};
use candlepower_kernels::MappedFile;
use std::{
    collections::HashMap,
    io::Cursor,
    path::{Path, PathBuf},
};

/// An open GGUF file whose header is known to be consistent with its length.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: MappedFile,
    tensors: HashMap<String, TensorInfo>,
    data_offset: u64,
    metadata: Metadata,
}

impl GgufFile {
    /// Maps the file and checks its header.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let length = std::fs::metadata(path).map_err(|error| LoadError::from_io(path, error))?;
        if !length.is_file() {
            return Err(LoadError::InvalidConfiguration(format!(
                "{} is not a file: write the path of a GGUF file into model.source",
                path.display()
            )));
        }
        if length.len() == 0 {
            return Err(LoadError::corrupt(path, "it is empty"));
        }
        let map = MappedFile::open(path).map_err(|error| LoadError::from_io(path, error))?;
        let content = Content::read(&mut Cursor::new(&*map))
            .map_err(|error| LoadError::corrupt(path, error))?;
        let file = Self {
            path: path.to_owned(),
            tensors: content.tensor_infos,
            data_offset: content.tensor_data_offset,
            metadata: Metadata(content.metadata),
            map,
        };
        for (name, info) in &file.tensors {
            file.bytes_of(name, info)?;
        }
        Ok(file)
    }

    /// The file's metadata.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Bytes that the tensor takes in the file; 0 where it is missing.
    pub fn stored_bytes(&self, name: &str) -> u64 {
        self.tensors.get(name).and_then(size_in_bytes).unwrap_or(0)
    }

    /// Copies one tensor out of the file.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<QTensor, LoadError> {
        let info = self.tensors.get(name).ok_or_else(|| {
            LoadError::corrupt(&self.path, format!("the tensor {name} is missing"))
        })?;
        let bytes = self.bytes_of(name, info)?;
        let dimensions = info.shape.dims().to_vec();
        let tensor = match held_as(info.ggml_dtype) {
            Some(format) => qtensor_from_ggml(format, &q4_1::to_q8_0(bytes), dimensions, device),
            None => qtensor_from_ggml(info.ggml_dtype, bytes, dimensions, device),
        };
        Ok(tensor?)
    }

    /// Bytes that all weights take in memory. Weights in float formats are held as 32-bit floats.
    pub fn weights_bytes(&self) -> u64 {
        self.tensors
            .values()
            .map(|info| {
                let format = held_as(info.ggml_dtype).unwrap_or(info.ggml_dtype);
                let format = if is_float(format) {
                    GgmlDType::F32
                } else {
                    format
                };
                size_in(info, format).unwrap_or(0)
            })
            .sum()
    }

    /// The format of most of the weights, by bytes.
    pub fn dominant_format(&self) -> Option<GgmlDType> {
        let mut sizes: Vec<(GgmlDType, u64)> = Vec::new();
        for info in self.tensors.values().filter(|info| info.shape.rank() > 1) {
            let size = size_in_bytes(info).unwrap_or(0);
            match sizes
                .iter_mut()
                .find(|(format, _)| *format == info.ggml_dtype)
            {
                Some((_, sum)) => *sum += size,
                None => sizes.push((info.ggml_dtype, size)),
            }
        }
        sizes
            .into_iter()
            .max_by_key(|(_, size)| *size)
            .map(|(format, _)| format)
    }

    /// The tensor's bytes, if the header describes it sensibly and the file is long enough.
    fn bytes_of(&self, name: &str, info: &TensorInfo) -> Result<&[u8], LoadError> {
        let corrupt =
            |problem: &str| LoadError::corrupt(&self.path, format!("the tensor {name} {problem}"));
        let size = size_in_bytes(info).ok_or_else(|| corrupt("has an impossible shape"))?;
        let start = self
            .data_offset
            .checked_add(info.offset)
            .ok_or_else(|| corrupt("has an impossible offset"))?;
        let end = start
            .checked_add(size)
            .ok_or_else(|| corrupt("has an impossible size"))?;
        usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| self.map.get(start..end))
            .ok_or_else(|| {
                corrupt(&format!(
                    "ends at byte {end}, but the file at byte {}",
                    self.map.len()
                ))
            })
    }
}

fn elements(info: &TensorInfo) -> Option<u64> {
    info.shape
        .dims()
        .iter()
        .try_fold(1_u64, |product, &dimension| {
            product.checked_mul(dimension as u64)
        })
}

fn size_in_bytes(info: &TensorInfo) -> Option<u64> {
    size_in(info, info.ggml_dtype)
}

/// Bytes that the tensor takes in `format`.
fn size_in(info: &TensorInfo, format: GgmlDType) -> Option<u64> {
    let block = format.block_size() as u64;
    let elements = elements(info).filter(|elements| elements.is_multiple_of(block))?;
    (elements / block).checked_mul(format.type_size() as u64)
}

/// The format that weights are held in, where it is not the file's: the tensor library has no
/// vector code for products with Q4_1 weights, so they are held in 8 bits, which keeps their
/// values and is several times faster (docs/decisions/0003-q4_1-in-8-bits.md).
const fn held_as(format: GgmlDType) -> Option<GgmlDType> {
    match format {
        GgmlDType::Q4_1 => Some(GgmlDType::Q8_0),
        _ => None,
    }
}

const fn is_float(format: GgmlDType) -> bool {
    matches!(format, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
}

/// The name of a weight format, as precisions are written.
pub fn format_name(format: GgmlDType) -> String {
    let name = format!("{format:?}").to_lowercase();
    // `q4k` in the library is `q4_k` everywhere else.
    match name.strip_suffix('k') {
        Some(stem) => format!("{stem}_k"),
        None => name,
    }
}

/// Typed access to a GGUF file's key-value pairs.
#[derive(Debug, Default)]
pub struct Metadata(HashMap<String, Value>);

impl Metadata {
    /// A text.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A truth value.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number that is not negative, of any width.
    pub fn unsigned(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::I32(number) => u64::try_from(*number).ok(),
            Value::I64(number) => u64::try_from(*number).ok(),
            value => value.to_u64().ok(),
        }
    }

    /// A whole number that fits a token id.
    pub fn unsigned32(&self, key: &str) -> Option<u32> {
        self.unsigned(key).and_then(|number| number.try_into().ok())
    }

    /// A number that may have a fraction.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::F32(number) => Some(f64::from(*number)),
            Value::F64(number) => Some(*number),
            _ => None,
        }
    }

    /// A list of texts.
    pub fn texts(&self, key: &str) -> Option<Vec<&str>> {
        let Value::Array(values) = self.0.get(key)? else {
            return None;
        };
        values
            .iter()
            .map(|value| match value {
                Value::String(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// A list of numbers that may have fractions.
    pub fn floats(&self, key: &str) -> Option<Vec<f32>> {
        let Value::Array(values) = self.0.get(key)? else {
            return None;
        };
        values.iter().map(|value| value.to_f32().ok()).collect()
    }

    /// A list of small whole numbers.
    pub fn numbers(&self, key: &str) -> Option<Vec<u32>> {
        let Value::Array(values) = self.0.get(key)? else {
            return None;
        };
        values
            .iter()
            .map(|value| match value {
                Value::I32(number) => u32::try_from(*number).ok(),
                value => value
                    .to_u64()
                    .ok()
                    .and_then(|number| number.try_into().ok()),
            })
            .collect()
    }
}

impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
