//! Builds everything that serving needs from one configuration.
use super::{
    error::LoadError,
    fetch::{self, InUse, Located},
    files::ModelFiles,
    memory,
    precision::{self, FormatPlan},
    quantised::{self, QuantisedCopy},
};
use crate::{
    engine::{BLOCK_TOKENS, Batch, Engine, EngineHandle, EngineOptions, SequenceId, StepObserver},
    model::{self, Backend, DecoderSpec, DecoderWeights},
    text::{ChatTemplate, Tokenizer},
};
use candle_core::Device;
use candlepower_api::{
    memory::{COMFORTABLE_TOKENS, Needs},
    server_config::{LoadReport, LoadStage, LoadedModel, ServerConfig},
};
use std::{ops::Range, path::Path, sync::Arc, time::SystemTime};

/// How much of reading the weights is done, in percent, once they are quantised in a file.
const QUANTISED: u8 = 90;

/// A model that serves.
#[derive(Debug)]
pub struct ServedModel {
    /// What is loaded.
    pub facts: LoadedModel,
    /// Which version of the weights it is; empty where that is not known.
    pub revision: String,
    /// Text to token ids and back.
    pub tokenizer: Tokenizer,
    /// Conversations to prompts; absent where the model has no template.
    pub chat_template: Option<ChatTemplate>,
    /// The engine's thread.
    pub engine: EngineHandle,
    /// Keeps the cache from losing the model, which a restart needs.
    pub in_use: InUse,
    /// When the parts of loading happened.
    pub trace: LoadTrace,
}

/// When the parts of loading happened, each as beginning and end.
#[derive(Clone, Copy, Debug)]
pub struct LoadTrace {
    /// Loading began.
    pub started: SystemTime,
    /// The model was fetched, where it is not on a volume.
    pub download: Option<(SystemTime, SystemTime)>,
    /// The weights were read.
    pub read_weights: (SystemTime, SystemTime),
    /// The first generation ran.
    pub warm_up: (SystemTime, SystemTime),
    /// Loading ended.
    pub finished: SystemTime,
}

/// Told how far loading is.
pub type Progress<'a> = dyn Fn(LoadReport) + Sync + 'a;

/// Loads the model that `config` names and starts its engine.
pub fn load(
    config: &ServerConfig,
    observer: Arc<dyn StepObserver>,
    progress: &Progress,
) -> Result<ServedModel, LoadError> {
    let started = SystemTime::now();
    let device = Device::Cpu;
    let located = fetch::locate(config, progress)?;
    let fetched = config.model.source.as_ref().map(|_| SystemTime::now());
    let files = open(config, &located, progress)?;
    let weights = DecoderWeights::find(files.description(), files.weights())?;
    let spec = weights.spec().clone();
    let backend = Backend::choose(&spec, &device);
    let context_length = check_context(config, &spec)?;
    let kv_bytes_per_token = backend.kv_bytes_per_token(&spec);
    let limit = config
        .engine
        .memory_limit
        .map_or_else(memory::limit, |limit| limit.min(memory::limit()));
    let kv_cache_tokens = |weights| {
        let needs = Needs {
            weights,
            kv_bytes_per_token,
            context_length,
            max_batch_size: config.engine.max_batch_size,
        };
        memory::kv_cache_tokens(&needs, config.engine.kv_cache_memory, limit)
    };
    let choice = precision::choose(&weights, config.model.precision, backend, &|weights| {
        kv_cache_tokens(weights)
            .is_ok_and(|tokens| tokens >= context_length.min(COMFORTABLE_TOKENS))
    })?;
    let kv_cache_tokens = kv_cache_tokens(choice.weights)?;
    precision::report(&choice);
    let kv_blocks = kv_cache_tokens / BLOCK_TOKENS;
    let context_length = context_length.min(kv_blocks * BLOCK_TOKENS);
    let tokenizer = files.tokenizer(located.tokenizer.as_deref())?;
    let chat_template = files.chat_template(&tokenizer)?;

    let reading = SystemTime::now();
    let copy = quantised_copy(&located, &weights, choice.plan, progress);
    let (weights, left) = match &copy {
        Some(copy) => (weights.stored_in(copy.weights())?, QUANTISED..100),
        None => (weights, 0..100),
    };
    let report = |percent| progress(part_of_reading(&left, percent));
    let weights = weights.reading(choice.plan, &report);
    let mut engine = model::build(backend, &weights, context_length, kv_blocks, &device)?;
    let read = SystemTime::now();
    progress(LoadReport::at(LoadStage::WarmingUp, 0));
    warm_up(engine.as_mut())?;
    // The tokenizer compiles its patterns at its first text.
    tokenizer.encode("warm up", true)?;
    let warm = SystemTime::now();

    let facts = LoadedModel {
        name: served_name(config, &located.path),
        architecture: spec.architecture,
        precision: choice.precision,
        device: "cpu".to_owned(),
        context_length: context_length as u64,
        weights_bytes: choice.weights,
        kv_cache_bytes: (kv_blocks * BLOCK_TOKENS) as u64 * kv_bytes_per_token,
        kv_bytes_per_token: Some(kv_bytes_per_token),
    };
    let engine = EngineHandle::start(
        engine,
        tokenizer.end_tokens().to_vec(),
        EngineOptions::from(&config.engine),
        observer,
    )
    .map_err(LoadError::Thread)?;
    let trace = LoadTrace {
        started,
        download: fetched.map(|fetched| (started, fetched)),
        read_weights: (reading, read),
        warm_up: (read, warm),
        finished: warm,
    };
    Ok(ServedModel {
        facts,
        revision: revision(config, &located),
        tokenizer,
        chat_template,
        engine,
        in_use: located.in_use,
        trace,
    })
}

/// The weights as a file of the cache, where they are quantised and were fetched.
fn quantised_copy(
    located: &Located,
    weights: &DecoderWeights,
    plan: FormatPlan,
    progress: &Progress,
) -> Option<QuantisedCopy> {
    let kept = located.kept.as_ref()?;
    quantised::copy_of(weights, plan, kept, &|percent| {
        progress(part_of_reading(&(0..QUANTISED), percent));
    })
}

/// So many percent of a part of reading the weights.
fn part_of_reading(part: &Range<u8>, percent: u8) -> LoadReport {
    let length = u16::from(part.end.saturating_sub(part.start));
    let done = u8::try_from(length * u16::from(percent.min(100)) / 100).unwrap_or(u8::MAX);
    LoadReport::at(LoadStage::ReadingWeights, part.start.saturating_add(done))
}

/// Opens the model's files. A checksum that was computed while the file came is not computed again.
fn open(
    config: &ServerConfig,
    located: &Located,
    progress: &Progress,
) -> Result<ModelFiles, LoadError> {
    let files = ModelFiles::open(&located.path)?;
    if let Some(expected) = &config.model.sha256 {
        let known = located.sha256.as_deref();
        if known.is_none_or(|known| !known.eq_ignore_ascii_case(expected)) {
            files.verify(expected, &|percent| {
                progress(LoadReport::at(LoadStage::Verifying, percent));
            })?;
        }
    }
    Ok(files)
}

/// The checksum names the version of the weights, or else the commit that they were fetched of.
fn revision(config: &ServerConfig, located: &Located) -> String {
    let sha256 = config.model.sha256.as_ref();
    sha256
        .or(located.version.as_ref())
        .cloned()
        .unwrap_or_default()
}

fn check_context(config: &ServerConfig, spec: &DecoderSpec) -> Result<usize, LoadError> {
    match config.engine.max_context_length {
        Some(0) => Err(LoadError::InvalidConfiguration(
            "engine.maxContextLength is 0: write a number of tokens, or leave it out".to_owned(),
        )),
        Some(wanted) if wanted > spec.context_length => {
            Err(LoadError::InvalidConfiguration(format!(
                "engine.maxContextLength is {wanted}, but the model was made for {}: write at most that",
                spec.context_length
            )))
        }
        Some(wanted) => Ok(wanted),
        None => Ok(spec.context_length),
    }
}

fn served_name(config: &ServerConfig, path: &Path) -> String {
    let model = &config.model;
    let of_source = || model.source.as_deref().and_then(fetch::model_name);
    let given = model.served_name.clone().or_else(of_source);
    given.unwrap_or_else(|| {
        // What follows a dot in a folder's name is part of the model's name.
        let name = if path.is_dir() {
            path.file_name()
        } else {
            path.file_stem()
        };
        name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    })
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

#[cfg(test)]
mod tests;
