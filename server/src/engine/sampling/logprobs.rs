//! The model's own log probabilities of a row.
use super::{
    row::{likelier_first, top},
    single,
};
use crate::engine::request::Logprobs;

/// What stands for minus infinity, which JSON cannot write; the number is OpenAI's.
const LEAST: f32 = -9999.0;

/// Those of `token` and of the `count` likeliest. The row holds numbers only.
pub(super) fn of(logits: &[f32], token: u32, count: usize) -> Logprobs {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|logit| f64::from((logit - highest).exp()))
        .sum();
    let normaliser = f64::from(highest) + sum.ln();
    let logprob = |logit: f32| single(f64::from(logit) - normaliser).max(LEAST);
    let mut likeliest = top(logits, count);
    likeliest.sort_unstable_by(|left, right| likelier_first(*left, *right));
    Logprobs {
        picked: logits
            .get(token as usize)
            .map_or(LEAST, |&logit| logprob(logit)),
        likeliest: likeliest
            .iter()
            .map(|candidate| (candidate.id, logprob(candidate.logit)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_a_number_that_json_can_write() {
        let found = of(&[0.0, f32::NEG_INFINITY, -1e6], 1, 3);
        assert!((found.picked - LEAST).abs() < f32::EPSILON);
        assert_eq!(found.likeliest, [(0, 0.0), (2, LEAST)]);
    }

    #[test]
    fn probabilities_sum_to_one_and_fall() {
        let row = [1.0, 3.0, 2.0, -1e4];
        let found = of(&row, 2, 4);
        let ids: Vec<_> = found.likeliest.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 2, 0, 3]);
        let sum: f32 = found
            .likeliest
            .iter()
            .map(|(_, logprob)| logprob.exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-5);
        // ln(e² / (e¹ + e² + e³))
        assert!((found.picked + 1.407_606).abs() < 1e-5);
    }
}
