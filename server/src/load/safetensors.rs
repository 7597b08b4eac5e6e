//! Safetensors files: one, or several with an index, with headers that are checked before use.
use super::{
    error::LoadError,
    formats::bytes_of,
    open,
    source::{StoredTensor, WeightSource},
};
use candle_core::quantized::GgmlDType;
use candlepower_api::weights::SINGLE;
use candlepower_kernels::MappedFile;
use safetensors::{Dtype, SafeTensors, tensor::Metadata};
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
};

/// The name of the index of several files in a model's folder.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Open safetensors files whose headers are known to be consistent with their lengths.
#[derive(Debug)]
pub struct SafeTensorsFiles {
    path: PathBuf,
    files: Vec<OpenFile>,
    /// Which of the files holds a tensor.
    holders: HashMap<String, usize>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    map: MappedFile,
    header: Metadata,
    /// Where the tensors begin.
    data: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl SafeTensorsFiles {
    /// Opens one file.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        Self::of(path, vec![OpenFile::open(path)?])
    }

    /// Opens the files in a model's folder: a single one, or those that its index names.
    pub fn open_folder(folder: &Path) -> Result<Self, LoadError> {
        let index = folder.join(INDEX);
        if !index.is_file() {
            return Self::of(folder, vec![OpenFile::open(&folder.join(SINGLE))?]);
        }
        let Index { weight_map } = serde_json::from_str(&open::text(&index)?)
            .map_err(|error| LoadError::corrupt(&index, error))?;
        let names: BTreeSet<&String> = weight_map.values().collect();
        let files = names
            .into_iter()
            .map(|name| {
                // An index names files beside itself; anything else would read elsewhere.
                if Path::new(name).file_name() != Some(name.as_ref()) {
                    let problem = format!("it names \"{name}\", which is not a file beside it");
                    return Err(LoadError::corrupt(&index, problem));
                }
                OpenFile::open(&folder.join(name))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let files = Self::of(folder, files)?;
        match weight_map.keys().find(|name| !files.has(name)) {
            Some(name) => {
                let problem = format!("no file holds the tensor {name}");
                Err(LoadError::corrupt(&index, problem))
            }
            None => Ok(files),
        }
    }

    fn of(path: &Path, files: Vec<OpenFile>) -> Result<Self, LoadError> {
        let mut holders = HashMap::new();
        for (index, file) in files.iter().enumerate() {
            for name in file.header.offset_keys() {
                if holders.insert(name.clone(), index).is_some() {
                    let problem = format!("the tensor {name} is in another file too");
                    return Err(LoadError::corrupt(&file.path, problem));
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            files,
            holders,
        })
    }

    /// Path and contents of the file, where there is only one.
    pub fn single(&self) -> Option<(&Path, &[u8])> {
        match self.files.as_slice() {
            [file] => Some((&file.path, &file.map)),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.holders.contains_key(name)
    }
}

impl WeightSource for SafeTensorsFiles {
    fn tensor(&self, name: &str) -> Result<Option<StoredTensor<'_>>, LoadError> {
        let file = self
            .holders
            .get(name)
            .and_then(|&index| self.files.get(index));
        match file {
            Some(file) => file.stored(name),
            None => Ok(None),
        }
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.holders.keys().map(String::as_str))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, LoadError> {
        let map = open::map(path)?;
        // The library checks that the tensors lie one after the other, as long as they say, to
        // the end of the file.
        let (header_length, header) =
            SafeTensors::read_metadata(&map).map_err(|error| LoadError::corrupt(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            data: size_of::<u64>() + header_length,
            header,
            map,
        })
    }

    fn stored(&self, name: &str) -> Result<Option<StoredTensor<'_>>, LoadError> {
        let Some(info) = self.header.info(name) else {
            return Ok(None);
        };
        let format = match info.dtype {
            Dtype::F32 => GgmlDType::F32,
            Dtype::F16 => GgmlDType::F16,
            Dtype::BF16 => GgmlDType::BF16,
            other => {
                return Err(LoadError::UnsupportedWeights {
                    path: self.path.clone(),
                    tensor: name.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        let (start, end) = info.data_offsets;
        let bytes = self.map.get(self.data + start..self.data + end);
        let elements: usize = info.shape.iter().product();
        match bytes {
            Some(bytes) if bytes_of(format, elements) == Some(bytes.len()) => {
                Ok(Some(StoredTensor {
                    format,
                    dimensions: &info.shape,
                    bytes,
                }))
            }
            _ => {
                let problem = format!("the tensor {name} is not within the file");
                Err(LoadError::corrupt(&self.path, problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend((0..data).map(|index| u8::try_from(index % 251).unwrap()));
        bytes
    }

    fn open(bytes: &[u8]) -> Result<SafeTensorsFiles, LoadError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        SafeTensorsFiles::open(file.path())
    }

    fn tensor(name: &str, shape: &str, offsets: &str) -> String {
        format!(r#""{name}":{{"dtype":"F16","shape":{shape},"data_offsets":{offsets}}}"#)
    }

    #[test]
    fn a_tensor_is_its_bytes_in_the_file() {
        let header = format!("{{{}}}", tensor("a", "[2,3]", "[0,12]"));
        let files = open(&file(&header, 12)).unwrap();
        let stored = files.tensor("a").unwrap().unwrap();
        assert_eq!(
            (stored.format, stored.dimensions),
            (GgmlDType::F16, &[2, 3][..])
        );
        assert_eq!(stored.bytes, (0..12).collect::<Vec<u8>>());
        assert_eq!(stored.rows(1..2).unwrap(), (6..12).collect::<Vec<u8>>());
        assert!(stored.rows(1..3).is_none());
        assert!(files.tensor("b").unwrap().is_none());
    }

    #[test]
    fn hostile_headers_are_errors() {
        let good = tensor("a", "[2,3]", "[0,12]");
        let whole = file(&format!("{{{good}}}"), 12);
        for length in 0..whole.len() {
            assert!(open(&whole[..length]).is_err(), "cut at {length}");
        }
        for (problem, header, data) in [
            (
                "overlap",
                format!("{{{good},{}}}", tensor("b", "[2]", "[8,12]")),
                12,
            ),
            ("gap", format!("{{{}}}", tensor("a", "[2]", "[4,8]")), 8),
            ("too much", format!("{{{good}}}"), 16),
            (
                "a lying shape",
                format!("{{{}}}", tensor("a", "[2,4]", "[0,12]")),
                12,
            ),
            (
                "an impossible shape",
                format!("{{{}}}", tensor("a", "[9223372036854775807,9]", "[0,12]")),
                12,
            ),
            (
                "backwards",
                format!("{{{}}}", tensor("a", "[2,3]", "[12,0]")),
                12,
            ),
            ("no JSON", "{\"a\":".to_owned(), 0),
        ] {
            let refused = open(&file(&header, data));
            assert!(
                matches!(refused, Err(LoadError::Corrupt { .. })),
                "{problem}"
            );
        }
        let mut endless = whole;
        endless[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(open(&endless), Err(LoadError::Corrupt { .. })));
    }

    #[test]
    fn other_number_formats_are_named() {
        let header = r#"{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}"#;
        let files = open(&file(header, 2)).unwrap();
        let error = files.tensor("a").unwrap_err().to_string();
        assert!(error.contains("I8"), "{error}");
    }

    #[test]
    fn an_index_names_the_files_of_a_folder_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, tensor: &str| {
            let header = format!("{{{}}}", self::tensor(tensor, "[2]", "[0,4]"));
            fs::write(folder.path().join(name), file(&header, 4)).unwrap();
        };
        write("one.safetensors", "a");
        write("two.safetensors", "b");
        let index = |map: &str| {
            fs::write(
                folder.path().join(INDEX),
                format!(r#"{{"weight_map":{map}}}"#),
            )
            .unwrap();
            SafeTensorsFiles::open_folder(folder.path())
        };
        let files = index(r#"{"a":"one.safetensors","b":"two.safetensors"}"#).unwrap();
        assert!(files.has("a") && files.tensor("b").unwrap().is_some());
        assert!(files.single().is_none());
        for map in [
            r#"{"a":"one.safetensors","c":"two.safetensors"}"#,
            r#"{"a":"../one.safetensors"}"#,
            r#"{"a":"/etc/passwd"}"#,
            "[]",
        ] {
            let refused = index(map);
            assert!(matches!(refused, Err(LoadError::Corrupt { .. })), "{map}");
        }
        let missing = index(r#"{"a":"three.safetensors"}"#);
        assert!(matches!(missing, Err(LoadError::NotFound(_))));
    }

    #[test]
    fn a_tensor_in_two_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let header = format!("{{{}}}", tensor("a", "[2]", "[0,4]"));
        for name in ["one.safetensors", "two.safetensors"] {
            fs::write(folder.path().join(name), file(&header, 4)).unwrap();
        }
        let map = r#"{"weight_map":{"a":"one.safetensors","b":"two.safetensors"}}"#;
        fs::write(folder.path().join(INDEX), map).unwrap();
        let error = SafeTensorsFiles::open_folder(folder.path()).unwrap_err();
        assert!(error.to_string().contains("in another file too"), "{error}");
    }
}
