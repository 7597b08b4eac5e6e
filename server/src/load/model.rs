//! Builds everything that serving needs from one configuration.
use super::{
    checksum,
    error::LoadError,
    gguf::{GgufFile, format_name},
    memory::{self, Needs},
};
use crate::{
    engine::{BLOCK_TOKENS, Batch, Engine, EngineHandle, EngineOptions, SequenceId, StepObserver},
    model::{self, ModelShape},
    text::{ChatTemplate, Tokenizer},
};
use candle_core::Device;
use candlepower_api::{
    Precision,
    server_config::{LoadStage, LoadedModel, ServerConfig},
};
use std::{sync::Arc, time::SystemTime};

/// A model that serves.
#[derive(Debug)]
pub struct ServedModel {
    /// What is loaded.
    pub facts: LoadedModel,
    /// Text to token ids and back.
    pub tokenizer: Tokenizer,
    /// Conversations to prompts; absent where the model has no template.
    pub chat_template: Option<ChatTemplate>,
    /// The engine's thread.
    pub engine: EngineHandle,
    /// When the parts of loading happened.
    pub trace: LoadTrace,
}

/// When the parts of loading happened, each as beginning and end.
#[derive(Clone, Copy, Debug)]
pub struct LoadTrace {
    /// Loading began.
    pub started: SystemTime,
    /// The weights were read.
    pub read_weights: (SystemTime, SystemTime),
    /// The first generation ran.
    pub warm_up: (SystemTime, SystemTime),
    /// Loading ended.
    pub finished: SystemTime,
}

/// Told the stage and the percentage done within it.
pub type Progress<'a> = dyn Fn(LoadStage, u8) + Sync + 'a;

/// Loads the model that `config` names and starts its engine.
pub fn load(
    config: &ServerConfig,
    observer: Arc<dyn StepObserver>,
    progress: &Progress,
) -> Result<ServedModel, LoadError> {
    let started = SystemTime::now();
    let device = Device::Cpu;
    let file = GgufFile::open(&config.model.path)?;
    if let Some(expected) = &config.model.sha256 {
        checksum::verify(file.path(), file.bytes(), expected, &|percent| {
            progress(LoadStage::Verifying, percent);
        })?;
    }
    let shape = ModelShape::of(&file)?;
    let precision = check_precision(&file, config.model.precision)?;
    let context_length = check_context(config, &shape)?;
    let weights = file.weights_bytes();
    let needs = Needs {
        weights,
        kv_bytes_per_token: shape.kv_bytes_per_token(),
        context_length,
        max_batch_size: config.engine.max_batch_size,
    };
    let limit = config
        .engine
        .memory_limit
        .map_or_else(memory::limit, |limit| limit.min(memory::limit()));
    let kv_cache_tokens = memory::kv_cache_tokens(&needs, config.engine.kv_cache_memory, limit)?;
    let kv_blocks = kv_cache_tokens / BLOCK_TOKENS;
    let context_length = context_length.min(kv_blocks * BLOCK_TOKENS);
    let tokenizer = tokenizer(config, &file)?;
    let chat_template = chat_template(&file, &tokenizer)?;

    let reading = SystemTime::now();
    let mut engine = model::build(
        &file,
        &shape,
        context_length,
        kv_blocks,
        &device,
        &|percent| {
            progress(LoadStage::ReadingWeights, percent);
        },
    )?;
    let read = SystemTime::now();
    progress(LoadStage::WarmingUp, 0);
    warm_up(engine.as_mut())?;
    // The tokenizer compiles its patterns at its first text.
    tokenizer.encode("warm up", true)?;
    let warm = SystemTime::now();

    let facts = LoadedModel {
        name: served_name(config),
        architecture: shape.architecture.clone(),
        precision,
        device: "cpu".to_owned(),
        context_length: context_length as u64,
        weights_bytes: weights,
        kv_cache_bytes: (kv_blocks * BLOCK_TOKENS) as u64 * shape.kv_bytes_per_token(),
    };
    let engine = EngineHandle::start(
        engine,
        tokenizer.end_tokens().to_vec(),
        options(config),
        observer,
    )
    .map_err(LoadError::Thread)?;
    let trace = LoadTrace {
        started,
        read_weights: (reading, read),
        warm_up: (read, warm),
        finished: warm,
    };
    Ok(ServedModel {
        facts,
        tokenizer,
        chat_template,
        engine,
        trace,
    })
}

fn options(config: &ServerConfig) -> EngineOptions {
    EngineOptions {
        max_batch_size: config.engine.max_batch_size.max(1),
        max_batch_wait: config.engine.max_batch_wait.as_std(),
        max_queue_depth: config.engine.max_queue_depth,
        prefill_chunk: config.engine.prefill_chunk.max(1),
    }
}

fn check_precision(file: &GgufFile, wanted: Precision) -> Result<String, LoadError> {
    let found = file
        .dominant_format()
        .map_or_else(|| "f32".to_owned(), format_name);
    if wanted == Precision::Auto || wanted.as_str() == found {
        return Ok(found);
    }
    Err(LoadError::UnsupportedPrecision {
        found,
        wanted: wanted.to_string(),
    })
}

fn check_context(config: &ServerConfig, shape: &ModelShape) -> Result<usize, LoadError> {
    match config.engine.max_context_length {
        Some(0) => Err(LoadError::InvalidConfiguration(
            "engine.maxContextLength is 0: write a number of tokens, or leave it out".to_owned(),
        )),
        Some(wanted) if wanted > shape.context_length => {
            Err(LoadError::InvalidConfiguration(format!(
                "engine.maxContextLength is {wanted}, but the model was made for {}: write at most that",
                shape.context_length
            )))
        }
        Some(wanted) => Ok(wanted),
        None => Ok(shape.context_length),
    }
}

fn served_name(config: &ServerConfig) -> String {
    config.model.served_name.clone().unwrap_or_else(|| {
        config
            .model
            .path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
    })
}

/// The tokenizer that the configuration names, or the weights' own, or a `tokenizer.json` beside
/// the weights where the weights' own is of a kind that is not built in.
fn tokenizer(config: &ServerConfig, file: &GgufFile) -> Result<Tokenizer, LoadError> {
    if let Some(path) = &config.model.tokenizer {
        return Ok(Tokenizer::from_file(path, file.metadata())?);
    }
    match Tokenizer::from_gguf(file.metadata()) {
        Ok(tokenizer) => Ok(tokenizer),
        Err(error) => {
            let beside = file.path().with_file_name("tokenizer.json");
            if beside.is_file() {
                Ok(Tokenizer::from_file(&beside, file.metadata())?)
            } else {
                Err(error.into())
            }
        }
    }
}

fn chat_template(
    file: &GgufFile,
    tokenizer: &Tokenizer,
) -> Result<Option<ChatTemplate>, LoadError> {
    let Some(source) = file.metadata().text("tokenizer.chat_template") else {
        return Ok(None);
    };
    let token = |key: &str| {
        file.metadata()
            .unsigned32(key)
            .and_then(|id| tokenizer.token(id))
            .unwrap_or_default()
    };
    let template = ChatTemplate::compile(
        source,
        token("tokenizer.ggml.bos_token_id"),
        token("tokenizer.ggml.eos_token_id"),
    )?;
    Ok(Some(template))
}

/// Computes a prompt and one more token, so that the first request finds memory and threads ready
/// and a model that cannot compute is found before it is Ready.
fn warm_up(engine: &mut dyn Engine) -> Result<(), LoadError> {
    let id = SequenceId(u64::MAX);
    let problem = |error: crate::engine::EngineError| LoadError::WarmUp(error.to_string());
    let prompt = [0, 1, 2, 3];
    for (tokens, start) in [(&prompt[..], 0), (&prompt[..1], 4)] {
        let mut batch = Batch::default();
        batch.push(id, tokens, start, true, &[0]);
        let logits = engine.step(&batch).map_err(problem)?;
        if logits.iter().flatten().any(|logit| logit.is_nan()) {
            return Err(LoadError::WarmUp(
                "the logits are not numbers; the weights are damaged".to_owned(),
            ));
        }
    }
    Ok(())
}
