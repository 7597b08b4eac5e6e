//! The model's end of an answer, which may not come before the answer has a number of tokens.

/// Withholds the end tokens of one generation for as long as it has to go on.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    /// Empty where the answer may end at once.
    end_tokens: Vec<u32>,
    /// Tokens that have to come before one of them.
    left: usize,
}

impl Ending {
    pub(super) fn new(min_tokens: usize, end_tokens: &[u32]) -> Self {
        let withheld = if min_tokens > 0 { end_tokens } else { &[] };
        Self {
            end_tokens: withheld.to_vec(),
            left: min_tokens,
        }
    }

    /// Rules out the end tokens, if it is too early for them.
    pub(super) fn restrict(&self, logits: &mut [f32]) {
        if self.left == 0 {
            return;
        }
        for id in &self.end_tokens {
            if let Some(logit) = logits.get_mut(*id as usize) {
                // Added, so that what is not a number stays so and is found.
                *logit += f32::NEG_INFINITY;
            }
        }
    }

    /// Remembers that the answer has one more token.
    pub(super) const fn note(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}
