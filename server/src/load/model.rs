//! Builds everything that serving needs from one configuration.
use super::{
    device,
    error::LoadError,
    fetch::{self, InUse, Located},
    files::ModelFiles,
    precision,
    prepare::prepare,
};
use crate::{
    engine::{Batch, Engine, EngineHandle, SequenceId, StepObserver},
    text::{ChatTemplate, Tokenizer},
};
use candlepower_api::server_config::{LoadReport, LoadStage, LoadedModel, ServerConfig};
use std::{path::Path, sync::Arc, time::SystemTime};

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
    // A GPU that is missing is missed before anything is fetched.
    let (device, reason) = device::open(config.engine.device)?;
    let located = fetch::locate(config, progress)?;
    let fetched = config.model.source.as_ref().map(|_| SystemTime::now());
    let files = open(config, &located, progress)?;
    let room = device::room(&device, config.engine.memory_limit)?;
    device::report(&device, reason, room);
    let (plan, build) = prepare(&files, located.kept.as_ref(), config, &device, room)?;
    precision::report(&plan.precision);
    let tokenizer = files.tokenizer(located.tokenizer.as_deref())?;
    let chat_template = files.chat_template(&tokenizer)?;

    let reading = SystemTime::now();
    let mut engine = build(progress)?;
    let read = SystemTime::now();
    progress(LoadReport::at(LoadStage::WarmingUp, 0));
    warm_up(engine.as_mut())?;
    // The tokenizer compiles its patterns at its first text.
    tokenizer.encode("warm up", true)?;
    let warm = SystemTime::now();

    let facts = LoadedModel {
        name: served_name(config, &located.path),
        architecture: plan.architecture,
        precision: plan.precision.precision,
        device: device::name(&device).to_owned(),
        backend: plan.backend.to_owned(),
        context_length: plan.context_length as u64,
        weights_bytes: plan.precision.weights,
        kv_cache_bytes: plan.kv_cache_bytes,
        kv_bytes_per_token: Some(plan.kv_bytes_per_token),
    };
    let engine = EngineHandle::start(
        engine,
        tokenizer.end_tokens().to_vec(),
        plan.options,
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
/// and a model that cannot compute is found before it is Ready. On a GPU each thread queues its work
/// for itself: the logits that come back here end the queue of the thread that has read the weights,
/// before the engine's own thread begins another.
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
