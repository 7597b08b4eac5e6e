//! Architectures that only candle-transformers implements. Its models own a KV cache for one
//! sequence and know no packed rows, so sequences are computed one after the other, in floats.
//! Slow beside the packed decoders, and better than a model that does not run at all.
mod architectures;
mod engine;
mod weights;

use super::architectures::{Description, unsupported};
use crate::{
    engine::{BLOCK_TOKENS, Engine, EngineLimits},
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
    layers: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// The numbers that everything is computed in. In 16 bits, most of these models would count
/// positions in numbers of 16 bits, too, of which there are not enough
/// (docs/decisions/0011-candle-transformers-one-at-a-time.md).
const FLOAT: DType = DType::F32;

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

    /// Whether a prompt can be computed in pieces.
    pub const fn takes_chunks(&self) -> bool {
        self.architecture.takes_chunks
    }

    /// Bytes of the weights in memory.
    pub fn weights_bytes(&self) -> Result<u64, LoadError> {
        let mut elements = 0;
        for name in self.source.names() {
            if let Some(tensor) = self.source.tensor(name)? {
                elements += tensor.dimensions.iter().product::<usize>();
            }
        }
        Ok((elements * size_of::<f32>()) as u64)
    }

    /// Bytes of KV cache for one token.
    pub const fn kv_bytes_per_token(&self) -> u64 {
        let it = self.dimensions;
        (2 * it.layers * it.kv_heads * it.head_dim * size_of::<f32>()) as u64
    }

    /// Bytes that attention needs besides, for each token that `rows` others see at once: their
    /// scores, before and after a step of their making and with the mask, and the token's key and
    /// value, repeated for every head.
    pub const fn attention_bytes_per_token(&self, rows: usize) -> u64 {
        let it = self.dimensions;
        (it.heads * (3 * rows + 2 * it.head_dim) * size_of::<f32>()) as u64
    }

    /// Reads the weights into an engine that computes one sequence of up to `context_length` tokens
    /// at a time. `progress` is told the percentage read.
    pub fn load(
        &self,
        context_length: usize,
        device: &Device,
        progress: &(dyn Fn(u8) + Sync),
    ) -> Result<Box<dyn Engine>, LoadError> {
        let stored = StoredWeights::new(self.source, progress)?;
        let read = stored.record();
        let weights = VarBuilder::from_backend(Box::new(stored), FLOAT, device.clone());
        let mut config = self.config.clone();
        // The library makes tables of so many rows, and they may be more than the memory holds.
        config.insert(CONTEXT.to_owned(), Value::from(context_length));
        let model = (self.architecture.load)(Value::Object(config), weights)
            .map_err(|error| LoadError::corrupt(self.source.path(), error))?;
        // Weights that nothing reads mean that another model was meant.
        if let Some(surplus) = read.first_unread(self.source.names()) {
            let architecture = self.architecture.name;
            return Err(unsupported(format!(
                "{architecture} with the tensor {surplus}"
            )));
        }
        let limits = EngineLimits {
            context_length,
            kv_blocks: context_length.div_ceil(BLOCK_TOKENS),
            vocabulary: self.dimensions.vocabulary,
        };
        let takes_chunks = self.architecture.takes_chunks;
        let engine = SequentialEngine::new(model, takes_chunks, limits, device.clone());
        Ok(Box::new(engine))
    }
}

/// The field of `config.json` with the longest sequence that the model was made for.
const CONTEXT: &str = "max_position_embeddings";

/// No published model comes near; larger numbers are damage, and the library would ask for memory
/// by them.
const MOST: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 12;
const MOST_EXPERTS: usize = 1 << 12;
const WIDEST_HEAD: usize = 1 << 14;

impl Dimensions {
    fn read(config: &Map<String, Value>) -> Result<Self, String> {
        for experts in ["num_experts", "num_local_experts", "num_experts_per_tok"] {
            optional(config, experts, MOST_EXPERTS)?;
        }
        let rotated = config.get("partial_rotary_factor").and_then(Value::as_f64);
        if let Some(rotated) = rotated.filter(|rotated| !(0.0..=1.0).contains(rotated)) {
            return Err(format!("partial_rotary_factor cannot be {rotated}"));
        }
        let heads = required(config, "num_attention_heads", MOST)?;
        let head_dim = match optional(config, "head_dim", WIDEST_HEAD)? {
            Some(head_dim) => head_dim,
            None => required(config, "hidden_size", MOST)? / heads,
        };
        if !(1..=WIDEST_HEAD).contains(&head_dim) {
            return Err(format!("the head width cannot be {head_dim}"));
        }
        let trained = required(config, CONTEXT, MOST)?;
        // Beyond the window the library shows rows more than they should see.
        let window = optional(config, "sliding_window", MOST)?;
        Ok(Self {
            context_length: window.map_or(trained, |window| trained.min(window)),
            vocabulary: required(config, "vocab_size", MOST)?,
            layers: required(config, "num_hidden_layers", MOST_LAYERS)?,
            heads,
            kv_heads: optional(config, "num_key_value_heads", MOST)?.unwrap_or(heads),
            head_dim,
        })
    }
}

/// The number `name`, from 1 to `most`, where there is one.
fn optional(config: &Map<String, Value>, name: &str, most: usize) -> Result<Option<usize>, String> {
    let value = match config.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let number = value.as_u64().and_then(|number| number.try_into().ok());
    match number {
        Some(number) if (1..=most).contains(&number) => Ok(Some(number)),
        _ => Err(format!("{name} cannot be {value}")),
    }
}

fn required(config: &Map<String, Value>, name: &str, most: usize) -> Result<usize, String> {
    optional(config, name, most)?.ok_or_else(|| format!("{name} is missing in config.json"))
}

#[cfg(test)]
mod tests;
