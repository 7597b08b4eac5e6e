//! GGUF files: a checked header, typed metadata, and tensors read straight from the mapped file.
use super::{
    error::LoadError,
    formats, open,
    source::{StoredTensor, WeightSource},
};
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candlepower_kernels::MappedFile;
use std::{
    collections::HashMap,
    io::Cursor,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

/// The largest vocabularies take a third of this. The library's form of a header is up to 32 times
/// as long.
const LONGEST_HEADER: usize = 64 << 20;

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
        let map = open::map(path)?;
        let header = map.get(..LONGEST_HEADER).unwrap_or(&map);
        // The library divides by the alignment that the file declares, 0 or not.
        let content = catch_unwind(|| Content::read(&mut Cursor::new(header)))
            .map_err(|_| LoadError::corrupt(path, "its header makes no sense"))?
            .map_err(|error| LoadError::corrupt(path, error))?;
        let file = Self {
            path: path.to_owned(),
            tensors: content.tensor_infos,
            data_offset: content.tensor_data_offset,
            metadata: Metadata(content.metadata),
            map,
        };
        file.check_whole()?;
        for (name, info) in &file.tensors {
            file.bytes_of(name, info)?;
        }
        Ok(file)
    }

    /// Refuses one of several files that hold a model together.
    fn check_whole(&self) -> Result<(), LoadError> {
        match self.metadata.unsigned("split.count") {
            Some(count) if count > 1 => Err(LoadError::InvalidConfiguration(format!(
                "{} is one of {count} parts of a model: join them with llama-gguf-split --merge and write the path of the whole file into model.source",
                self.path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The file's metadata.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The tensor's bytes, if the header describes it sensibly and the file is long enough.
    fn bytes_of(&self, name: &str, info: &TensorInfo) -> Result<&[u8], LoadError> {
        let corrupt =
            |problem: &str| LoadError::corrupt(&self.path, format!("the tensor {name} {problem}"));
        let size = info
            .shape
            .dims()
            .iter()
            .try_fold(1_usize, |product, &dimension| {
                product.checked_mul(dimension)
            })
            .and_then(|elements| formats::bytes_of(info.ggml_dtype, elements))
            .ok_or_else(|| corrupt("has an impossible shape"))?;
        let start = self
            .data_offset
            .checked_add(info.offset)
            .ok_or_else(|| corrupt("has an impossible offset"))?;
        let end = start
            .checked_add(size as u64)
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

impl WeightSource for GgufFile {
    fn tensor(&self, name: &str) -> Result<Option<StoredTensor<'_>>, LoadError> {
        let Some(info) = self.tensors.get(name) else {
            return Ok(None);
        };
        Ok(Some(StoredTensor {
            format: info.ggml_dtype,
            dimensions: info.shape.dims(),
            bytes: self.bytes_of(name, info)?,
        }))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.tensors.keys().map(String::as_str))
    }

    fn path(&self) -> &Path {
        &self.path
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{
        Device, Tensor,
        quantized::{GgmlDType, QTensor, gguf_file::write},
    };
    use std::fs;

    fn file(metadata: &[(&str, &Value)]) -> Vec<u8> {
        let floats = Tensor::arange(0.0_f32, 12.0, &Device::Cpu).unwrap();
        let floats = floats.reshape((3, 4)).unwrap();
        let tensor = QTensor::quantize(&floats, GgmlDType::F32).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, metadata, &[("a", &tensor)]).unwrap();
        bytes.into_inner()
    }

    fn open(bytes: &[u8]) -> Result<GgufFile, LoadError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        GgufFile::open(file.path())
    }

    #[test]
    fn a_tensor_is_its_bytes_in_the_file() {
        let file = open(&file(&[])).unwrap();
        let stored = file.tensor("a").unwrap().unwrap();
        assert_eq!(stored.dimensions, [3, 4]);
        assert_eq!(
            formats::widen(stored.rows(1..2).unwrap(), stored.format),
            [4.0, 5.0, 6.0, 7.0]
        );
        assert!(file.tensor("b").unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_refused() {
        let whole = file(&[("general.name", &Value::String("tiny".into()))]);
        // The last bytes are only padding to the next 32.
        for length in 0..whole.len() - 16 {
            assert!(open(&whole[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn one_of_several_parts_is_refused_with_how_to_join_them() {
        let message = open(&file(&[("split.count", &Value::U16(3))]))
            .unwrap_err()
            .to_string();
        assert!(message.contains("one of 3 parts"), "{message}");
        assert!(message.contains("--merge"), "{message}");
    }

    #[test]
    fn a_header_that_would_divide_by_zero_is_refused() {
        let refused = open(&file(&[("general.alignment", &Value::U32(0))]));
        assert!(matches!(refused, Err(LoadError::Corrupt { .. })));
    }
}
