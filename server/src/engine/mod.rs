//! Turning token ids into token ids: what a request is, how requests share the model's steps,
//! and the trait behind which a backend computes them.
//!
//! Data flows one way: [`EngineHandle::submit`] puts a request into the queue of the engine's
//! thread; the [`scheduler`] packs the sequences of a step into one [`Batch`]; an [`Engine`]
//! turns it into logits; [`sampling`] picks tokens, which go back as [`GenerationEvent`]s.
pub mod batch;
mod blocks;
pub mod handle;
pub mod mock;
mod places;
pub mod request;
pub mod sampling;
pub mod scheduler;
mod worker;

pub use batch::{BLOCK_TOKENS, Batch, Engine, EngineError, EngineLimits, SequenceId};
pub use handle::{EngineHandle, EngineOptions, Generation, SubmitError};
pub use request::{
    FinishReason, GenerationError, GenerationEvent, GenerationRequest, Logprobs, Sampling,
};
pub use sampling::Grammar;
pub use scheduler::{StepObserver, StepSummary};
