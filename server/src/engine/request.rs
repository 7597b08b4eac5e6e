//! What one generation asks for and what comes back.
use std::time::Instant;

/// One generation: prompt in, tokens out.
#[derive(Clone, Debug)]
pub struct GenerationRequest {
    /// Token ids of the prompt; at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to generate; at least one. Prompt and answer together fit the context.
    pub max_tokens: usize,
    /// How tokens are picked.
    pub sampling: Sampling,
}

/// How tokens are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 picks the most likely token; higher values flatten the distribution.
    pub temperature: f64,
    /// Pick from the smallest set of tokens whose probabilities sum to this, 0 to 1.
    pub top_p: f64,
    /// The same seed picks the same tokens; without one, each request differs.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            seed: None,
        }
    }
}

/// Why a generation ended well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FinishReason {
    /// The model ended its answer, or a stop string appeared.
    Stop,
    /// `max_tokens` or the context's end was reached.
    Length,
}

impl FinishReason {
    /// The name in the OpenAI API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// What the engine tells about a generation: `Started`, then tokens in order, then exactly one
/// `Finished` or `Failed`.
#[derive(Debug)]
pub enum GenerationEvent {
    /// Its first step begins.
    Started {
        /// When it entered the queue.
        queued: Instant,
        /// When the step began.
        first_step: Instant,
    },
    /// A token was picked. The model's own end-of-text tokens are not reported.
    Token {
        /// Its id.
        id: u32,
        /// When it was picked.
        at: Instant,
    },
    /// The answer is complete.
    Finished {
        /// Why.
        reason: FinishReason,
        /// When the last token was picked.
        at: Instant,
        /// Tokens picked, the end-of-text token included.
        generated: usize,
    },
    /// The answer will not be completed.
    Failed(GenerationError),
}

/// Why a generation ended badly.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GenerationError {
    /// The backend failed.
    #[error("{0}")]
    Engine(String),
    /// The model produced something that is not a number.
    #[error("the model produced logits that are not numbers")]
    NotANumber,
    /// The server is shutting down and the drain time is over.
    #[error("the server is shutting down")]
    ShuttingDown,
}
