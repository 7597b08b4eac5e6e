//! How long things take on the stand-in server, and what goes wrong there.
use std::time::Duration;

/// The laws of a server. Everything at its default is instantaneous and never fails.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Laws {
    /// The same seed draws the same jitter and failures for the same request order.
    pub seed: u64,
    /// Requests that run at once; others wait in a queue.
    pub slots: usize,
    /// Requests that may wait; more are refused with 429.
    pub queue: usize,
    /// Time from admission to the first token, whatever the prompt.
    pub first_token: Duration,
    /// And for each of its tokens.
    pub prefill_per_token: Duration,
    /// Time between tokens.
    pub per_token: Duration,
    /// Tokens that a stream sends at once, when the first of them is due.
    pub at_once: u32,
    /// Share by which each time between tokens varies, up and down, evenly distributed.
    pub jitter: f64,
    /// Share by which each other running request lengthens the time between tokens.
    pub batch_effect: f64,
    /// A stall after so many tokens of each answer, for so long.
    pub stall: Option<(u32, Duration)>,
    /// Share of requests that are answered with 500.
    pub error_rate: f64,
    /// Share of streams that break in their middle.
    pub break_rate: f64,
    /// Whether a connection's second request finds it closed without a word, as llama-server does.
    pub one_answer_a_connection: bool,
    /// Whether answers can be streamed; where not, `stream: true` is ignored.
    pub streaming: bool,
    /// Whether `usage` is reported.
    pub usage: bool,
    /// Whether fields beyond OpenAI's own, such as `ignore_eos`, are refused.
    pub strict: bool,
    /// Tokens of an answer where its length is not enforced; `max_tokens` where absent.
    pub natural_length: Option<u32>,
    /// Tokens of the chat template.
    pub template: u32,
    /// The key that requests need.
    pub api_key: Option<String>,
    /// Whether requests without a trace are logged: other tools send none.
    pub log_untraced: bool,
}

impl Default for Laws {
    fn default() -> Self {
        Self {
            seed: 1,
            slots: usize::MAX >> 4,
            queue: usize::MAX >> 4,
            first_token: Duration::ZERO,
            prefill_per_token: Duration::ZERO,
            per_token: Duration::ZERO,
            at_once: 1,
            jitter: 0.0,
            batch_effect: 0.0,
            stall: None,
            error_rate: 0.0,
            break_rate: 0.0,
            one_answer_a_connection: false,
            streaming: true,
            usage: true,
            strict: false,
            natural_length: None,
            template: 11,
            api_key: None,
            log_untraced: false,
        }
    }
}

/// A small generator of random numbers (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of one request.
    pub fn new(seed: u64, request: u64) -> Self {
        let mixed = (seed ^ request.wrapping_mul(0x9E37_79B9_7F4A_7C15))
            .wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// Between 0 and 1.
    pub fn share(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Laws {
    /// Time from admission to the first token.
    pub fn prefill(&self, prompt_tokens: u32) -> Duration {
        self.first_token + self.prefill_per_token * prompt_tokens
    }

    /// Time to the next token after `sent` ones, while `running` requests run.
    pub fn gap(&self, sent: u32, running: usize, dice: &mut Dice) -> Duration {
        let batch = 1.0 + self.batch_effect * running.saturating_sub(1) as f64;
        let jitter = 1.0 + self.jitter * (2.0 * dice.share() - 1.0);
        let stall = self.stall.filter(|(after, _)| *after == sent);
        self.per_token.mul_f64(batch * jitter) + stall.map_or(Duration::ZERO, |(_, time)| time)
    }
}
