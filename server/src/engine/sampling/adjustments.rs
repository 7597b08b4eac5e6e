//! What the request adds to the logits, and what it holds against tokens that were there before.
use super::single;
use crate::engine::request::Sampling;
use ahash::AHashMap;

/// Bias and penalties of one generation, with the tokens that it has seen.
#[derive(Clone, Debug)]
pub(super) struct Adjustments {
    bias: Vec<(u32, f32)>,
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// How often the answer has each token; 0 for those of the prompt. Empty without penalties.
    seen: AHashMap<u32, u32>,
}

impl Adjustments {
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let mut adjustments = Self {
            bias: sampling.logit_bias.clone(),
            repetition: single(sampling.repetition_penalty),
            presence: single(sampling.presence_penalty),
            frequency: single(sampling.frequency_penalty),
            seen: AHashMap::new(),
        };
        if adjustments.penalises_repetition() {
            adjustments.seen = prompt.iter().map(|&id| (id, 0)).collect();
        }
        adjustments
    }

    fn penalises_repetition(&self) -> bool {
        (self.repetition - 1.0).abs() > f32::EPSILON
    }

    fn penalises(&self) -> bool {
        self.penalises_repetition()
            || self.presence.abs() > f32::EPSILON
            || self.frequency.abs() > f32::EPSILON
    }

    /// Changes the logits of the few tokens that are concerned.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (id, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(*id as usize) {
                *logit += bias;
            }
        }
        for (id, &count) in &self.seen {
            let Some(logit) = logits.get_mut(*id as usize) else {
                continue;
            };
            if *logit > 0.0 {
                *logit /= self.repetition;
            } else {
                *logit *= self.repetition;
            }
            if count > 0 {
                *logit -= count as f32 * self.frequency + self.presence;
            }
        }
    }

    /// Remembers that the answer goes on with `token`.
    pub(super) fn note(&mut self, token: u32) {
        if self.penalises() {
            *self.seen.entry(token).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(sampling: &Sampling, prompt: &[u32], answer: &[u32]) -> Vec<f32> {
        let mut adjustments = Adjustments::new(sampling, prompt);
        for &token in answer {
            adjustments.note(token);
        }
        let mut logits = vec![2.0, 2.0, -2.0, 2.0];
        adjustments.apply(&mut logits);
        logits
    }

    #[test]
    fn nothing_changes_by_default() {
        let logits = applied(&Sampling::default(), &[0, 1], &[2, 3]);
        assert_eq!(logits, [2.0, 2.0, -2.0, 2.0]);
    }

    #[test]
    fn the_repetition_penalty_makes_tokens_of_prompt_and_answer_less_likely() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        assert_eq!(applied(&sampling, &[0], &[2, 2]), [1.0, 2.0, -4.0, 2.0]);
    }

    #[test]
    fn presence_counts_once_and_frequency_each_time_and_the_prompt_not_at_all() {
        let presence = Sampling {
            presence_penalty: 0.5,
            ..Sampling::default()
        };
        assert_eq!(applied(&presence, &[0], &[1, 1, 3]), [2.0, 1.5, -2.0, 1.5]);
        let frequency = Sampling {
            frequency_penalty: 0.5,
            ..Sampling::default()
        };
        assert_eq!(applied(&frequency, &[0], &[1, 1, 3]), [2.0, 1.0, -2.0, 1.5]);
    }

    #[test]
    fn bias_comes_before_penalties_and_beyond_the_vocabulary_means_nothing() {
        let sampling = Sampling {
            logit_bias: vec![(0, 2.0), (9, 100.0)],
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        assert_eq!(applied(&sampling, &[0], &[]), [2.0, 2.0, -2.0, 2.0]);
    }
}
