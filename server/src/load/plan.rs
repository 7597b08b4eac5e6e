//! What is decided about a model before its weights are read: precision, longest sequence, KV cache
//! and batching.
use super::{
    error::LoadError,
    memory::{self, Room},
    precision::{self, Choice, FormatPlan},
};
use crate::{
    engine::{BLOCK_TOKENS, EngineOptions},
    model::{Backend, DecoderWeights, SequentialModel},
};
use candlepower_api::{
    Precision,
    memory::{COMFORTABLE_TOKENS, Needs},
    server_config::ServerConfig,
};

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
    /// Bytes of KV cache for one token.
    pub(super) kv_bytes_per_token: u64,
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
    let options = EngineOptions::from(&config.engine);
    let kv_cache_tokens = |weights| {
        let needs = Needs {
            weights,
            kv_bytes_per_token,
            context_length,
            max_batch_size: options.max_batch_size,
            overhead: room.overhead(),
        };
        memory::kv_cache_tokens(&needs, config.engine.kv_cache_memory, room)
    };
    let precision = precision::choose(weights, config.model.precision, backend, &|weights| {
        kv_cache_tokens(weights)
            .is_ok_and(|tokens| tokens >= context_length.min(COMFORTABLE_TOKENS))
    })?;
    let kv_blocks = kv_cache_tokens(precision.weights)? / BLOCK_TOKENS;
    Ok(Plan {
        architecture: spec.architecture.clone(),
        precision,
        context_length: context_length.min(kv_blocks * BLOCK_TOKENS),
        kv_blocks,
        kv_cache_bytes: (kv_blocks * BLOCK_TOKENS) as u64 * kv_bytes_per_token,
        kv_bytes_per_token,
        backend: backend.name(),
        options,
    })
}

/// Plans a model that is computed one sequence at a time.
pub(super) fn of_sequential(
    model: &SequentialModel,
    config: &ServerConfig,
    room: Room,
) -> Result<Plan, LoadError> {
    let reason = match config.model.precision {
        Precision::Auto => "candle-transformers computes with it",
        Precision::F32 => "it was asked for",
        wanted => {
            return Err(LoadError::InvalidConfiguration(format!(
                "models of the architecture {} are computed in f32 only, not in {wanted}: set precision to auto or f32",
                model.architecture()
            )));
        }
    };
    let options = EngineOptions::from(&config.engine);
    let context_length = context_length(config, model.context_length())?;
    let chunk = |context: usize| {
        if model.takes_chunks() {
            options.prefill_chunk.min(context)
        } else {
            context
        }
    };
    let weights = model.weights_bytes()?;
    let needs = Needs {
        weights,
        // A long prompt needs several times as much for its scores as for its keys and values.
        kv_bytes_per_token: model.kv_bytes_per_token()
            + model.attention_bytes_per_token(chunk(context_length)),
        context_length,
        max_batch_size: 1,
        overhead: room.overhead(),
    };
    let tokens = memory::kv_cache_tokens(&needs, config.engine.kv_cache_memory, room)?;
    let context_length = context_length.min(tokens);
    tracing::warn!(
        architecture = model.architecture(),
        "only candle-transformers computes this architecture: one sequence at a time, engine.maxBatchSize is 1"
    );
    Ok(Plan {
        architecture: model.architecture().to_owned(),
        precision: Choice {
            plan: FormatPlan::AsStored,
            precision: Precision::F32.to_string(),
            weights,
            reason,
        },
        context_length,
        kv_blocks: context_length.div_ceil(BLOCK_TOKENS),
        kv_cache_bytes: context_length as u64 * model.kv_bytes_per_token(),
        kv_bytes_per_token: model.kv_bytes_per_token(),
        backend: SequentialModel::BACKEND,
        options: EngineOptions {
            max_batch_size: 1,
            prefill_chunk: chunk(context_length),
            // The cache is the library's own, and nobody else's.
            prefix_caching: false,
            ..options
        },
    })
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
    use candlepower_api::{memory::OVERHEAD, value::ByteSize};

    fn plan_in(
        room: ByteSize,
        name: &str,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Result<Plan, LoadError> {
        let files = fixture::files(name);
        let model = SequentialModel::find(files.description(), files.weights());
        let mut config = ServerConfig::for_model("/models/tiny");
        change(&mut config);
        of_sequential(&model.unwrap().unwrap(), &config, Room::Process(room))
    }

    fn plan(name: &str, change: impl FnOnce(&mut ServerConfig)) -> Result<Plan, LoadError> {
        plan_in(ByteSize::gibibytes(1), name, change)
    }

    #[test]
    fn the_library_computes_one_sequence_at_a_time_whatever_is_configured() {
        let plan = plan("olmo", |config| {
            config.engine.max_batch_size = 16;
            config.engine.prefill_chunk = 8;
            config.engine.max_context_length = Some(100);
        })
        .unwrap();
        assert_eq!(plan.precision.precision, "f32");
        assert_eq!((plan.context_length, plan.kv_blocks), (100, 4));
        let options = plan.options;
        assert_eq!((options.max_batch_size, options.prefill_chunk), (1, 8));
        assert!(!options.prefix_caching);
    }

    #[test]
    fn a_prompt_is_whole_where_the_library_cannot_go_on_with_one() {
        let plan = plan("phi", |config| config.engine.prefill_chunk = 8).unwrap();
        assert_eq!(plan.options.prefill_chunk, plan.context_length);
    }

    /// A server that accepts a prompt and then runs out of memory for its scores ends all requests.
    #[test]
    fn the_context_is_as_long_as_the_memory_holds_scores_for() {
        // Room for scores of 128 rows with 64 tokens: half of what a whole prompt needs, and twice
        // what chunks of 32 rows do.
        let scores = 3 * 128 * 64 * 4 * size_of::<f32>() as u64;
        let cramped = |name| {
            let weights = plan(name, |_| {}).unwrap().precision.weights;
            let room = ByteSize::new(OVERHEAD.bytes() + weights + scores);
            plan_in(room, name, |config| config.engine.prefill_chunk = 32)
        };
        assert!(matches!(
            cramped("phi"),
            Err(LoadError::InsufficientMemory { .. })
        ));
        assert_eq!(cramped("olmo").unwrap().context_length, 128);
    }

    #[test]
    fn what_it_cannot_compute_in_is_refused_with_what_it_can() {
        for precision in [Precision::Q8_0, Precision::Bf16] {
            let refused = plan("olmo", |config| config.model.precision = precision);
            let message = refused.unwrap_err().to_string();
            assert!(
                message.contains("set precision to auto or f32"),
                "{message}"
            );
        }
        assert!(plan("olmo", |config| config.model.precision = Precision::F32).is_ok());
    }

    #[test]
    fn a_longer_context_than_the_models_own_is_refused() {
        let refused = plan("olmo", |config| {
            config.engine.max_context_length = Some(129);
        });
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("made for 128"), "{message}");
    }
}
