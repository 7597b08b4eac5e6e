//! Where weights are stored: one view of the tensors of GGUF and safetensors files.
use super::{error::LoadError, formats::bytes_of};
use candle_core::quantized::GgmlDType;
use std::path::Path;

/// The tensors of a model, mapped into memory and not yet read.
pub trait WeightSource: Send + Sync {
    /// The tensor of this name, if there is one. Its bytes fit its dimensions.
    fn tensor(&self, name: &str) -> Result<Option<StoredTensor<'_>>, LoadError>;

    /// The names of all tensors, in no order.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;

    /// The file, or the folder of the files, for messages.
    fn path(&self) -> &Path;
}

/// One tensor as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredTensor<'a> {
    /// How the bytes encode numbers.
    pub format: GgmlDType,
    /// Its dimensions, the slowest first.
    pub dimensions: &'a [usize],
    /// The bytes, without a copy. Not aligned to anything.
    pub bytes: &'a [u8],
}

impl<'a> StoredTensor<'a> {
    /// Rows and the width of a row: the last dimension, and all others together.
    pub fn matrix(&self) -> Option<(usize, usize)> {
        let (columns, others) = self.dimensions.split_last()?;
        let rows = others.iter().try_fold(1_usize, |product, &dimension| {
            product.checked_mul(dimension)
        })?;
        Some((rows, *columns))
    }

    /// `rows` of it, where its rows are whole bytes.
    pub fn rows(&self, rows: std::ops::Range<usize>) -> Option<&'a [u8]> {
        let (_, columns) = self.matrix()?;
        let width = bytes_of(self.format, columns)?;
        let bytes = rows.start.checked_mul(width)?..rows.end.checked_mul(width)?;
        self.bytes.get(bytes)
    }
}
