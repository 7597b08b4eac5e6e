//! Stored weights as the library asks for them: by name and shape.
use crate::load::{
    LoadError, WeightSource,
    formats::{float_type, format_name},
};
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::{Init, var_builder::SimpleBackend};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The names that were read.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadRecord(Arc<Mutex<HashSet<String>>>);

impl ReadRecord {
    fn add(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned());
    }

    /// The first of `names`, by the alphabet, that was not read.
    pub(super) fn first_unread<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.filter(|&name| !read.contains(name)).min()
    }
}

/// The weights of one model in their files.
pub(super) struct StoredWeights<'a> {
    source: &'a dyn WeightSource,
    progress: &'a (dyn Fn(u8) + Sync),
    record: ReadRecord,
    bytes: Mutex<u64>,
    total: u64,
}

impl<'a> StoredWeights<'a> {
    pub(super) fn new(
        source: &'a dyn WeightSource,
        progress: &'a (dyn Fn(u8) + Sync),
    ) -> std::result::Result<Self, LoadError> {
        let mut total = 0;
        for name in source.names() {
            total += source
                .tensor(name)?
                .map_or(0, |tensor| tensor.bytes.len() as u64);
        }
        Ok(Self {
            source,
            progress,
            record: ReadRecord::default(),
            bytes: Mutex::new(0),
            total: total.max(1),
        })
    }

    /// Tells, later, what was read.
    pub(super) fn record(&self) -> ReadRecord {
        self.record.clone()
    }

    fn advance(&self, bytes: usize) {
        let mut sum = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *sum += bytes as u64;
        let percent = (*sum * 100 / self.total).min(100);
        (self.progress)(u8::try_from(percent).unwrap_or(100));
    }
}

impl SimpleBackend for StoredWeights<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _init: Init,
        float: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let tensor = self.get_unchecked(name, float, device)?;
        if tensor.shape() != &shape {
            candle_core::bail!("{name} is {:?} instead of {shape:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, float: DType, device: &Device) -> Result<Tensor> {
        let stored = self.source.tensor(name).map_err(candle_core::Error::wrap)?;
        let Some(stored) = stored else {
            candle_core::bail!("the tensor {name} is missing");
        };
        let Some(stored_float) = float_type(stored.format) else {
            candle_core::bail!("{name} is in {}, not in floats", format_name(stored.format));
        };
        self.record.add(name);
        let tensor =
            Tensor::from_raw_buffer(stored.bytes, stored_float, stored.dimensions, device)?;
        self.advance(stored.bytes.len());
        tensor.to_dtype(float)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        matches!(self.source.tensor(name), Ok(Some(_)))
    }
}
