//! The architectures that can be served: from what a file says about itself to a specification,
//! and where each weight is stored.
mod gemma2;
mod gemma3;
mod gguf;
mod hugging_face;
mod llama;
mod mistral;
mod names;
mod phi3;
mod qwen2;
mod qwen3;

use super::{sequential, spec::DecoderSpec, weights::Weight};
use crate::load::{LoadError, WeightSource, gguf::Metadata};
use gguf::GgufFields;
pub(super) use gguf::is_factors;
use hugging_face::ConfigFields;
pub(super) use names::{Naming, Place};
use serde_json::{Map, Value};

/// One architecture.
pub(super) struct Architecture {
    /// `general.architecture` in GGUF and `model_type` in `config.json`.
    name: &'static str,
    from_gguf: Option<fn(&GgufFields) -> Described>,
    from_config: Option<fn(&ConfigFields) -> Described>,
    place: fn(Naming, &DecoderSpec, Weight) -> Place,
}

type Described = Result<DecoderSpec, Refusal>;

const ALL: &[Architecture] = &[
    llama::ARCHITECTURE,
    mistral::ARCHITECTURE,
    qwen2::ARCHITECTURE,
    qwen3::ARCHITECTURE,
    phi3::ARCHITECTURE,
    gemma2::ARCHITECTURE,
    gemma3::IN_GGUF,
    gemma3::IN_CONFIG,
];

/// What a file says about the model in it.
#[derive(Clone, Copy, Debug)]
pub enum Description<'a> {
    /// The key-value pairs of GGUF.
    Gguf(&'a Metadata),
    /// Hugging Face's `config.json`.
    Config(&'a Map<String, Value>),
}

/// Why a model is not computed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A variant that is not known well enough; its name.
    Unsupported(String),
    /// What is wrong with the description.
    Damaged(String),
}

/// A decoder and where its weights are.
pub(super) struct Decoder {
    pub(super) spec: DecoderSpec,
    pub(super) naming: Naming,
    pub(super) place: fn(Naming, &DecoderSpec, Weight) -> Place,
}

/// Names of the architectures that can be served.
pub fn supported() -> String {
    let packed: Vec<_> = ALL.iter().map(|architecture| architecture.name).collect();
    let sequential: Vec<_> = sequential::supported().collect();
    format!(
        "{}, or, one sequence at a time and from safetensors, {}",
        packed.join(", "),
        sequential.join(", ")
    )
}

/// Finds the architecture of `source` by its description and reads its specification.
pub(super) fn describe(
    description: Description,
    source: &dyn WeightSource,
) -> Result<Decoder, LoadError> {
    let refused = |refusal| match refusal {
        Refusal::Unsupported(found) => unsupported(found),
        Refusal::Damaged(problem) => LoadError::corrupt(source.path(), problem),
    };
    let (naming, architecture) = match description {
        Description::Gguf(metadata) => (Naming::Gguf, metadata.text("general.architecture")),
        Description::Config(config) => (
            Naming::HuggingFace,
            config.get("model_type").and_then(Value::as_str),
        ),
    };
    let name = architecture.ok_or_else(|| {
        refused(Refusal::Damaged(
            "it does not name its architecture".to_owned(),
        ))
    })?;
    let architecture = ALL.iter().find(|architecture| architecture.name == name);
    let architecture = architecture.ok_or_else(|| unsupported(name.to_owned()))?;
    let spec = match description {
        Description::Gguf(metadata) => {
            let read = architecture.from_gguf;
            read.map(|read| read(&GgufFields::new(name, metadata, source)?))
        }
        Description::Config(config) => {
            let read = architecture.from_config;
            read.map(|read| read(&ConfigFields::new(name, config)))
        }
    };
    let spec = spec
        .ok_or_else(|| unsupported(format!("{name} in this kind of file")))?
        .map_err(refused)?;
    spec.check()
        .map_err(|problem| refused(Refusal::Damaged(problem)))?;
    Ok(Decoder {
        spec,
        naming,
        place: architecture.place,
    })
}

pub(in crate::model) fn unsupported(found: String) -> LoadError {
    LoadError::UnsupportedArchitecture {
        found,
        supported: supported(),
    }
}

#[cfg(test)]
mod tests;
