//! A served model without weights: what tests, measurements and fuzzing put behind the real router.
use super::{
    error::LoadError,
    fetch::InUse,
    model::{LoadTrace, ServedModel},
};
use crate::{
    engine::{
        EngineHandle, EngineOptions, StepObserver,
        mock::{END_TOKEN, MockEngine},
    },
    text::{ChatTemplate, Tokenizer},
};
use candlepower_api::server_config::{EngineConfig, LoadedModel};
use std::{sync::Arc, time::SystemTime};

/// The name that requests use.
pub const NAME: &str = "mock";

/// `engine` behind `tokenizer` and the chat template `template`.
pub fn served(
    engine: MockEngine,
    tokenizer: Tokenizer,
    template: &str,
    config: &EngineConfig,
    observer: Arc<dyn StepObserver>,
) -> Result<ServedModel, LoadError> {
    let options = EngineOptions::from(config);
    let engine = EngineHandle::start(Box::new(engine), vec![END_TOKEN], options, observer)
        .map_err(LoadError::Thread)?;
    let now = SystemTime::now();
    Ok(ServedModel {
        facts: LoadedModel {
            name: NAME.to_owned(),
            architecture: "mock".to_owned(),
            precision: "f32".to_owned(),
            device: "cpu".to_owned(),
            backend: "mock".to_owned(),
            context_length: engine.limits().context_length as u64,
            weights_bytes: 0,
            kv_cache_bytes: 0,
            kv_bytes_per_token: None,
        },
        revision: String::new(),
        tokenizer,
        chat_template: Some(ChatTemplate::compile(
            template,
            String::new(),
            String::new(),
        )?),
        engine,
        in_use: InUse::default(),
        trace: LoadTrace {
            started: now,
            download: None,
            read_weights: (now, now),
            warm_up: (now, now),
            finished: now,
        },
    })
}
