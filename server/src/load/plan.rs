//! What is decided about a model before its weights are read: precision, longest sequence, KV cache
//! and batching.
use super::{
    error::LoadError,
    memory::{self, Needs, Room},
    precision::{self, Choice, FormatPlan},
};
use crate::{
    engine::{BLOCK_TOKENS, EngineOptions},
    model::{Backend, DecoderWeights, SequentialModel},
};
use candle_core::{DType, Device};
use candlepower_api::{
    Precision,
    server_config::{ModelConfig, ServerConfig},
};

/// A precision is not chosen by itself where it leaves a KV cache of fewer tokens than this.
const COMFORTABLE: usize = 4096;

/// The decisions.
#[derive(Debug)]
pub(super) struct Plan {
    /// The architecture's name.
    pub(super) architecture: String,
    /// The precision of the weights.
    pub(super) precision: Choice,
    /// Longest sequence in tokens.
    pub(super) context_length: usize,
    /// Blocks of the KV cache.
    pub(super) kv_blocks: usize,
    /// Bytes of the KV cache.
    pub(super) kv_cache_bytes: u64,
    /// What computes, for metrics and status.
    pub(super) backend: &'static str,
    /// How requests share the engine.
    pub(super) options: EngineOptions,
}

/// Plans a decoder on `backend`, where `room` is for it.
pub(super) fn of_decoder(
    weights: &DecoderWeights,
    config: &ServerConfig,
    backend: Backend,
    room: Room,
) -> Result<Plan, LoadError> {
    let spec = weights.spec();
    let context_length = context_length(config, spec.context_length)?;
    let kv_bytes_per_token = backend.kv_bytes_per_token(spec);
    let options = options(config);
    let kv_cache_tokens = |weights| {
        let needs = Needs {
            weights,
            kv_bytes_per_token,
            context_length,
            max_batch_size: options.max_batch_size,
        };
        memory::kv_cache_tokens(&needs, config.engine.kv_cache_memory, room)
    };
    let precision = precision::choose(weights, config.model.precision, backend, &|weights| {
        kv_cache_tokens(weights).is_ok_and(|tokens| tokens >= context_length.min(COMFORTABLE))
    })?;
    let kv_blocks = kv_cache_tokens(precision.weights)? / BLOCK_TOKENS;
    Ok(Plan {
        architecture: spec.architecture.clone(),
        precision,
        context_length: context_length.min(kv_blocks * BLOCK_TOKENS),
        kv_blocks,
        kv_cache_bytes: (kv_blocks * BLOCK_TOKENS) as u64 * kv_bytes_per_token,
        backend: backend.name(),
        options,
    })
}

/// Plans a model that is computed one sequence at a time, in numbers of the type that is returned.
pub(super) fn of_sequential(
    model: &SequentialModel,
    config: &ServerConfig,
    device: &Device,
    room: Room,
) -> Result<(Plan, DType), LoadError> {
    let (float, precision, reason) = float(model, &config.model, device)?;
    let context_length = context_length(config, model.context_length())?;
    let kv_bytes_per_token = model.kv_bytes_per_token(float);
    let weights = model.weights_bytes(float)?;
    let needs = Needs {
        weights,
        kv_bytes_per_token,
        context_length,
        max_batch_size: 1,
    };
    let tokens = memory::kv_cache_tokens(&needs, config.engine.kv_cache_memory, room)?;
    let context_length = context_length.min(tokens);
    let plan = Plan {
        architecture: model.architecture().to_owned(),
        precision: Choice {
            plan: FormatPlan::AsStored,
            precision: precision.to_string(),
            weights,
            reason,
        },
        context_length,
        kv_blocks: context_length.div_ceil(BLOCK_TOKENS),
        kv_cache_bytes: context_length as u64 * kv_bytes_per_token,
        backend: SequentialModel::BACKEND,
        options: EngineOptions {
            max_batch_size: 1,
            // A prompt is computed whole, and its KV cache is nobody else's.
            prefill_chunk: context_length,
            prefix_caching: false,
            ..options(config)
        },
    };
    tracing::warn!(
        architecture = model.architecture(),
        "only candle-transformers computes this architecture: one sequence at a time, engine.maxBatchSize is 1"
    );
    Ok((plan, float))
}

/// The numbers that the library computes with: it has no others than floats, and on a CPU no fast
/// ones of 16 bits.
fn float(
    model: &SequentialModel,
    config: &ModelConfig,
    device: &Device,
) -> Result<(DType, Precision, &'static str), LoadError> {
    let asked = "it was asked for";
    match (config.precision, device.is_cuda()) {
        (Precision::Auto, false) => Ok((DType::F32, Precision::F32, "the CPU computes with it")),
        (Precision::Auto, true) => Ok((DType::BF16, Precision::Bf16, "the GPU computes with it")),
        (Precision::F32, _) => Ok((DType::F32, Precision::F32, asked)),
        (Precision::Bf16, true) => Ok((DType::BF16, Precision::Bf16, asked)),
        (Precision::F16, true) => Ok((DType::F16, Precision::F16, asked)),
        (wanted, on_gpu) => Err(LoadError::InvalidConfiguration(format!(
            "models of the architecture {} are not computed in {wanted}: set precision to auto{}",
            model.architecture(),
            if on_gpu {
                ", f32, f16 or bf16"
            } else {
                " or f32"
            }
        ))),
    }
}

fn options(config: &ServerConfig) -> EngineOptions {
    EngineOptions {
        max_batch_size: config.engine.max_batch_size.max(1),
        max_batch_wait: config.engine.max_batch_wait.as_std(),
        max_queue_depth: config.engine.max_queue_depth,
        prefill_chunk: config.engine.prefill_chunk.max(1),
        prefix_caching: config.engine.prefix_caching,
    }
}

/// The longest sequence that is configured, for a model that was made for `trained` tokens.
fn context_length(config: &ServerConfig, trained: usize) -> Result<usize, LoadError> {
    match config.engine.max_context_length {
        Some(0) => Err(LoadError::InvalidConfiguration(
            "engine.maxContextLength is 0: write a number of tokens, or leave it out".to_owned(),
        )),
        Some(wanted) if wanted > trained => Err(LoadError::InvalidConfiguration(format!(
            "engine.maxContextLength is {wanted}, but the model was made for {trained}: write at most that"
        ))),
        Some(wanted) => Ok(wanted),
        None => Ok(trained),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::fixture;
    use candlepower_api::value::ByteSize;

    fn plan(change: impl FnOnce(&mut ServerConfig)) -> Result<(Plan, DType), LoadError> {
        let files = fixture::files("olmo");
        let model = SequentialModel::find(files.description(), files.weights());
        let mut config = ServerConfig::for_model("/models/olmo");
        change(&mut config);
        let room = Room::Process(ByteSize::gibibytes(1));
        of_sequential(&model.unwrap().unwrap(), &config, &Device::Cpu, room)
    }

    #[test]
    fn the_library_computes_one_sequence_at_a_time_whatever_is_configured() {
        let (plan, float) = plan(|config| {
            config.engine.max_batch_size = 16;
            config.engine.prefill_chunk = 8;
            config.engine.max_context_length = Some(100);
        })
        .unwrap();
        assert_eq!(float, DType::F32);
        assert_eq!(plan.precision.precision, "f32");
        assert_eq!((plan.context_length, plan.kv_blocks), (100, 4));
        let options = plan.options;
        assert_eq!((options.max_batch_size, options.prefill_chunk), (1, 100));
        assert!(!options.prefix_caching);
    }

    #[test]
    fn what_it_cannot_compute_in_is_refused_with_what_it_can() {
        let refused = plan(|config| config.model.precision = Precision::Q8_0);
        let message = refused.unwrap_err().to_string();
        assert!(
            message.contains("set precision to auto or f32"),
            "{message}"
        );
        assert!(plan(|config| config.model.precision = Precision::F32).is_ok());
    }

    #[test]
    fn a_longer_context_than_the_models_own_is_refused() {
        let refused = plan(|config| config.engine.max_context_length = Some(129));
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("made for 128"), "{message}");
    }
}
