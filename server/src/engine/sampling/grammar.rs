//! What an answer has to follow, such as a JSON schema: the tokens that may come next.
use crate::engine::request::GenerationError;
use llguidance::Matcher;
use std::fmt::{self, Debug, Formatter};

/// A grammar, and how far an answer has come in it.
#[derive(Clone)]
pub struct Grammar(Box<Matcher>);

impl Grammar {
    /// A grammar that is at its beginning.
    pub fn new(matcher: Matcher) -> Self {
        Self(Box::new(matcher))
    }

    /// Rules out the tokens that it does not allow next. Where the answer is complete, only the
    /// model's end tokens are left.
    pub(crate) fn restrict(&mut self, logits: &mut [f32]) -> Result<(), GenerationError> {
        let allowed = self.0.compute_mask_or_eos().map_err(failed)?;
        let words = logits.chunks_mut(u32::BITS as usize);
        for (index, row) in words.enumerate() {
            let mask = allowed.as_slice().get(index).copied().unwrap_or(0);
            if mask == u32::MAX {
                continue;
            }
            for (bit, logit) in row.iter_mut().enumerate() {
                if mask >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        Ok(())
    }

    /// Goes on by `token`.
    pub(crate) fn note(&mut self, token: u32) -> Result<(), GenerationError> {
        if self.0.is_stopped() {
            return Ok(());
        }
        self.0.consume_token(token).map_err(failed)
    }
}

fn failed(error: impl fmt::Display) -> GenerationError {
    GenerationError::Grammar(error.to_string())
}

impl Debug for Grammar {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        formatter.write_str("Grammar")
    }
}

impl PartialEq for Grammar {
    /// Grammars are not compared.
    fn eq(&self, _: &Self) -> bool {
        false
    }
}
