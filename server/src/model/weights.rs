//! The weights of a decoder by what they are for, whatever they are called where they are stored.
//!
//! A backend asks [`DecoderWeights`] for one weight after the other and keeps nothing of what it
//! gets but its own form of it, so that the files can be unmapped once the engine is built.
use super::{
    architectures::{self, Decoder, Description, Naming, Place},
    spec::DecoderSpec,
};
use crate::load::{
    LoadError, StoredTensor, WeightSource,
    formats::{bytes_of, convert, widen},
    precision::FormatPlan,
};
use candle_core::quantized::GgmlDType;
use std::{
    borrow::Cow,
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

/// A weight of a decoder.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Weight {
    /// `[vocabulary, hidden]`
    Embeddings,
    /// `[vocabulary, hidden]`, where it is not the embeddings.
    Output,
    /// `[hidden]`
    FinalNorm,
    /// A weight of one layer.
    Layer(usize, LayerWeight),
}

/// A weight of a layer. Matrices have one row for each number that they give.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the names say all there is to say")]
pub enum LayerWeight {
    AttentionNorm,
    Query,
    Key,
    Value,
    QueryBias,
    KeyBias,
    ValueBias,
    QueryNorm,
    KeyNorm,
    AttentionOutput,
    AfterAttentionNorm,
    FeedForwardNorm,
    Gate,
    Up,
    Down,
    AfterFeedForwardNorm,
}

/// What a weight is used as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Rows are looked up, one a token.
    Embeddings,
    /// A product gives the logits.
    Output,
    /// A product within a layer.
    Matrix,
    /// A norm or a bias: small, and kept in 32-bit floats.
    Vector,
}

/// A matrix in the format that it is to be held in.
#[derive(Clone, Debug)]
pub struct WeightMatrix<'a> {
    /// How the bytes encode numbers; a row is whole blocks.
    pub format: GgmlDType,
    /// Numbers that it gives.
    pub rows: usize,
    /// Numbers that it takes.
    pub columns: usize,
    /// Row after row. Borrowed from the file where it is stored in the same format.
    pub bytes: Cow<'a, [u8]>,
}

/// A stored tensor, which holds one weight or several of the same role.
#[derive(Clone, Debug)]
pub struct WeightTensor<'a> {
    /// Its name where it is stored.
    pub name: String,
    /// What is stored.
    pub stored: StoredTensor<'a>,
    /// The format in which its weights are handed out. Norms and biases keep the one they have.
    pub format: GgmlDType,
}

/// The weights of one decoder in their files, all known to be there and of the right shape.
pub struct DecoderWeights<'a> {
    source: &'a dyn WeightSource,
    decoder: Decoder,
    plan: FormatPlan,
    progress: &'a (dyn Fn(u8) + Sync),
    read: AtomicU64,
    total: u64,
}

impl<'a> DecoderWeights<'a> {
    /// Finds the decoder that `description` declares in `source`. A file with weights that the
    /// architecture does not have is refused: its model would be computed wrongly in silence.
    pub fn find(description: Description, source: &'a dyn WeightSource) -> Result<Self, LoadError> {
        let decoder = architectures::describe(description, source)?;
        let mut weights = Self {
            source,
            decoder,
            plan: FormatPlan::AsStored,
            progress: &|_| {},
            read: AtomicU64::new(0),
            total: 0,
        };
        weights.total = weights.stored_bytes()?;
        let used: HashSet<_> = weights
            .list()
            .into_iter()
            .map(|weight| weights.place(weight).tensor)
            .collect();
        let surplus = source
            .names()
            .filter(|&name| !used.contains(name) && !weights.may_be_left(name));
        match surplus.min() {
            Some(name) => Err(architectures::unsupported(format!(
                "{} with the tensor {name}",
                weights.spec().architecture
            ))),
            None => Ok(weights),
        }
    }

    /// Converts weights by `plan` when they are read, and tells `progress` the percentage read.
    #[must_use]
    pub fn reading(mut self, plan: FormatPlan, progress: &'a (dyn Fn(u8) + Sync)) -> Self {
        self.plan = plan;
        self.progress = progress;
        self
    }

    /// The same weights out of `source`, which holds their tensors by the same names.
    pub fn stored_in(mut self, source: &'a dyn WeightSource) -> Result<Self, LoadError> {
        self.source = source;
        self.total = self.stored_bytes()?;
        Ok(self)
    }

    /// The same weights for a decoder that computes something else.
    #[cfg(test)]
    pub(crate) fn changed(mut self, change: impl FnOnce(&mut DecoderSpec)) -> Self {
        change(&mut self.decoder.spec);
        self
    }

    /// What the decoder computes.
    pub const fn spec(&self) -> &DecoderSpec {
        &self.decoder.spec
    }

    /// Every weight of the decoder, layer by layer.
    pub fn list(&self) -> Vec<Weight> {
        let spec = self.spec();
        let output = (!spec.tied_output).then_some(Weight::Output);
        let ends = [Weight::Embeddings, Weight::FinalNorm]
            .into_iter()
            .chain(output);
        let layers = (0..spec.layers).flat_map(|index| {
            self.layer()
                .into_iter()
                .map(move |weight| Weight::Layer(index, weight))
        });
        ends.chain(layers).collect()
    }

    /// The weights of each layer.
    pub fn layer(&self) -> Vec<LayerWeight> {
        use LayerWeight as Layer;
        let spec = self.spec();
        let mut weights = vec![
            Layer::AttentionNorm,
            Layer::Query,
            Layer::Key,
            Layer::Value,
            Layer::AttentionOutput,
            Layer::FeedForwardNorm,
            Layer::Gate,
            Layer::Up,
            Layer::Down,
        ];
        if spec.attention.biases {
            weights.extend([Layer::QueryBias, Layer::KeyBias, Layer::ValueBias]);
        }
        if spec.norms.per_head {
            weights.extend([Layer::QueryNorm, Layer::KeyNorm]);
        }
        if spec.norms.after {
            weights.extend([Layer::AfterAttentionNorm, Layer::AfterFeedForwardNorm]);
        }
        weights
    }

    /// Rows and columns of a weight; a vector is one row.
    pub fn shape(&self, weight: Weight) -> (usize, usize) {
        use LayerWeight as Layer;
        let spec = self.spec();
        let (query, key) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        match weight {
            Weight::Embeddings | Weight::Output => (spec.vocabulary, spec.hidden),
            Weight::FinalNorm => (1, spec.hidden),
            Weight::Layer(_, weight) => match weight {
                Layer::Query => (query, spec.hidden),
                Layer::Key | Layer::Value => (key, spec.hidden),
                Layer::AttentionOutput => (spec.hidden, query),
                Layer::Gate | Layer::Up => (spec.feed_forward, spec.hidden),
                Layer::Down => (spec.hidden, spec.feed_forward),
                Layer::QueryBias => (1, query),
                Layer::KeyBias | Layer::ValueBias => (1, key),
                Layer::QueryNorm | Layer::KeyNorm => (1, spec.head_dim),
                Layer::AttentionNorm
                | Layer::AfterAttentionNorm
                | Layer::FeedForwardNorm
                | Layer::AfterFeedForwardNorm => (1, spec.hidden),
            },
        }
    }

    /// What a weight is used as. Tied embeddings are the output.
    pub fn role(&self, weight: Weight) -> Role {
        match weight {
            Weight::Embeddings if !self.spec().tied_output => Role::Embeddings,
            Weight::Embeddings | Weight::Output => Role::Output,
            _ if self.shape(weight).0 == 1 => Role::Vector,
            _ => Role::Matrix,
        }
    }

    /// The format in which [`DecoderWeights::matrix`] hands out a weight under `plan`.
    pub fn format(&self, weight: Weight, plan: FormatPlan) -> Result<GgmlDType, LoadError> {
        let (stored, _) = self.stored(weight)?;
        Ok(plan.format(self.role(weight), stored, self.shape(weight).1))
    }

    /// The tensors that hold the weights, each once, with the formats that `plan` gives them.
    pub fn tensors(&self, plan: FormatPlan) -> Result<Vec<WeightTensor<'a>>, LoadError> {
        let mut seen = HashSet::new();
        let mut tensors = Vec::new();
        for weight in self.list() {
            let name = self.place(weight).tensor;
            if !seen.insert(name.clone()) {
                continue;
            }
            let stored = self.tensor(&name)?;
            let format = match self.role(weight) {
                Role::Vector => stored.format,
                role => plan.format(role, stored.format, self.shape(weight).1),
            };
            tensors.push(WeightTensor {
                name,
                stored,
                format,
            });
        }
        Ok(tensors)
    }

    /// A matrix, converted where the plan asks for it.
    pub fn matrix(&self, weight: Weight) -> Result<WeightMatrix<'a>, LoadError> {
        let (stored, bytes) = self.stored(weight)?;
        let (rows, columns) = self.shape(weight);
        let format = self.format(weight, self.plan)?;
        let matrix = WeightMatrix {
            bytes: convert(bytes, stored, format)?,
            format,
            rows,
            columns,
        };
        self.advance(bytes);
        Ok(matrix)
    }

    /// A norm or a bias. A norm is what rows are multiplied by, however it is stored.
    pub fn vector(&self, weight: Weight) -> Result<Vec<f32>, LoadError> {
        let (stored, bytes) = self.stored(weight)?;
        let bytes_of_floats = convert(bytes, stored, GgmlDType::F32)?;
        let mut vector = widen(&bytes_of_floats, GgmlDType::F32);
        let bias = matches!(
            weight,
            Weight::Layer(
                _,
                LayerWeight::QueryBias | LayerWeight::KeyBias | LayerWeight::ValueBias
            )
        );
        if self.spec().norms.stored_less_one && !bias {
            for number in &mut vector {
                *number += 1.0;
            }
        }
        self.advance(bytes);
        Ok(vector)
    }

    /// Format and bytes of a weight where it is stored.
    fn stored(&self, weight: Weight) -> Result<(GgmlDType, &'a [u8]), LoadError> {
        let Place { tensor: name, rows } = self.place(weight);
        let tensor = self.tensor(&name)?;
        let (wanted_rows, columns) = self.shape(weight);
        let wrong = || {
            let dimensions = tensor.dimensions;
            LoadError::corrupt(
                self.source.path(),
                format!(
                    "the tensor {name} is {dimensions:?}, where {wanted_rows} × {columns} belong"
                ),
            )
        };
        let (found_rows, found_columns) = tensor.matrix().ok_or_else(wrong)?;
        let part = rows.is_some();
        let rows = rows.unwrap_or(0..wanted_rows);
        let fits = columns == found_columns
            && rows.len() == wanted_rows
            && (part || found_rows == wanted_rows)
            && bytes_of(tensor.format, columns).is_some();
        if !fits {
            return Err(wrong());
        }
        let bytes = tensor.rows(rows).ok_or_else(wrong)?;
        Ok((tensor.format, bytes))
    }

    fn tensor(&self, name: &str) -> Result<StoredTensor<'a>, LoadError> {
        self.source.tensor(name)?.ok_or_else(|| {
            LoadError::corrupt(self.source.path(), format!("the tensor {name} is missing"))
        })
    }

    /// Bytes of all weights where they are stored, and at least one.
    fn stored_bytes(&self) -> Result<u64, LoadError> {
        let mut bytes = 0;
        for weight in self.list() {
            bytes += self.stored(weight)?.1.len() as u64;
        }
        Ok(bytes.max(1))
    }

    fn place(&self, weight: Weight) -> Place {
        (self.decoder.place)(self.decoder.naming, self.spec(), weight)
    }

    /// Whether a stored tensor changes nothing, or is part of the specification already.
    fn may_be_left(&self, name: &str) -> bool {
        match self.decoder.naming {
            Naming::Gguf => architectures::is_factors(name),
            Naming::HuggingFace => {
                let tied = self.spec().tied_output && name == "lm_head.weight";
                tied || name.ends_with("rotary_emb.inv_freq")
            }
        }
    }

    fn advance(&self, bytes: &[u8]) {
        let bytes = bytes.len() as u64;
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(
            u8::try_from(read * 100 / self.total)
                .unwrap_or(100)
                .min(100),
        );
    }
}

#[cfg(test)]
mod tests;
