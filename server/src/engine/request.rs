//! What one generation asks for and what comes back.
use super::sampling::Grammar;
use std::time::Instant;

/// One generation: prompt in, tokens out.
#[derive(Clone, Debug)]
pub struct GenerationRequest {
    /// Token ids of the prompt; at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to generate; at least one. Prompt and answer together fit the context.
    pub max_tokens: usize,
    /// When it is given up, whether it waits or runs.
    pub deadline: Option<Instant>,
    /// How tokens are picked.
    pub sampling: Sampling,
}

/// How tokens are picked. The order in which these apply is told in [`super::sampling`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 picks the most likely token; higher values flatten the distribution.
    pub temperature: f64,
    /// Pick from this many of the likeliest tokens; all where absent.
    pub top_k: Option<usize>,
    /// Pick from the smallest set of tokens whose probabilities sum to this, 0 to 1.
    pub top_p: f64,
    /// Pick from tokens at least this times as likely as the likeliest, 0 to 1.
    pub min_p: f64,
    /// Divides the positive logits, and multiplies the negative ones, of tokens in prompt or answer.
    pub repetition_penalty: f64,
    /// Taken from the logits of tokens that the answer has.
    pub presence_penalty: f64,
    /// Taken from the logits of tokens for each time that the answer has them.
    pub frequency_penalty: f64,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Tokens that the answer has before the model may end it; [`Self::NEVER_ENDS`]: it may not.
    pub min_tokens: usize,
    /// What the answer has to follow.
    pub grammar: Option<Grammar>,
    /// The same seed picks the same tokens; without one, each request differs.
    pub seed: Option<u64>,
    /// Report each token's log probability, with those of this many of the likeliest tokens.
    pub logprobs: Option<usize>,
}

impl Sampling {
    /// As [`Self::min_tokens`]: only the longest length ends the answer.
    pub const NEVER_ENDS: usize = usize::MAX;
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: Vec::new(),
            min_tokens: 0,
            grammar: None,
            seed: None,
            logprobs: None,
        }
    }
}

/// How likely the model held a token, and what else it might have said.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// The token's natural logarithm of probability, before any sampling parameter.
    pub picked: f32,
    /// The likeliest tokens with theirs, in falling order.
    pub likeliest: Vec<(u32, f32)>,
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
        /// Where they were asked for.
        logprobs: Option<Logprobs>,
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
    /// The answer cannot go on in its grammar.
    #[error("the answer cannot go on in the format that was asked for: {0}")]
    Grammar(String),
    /// It took longer than it was allowed to.
    #[error("the answer took too long")]
    DeadlineExceeded,
    /// The engine's thread has ended, most likely in a panic.
    #[error("the engine has stopped: try again, another replica or a new start will answer")]
    Stopped,
    /// The server is shutting down and the drain time is over.
    #[error("the server is shutting down")]
    ShuttingDown,
}
