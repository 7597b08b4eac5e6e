//! Architectures that only candle-transformers implements. Its models own a KV cache for one
//! sequence and know no packed rows, so sequences are computed one after the other, in floats.
//! Slow beside the packed decoders, and better than a model that does not run at all.
mod architectures;
mod engine;
mod weights;

use super::architectures::{Description, unsupported};
use crate::{
    engine::Engine,
    load::{LoadError, WeightSource},
};
use architectures::Architecture;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use engine::SequentialEngine;
use serde_json::{Map, Value};
use weights::StoredWeights;

/// A model that is computed one sequence at a time, with its weights still in their files.
pub struct SequentialModel<'a> {
    architecture: &'static Architecture,
    config: Map<String, Value>,
    source: &'a dyn WeightSource,
    dimensions: Dimensions,
}

/// What serving has to know about a model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Dimensions {
    context_length: usize,
    vocabulary: usize,
    kv_elements_per_token: usize,
}

/// Names of the architectures.
pub(super) fn supported() -> impl Iterator<Item = &'static str> {
    architectures::ALL
        .iter()
        .map(|architecture| architecture.name)
}

impl<'a> SequentialModel<'a> {
    /// What computes it, for metrics and status.
    pub const BACKEND: &'static str = "candle-transformers";

    /// The model that `description` declares, where its architecture is one of these and it is
    /// stored as Hugging Face does.
    pub fn find(
        description: Description,
        source: &'a dyn WeightSource,
    ) -> Result<Option<Self>, LoadError> {
        let Description::Config(config) = description else {
            return Ok(None);
        };
        let name = config.get("model_type").and_then(Value::as_str);
        let mut known = architectures::ALL.iter();
        let Some(architecture) = known.find(|known| Some(known.name) == name) else {
            return Ok(None);
        };
        if let Some(feature) = architecture.unknown_feature(config) {
            return Err(unsupported(format!("{} with {feature}", architecture.name)));
        }
        let config = architecture.completed(config);
        let dimensions = Dimensions::read(&config)
            .map_err(|problem| LoadError::corrupt(source.path(), problem))?;
        Ok(Some(Self {
            architecture,
            config,
            source,
            dimensions,
        }))
    }

    /// The architecture's name.
    pub const fn architecture(&self) -> &'static str {
        self.architecture.name
    }

    /// Longest sequence that is computed rightly, in tokens.
    pub const fn context_length(&self) -> usize {
        self.dimensions.context_length
    }

    /// Bytes of the weights in memory, as numbers of `float`.
    pub fn weights_bytes(&self, float: DType) -> Result<u64, LoadError> {
        let mut elements = 0;
        for name in self.source.names() {
            if let Some(tensor) = self.source.tensor(name)? {
                elements += tensor.dimensions.iter().product::<usize>();
            }
        }
        Ok((elements * float.size_in_bytes()) as u64)
    }

    /// Bytes of KV cache for one token, as numbers of `float`.
    pub const fn kv_bytes_per_token(&self, float: DType) -> u64 {
        (self.dimensions.kv_elements_per_token * float.size_in_bytes()) as u64
    }

    /// Reads the weights into an engine that computes one sequence of up to `context_length` tokens
    /// at a time. `progress` is told the percentage read.
    pub fn load(
        &self,
        context_length: usize,
        float: DType,
        device: &Device,
        progress: &(dyn Fn(u8) + Sync),
    ) -> Result<Box<dyn Engine>, LoadError> {
        let stored = StoredWeights::new(self.source, progress)?;
        let read = stored.record();
        let weights = VarBuilder::from_backend(Box::new(stored), float, device.clone());
        let model = (self.architecture.load)(Value::Object(self.config.clone()), weights)
            .map_err(|error| LoadError::corrupt(self.source.path(), error))?;
        // Weights that nothing reads mean that another model was meant.
        if let Some(surplus) = read.first_unread(self.source.names()) {
            let architecture = self.architecture.name;
            return Err(unsupported(format!(
                "{architecture} with the tensor {surplus}"
            )));
        }
        let vocabulary = self.dimensions.vocabulary;
        let engine = SequentialEngine::new(model, context_length, vocabulary, device.clone());
        Ok(Box::new(engine))
    }
}

impl Dimensions {
    fn read(config: &Map<String, Value>) -> Result<Self, String> {
        let optional = |name: &str| {
            let number = config.get(name)?.as_u64()?;
            usize::try_from(number).ok()
        };
        let required = |name: &str| match optional(name) {
            Some(number) if (1..=MOST).contains(&number) => Ok(number),
            Some(number) => Err(format!("{name} cannot be {number}")),
            None => Err(format!("{name} is missing in config.json")),
        };
        let heads = required("num_attention_heads")?;
        let head_dim = optional("head_dim").unwrap_or(required("hidden_size")? / heads);
        let kv_heads = optional("num_key_value_heads").unwrap_or(heads);
        let layers = required("num_hidden_layers")?;
        let kv_elements_per_token = [2, layers, kv_heads, head_dim]
            .iter()
            .try_fold(1_usize, |product, &factor| product.checked_mul(factor))
            .ok_or("the KV cache of a token has too many numbers")?;
        let trained = required("max_position_embeddings")?;
        // Beyond the window the library shows rows more than they should see.
        let window = optional("sliding_window").filter(|&window| window > 0);
        Ok(Self {
            context_length: window.map_or(trained, |window| trained.min(window)),
            vocabulary: required("vocab_size")?,
            kv_elements_per_token,
        })
    }
}

/// No published model comes near; larger numbers are damage.
const MOST: usize = 1 << 24;

#[cfg(test)]
mod tests;
