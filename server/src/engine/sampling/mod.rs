//! Picks the next token from a row of logits.
//!
//! The order is that of Transformers' generation (`generation/utils.py`): bias, penalties, whether
//! the answer may end, what a grammar allows, temperature, `top_k`, `top_p`, `min_p`; presence and frequency penalties, which Transformers
//! lacks, come after the repetition penalty as in vLLM's sampler. Log probabilities are the
//! model's own, taken before all of that, as vLLM reports them.
mod adjustments;
mod draw;
mod ending;
mod grammar;
mod logprobs;
mod random;
mod row;

use super::request::{GenerationError, GenerationRequest, Logprobs, Sampling};
use adjustments::Adjustments;
use ending::Ending;
pub use grammar::Grammar;
use random::Random;

/// Below this temperature the most likely token is picked.
const GREEDY_BELOW: f64 = 1e-5;

/// What [`Sampler::pick`] picked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picked {
    /// The token's id.
    pub(super) token: u32,
    /// Where they were asked for.
    pub(super) logprobs: Option<Logprobs>,
}

/// The sampler of one generation; what it picks depends on nothing but the request and the logits.
pub(super) struct Sampler {
    sampling: Sampling,
    adjustments: Adjustments,
    ending: Ending,
    random: Random,
}

impl Sampler {
    /// A sampler for `request`, whose answer ends with one of `end_tokens`. `salt` sets requests
    /// without a seed apart.
    pub(super) fn new(request: &GenerationRequest, end_tokens: &[u32], salt: u64) -> Self {
        let sampling = request.sampling.clone();
        Self {
            adjustments: Adjustments::new(&sampling, &request.prompt),
            ending: Ending::new(sampling.min_tokens, end_tokens),
            random: sampling
                .seed
                .map_or_else(|| Random::arbitrary(salt), Random::new),
            sampling,
        }
    }

    /// The next token.
    pub(super) fn pick(&mut self, mut logits: Vec<f32>) -> Result<Picked, GenerationError> {
        let own = self.sampling.logprobs.map(|count| (logits.clone(), count));
        self.adjustments.apply(&mut logits);
        self.ending.restrict(&mut logits);
        if let Some(grammar) = &mut self.sampling.grammar {
            grammar.restrict(&mut logits)?;
        }
        let best = row::likeliest(&logits).ok_or(GenerationError::NotANumber)?;
        let token = if self.sampling.temperature < GREEDY_BELOW {
            best.id
        } else {
            draw::draw(logits, best, &self.sampling, self.random.next())
        };
        self.adjustments.note(token);
        self.ending.note();
        if let Some(grammar) = &mut self.sampling.grammar {
            grammar.note(token)?;
        }
        Ok(Picked {
            token,
            logprobs: own.map(|(row, count)| logprobs::of(&row, token, count)),
        })
    }
}

/// A parameter in the precision of logits.
#[allow(
    clippy::cast_possible_truncation,
    reason = "parameters are small numbers, and logits have no more digits"
)]
const fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests;
