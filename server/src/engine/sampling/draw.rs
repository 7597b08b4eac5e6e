//! Draws a token at random: temperature, then `top_k`, `top_p` and `min_p`.
use super::{
    row::{Candidate, top},
    single,
};
use crate::engine::request::Sampling;
use std::cmp::Ordering;

/// A token with its share of the probability, the likeliest's being 1.
#[derive(Clone, Copy, Debug)]
struct Weighted {
    id: u32,
    weight: f32,
}

/// How many of the likeliest are put in order first; four times as many each time that they do not
/// suffice.
const FIRST_ORDERED: usize = 64;

/// The token on which `random`, 0 to below 1, falls. `best` is the likeliest of `logits`, which
/// hold numbers only.
pub(super) fn draw(logits: Vec<f32>, best: Candidate, sampling: &Sampling, random: f64) -> u32 {
    let mut weights = weights(logits, best, sampling);
    if sampling.top_p < 1.0 {
        keep_nucleus(&mut weights, sampling.top_p);
    }
    if sampling.min_p > 0.0 {
        let least = single(sampling.min_p);
        weights.retain(|candidate| candidate.weight >= least);
    }
    let mut left = random * sum(&weights);
    for candidate in &weights {
        left -= f64::from(candidate.weight);
        if left < 0.0 {
            return candidate.id;
        }
    }
    // Rounding may leave a rest behind the last; the likeliest is never wrong.
    best.id
}

/// The tokens that may be drawn, with the temperature applied.
fn weights(logits: Vec<f32>, best: Candidate, sampling: &Sampling) -> Vec<Weighted> {
    let inverse = single(1.0 / sampling.temperature);
    let weigh = |id: u32, logit: f32| Weighted {
        id,
        weight: ((logit - best.logit) * inverse).exp(),
    };
    match sampling.top_k.filter(|&count| count < logits.len()) {
        Some(count) => top(&logits, count)
            .into_iter()
            .map(|Candidate { id, logit }| weigh(id, logit))
            .collect(),
        None => (0..)
            .zip(logits)
            .map(|(id, logit)| weigh(id, logit))
            .filter(|candidate| candidate.weight > 0.0)
            .collect(),
    }
}

fn sum(weights: &[Weighted]) -> f64 {
    weights
        .iter()
        .map(|candidate| f64::from(candidate.weight))
        .sum()
}

fn heavier_first(left: Weighted, right: Weighted) -> Ordering {
    right
        .weight
        .total_cmp(&left.weight)
        .then(left.id.cmp(&right.id))
}

/// Keeps the smallest set of the likeliest whose weights sum to `top_p` of all.
fn keep_nucleus(weights: &mut Vec<Weighted>, top_p: f64) {
    let total = sum(weights);
    let wanted = top_p * total;
    // Tokens below this weigh less than the rest allows even if they are many, so the set is found
    // without them. Of a large vocabulary, that leaves a few.
    let negligible = single((1.0 - top_p) * total / weights.len() as f64);
    weights.retain(|candidate| candidate.weight >= negligible);
    let mut ordered = 0;
    let mut gathered = 0.0;
    let mut portion = FIRST_ORDERED;
    while ordered < weights.len() {
        let rest = &mut weights[ordered..];
        let next = portion.min(rest.len());
        if next < rest.len() {
            rest.select_nth_unstable_by(next, |left, right| heavier_first(*left, *right));
        }
        rest[..next].sort_unstable_by(|left, right| heavier_first(*left, *right));
        for candidate in &rest[..next] {
            gathered += f64::from(candidate.weight);
            ordered += 1;
            if gathered >= wanted {
                weights.truncate(ordered);
                return;
            }
        }
        portion *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sampling::row::likeliest;

    /// The tokens that can be drawn, found by going through the range of the random number.
    fn drawable(logits: &[f32], sampling: &Sampling) -> Vec<u32> {
        let best = likeliest(logits).unwrap();
        let mut ids: Vec<_> = (0..2000)
            .map(|step| draw(logits.to_vec(), best, sampling, f64::from(step) / 2000.0))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Probabilities 0.4, 0.3, 0.2 and 0.1, in another order.
    fn row() -> Vec<f32> {
        [0.2_f32, 0.4, 0.1, 0.3].map(f32::ln).to_vec()
    }

    #[test]
    fn each_token_is_drawn_as_often_as_it_is_likely() {
        let row = row();
        let best = likeliest(&row).unwrap();
        let mut counts = [0_u32; 4];
        for step in 0..1000 {
            let random = f64::from(step) / 1000.0;
            counts[draw(row.clone(), best, &Sampling::default(), random) as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([200_u32, 400, 100, 300]) {
            assert!(count.abs_diff(expected) <= 1, "{counts:?}");
        }
    }

    #[test]
    fn temperature_sharpens_and_flattens() {
        let row = row();
        let best = likeliest(&row).unwrap();
        let share = |temperature| {
            let sampling = Sampling {
                temperature,
                ..Sampling::default()
            };
            (0..1000)
                .filter(|step| draw(row.clone(), best, &sampling, f64::from(*step) / 1000.0) == 1)
                .count()
        };
        // 0.4² / (0.4² + 0.3² + 0.2² + 0.1²), and √ in place of ².
        assert!(share(0.5).abs_diff(533) <= 2);
        assert!(share(2.0).abs_diff(325) <= 2);
    }

    #[test]
    fn top_k_leaves_the_likeliest() {
        for (count, expected) in [(1, vec![1]), (2, vec![1, 3]), (9, vec![0, 1, 2, 3])] {
            let sampling = Sampling {
                top_k: Some(count),
                ..Sampling::default()
            };
            assert_eq!(drawable(&row(), &sampling), expected, "{count}");
        }
    }

    #[test]
    fn top_p_leaves_the_smallest_set_that_reaches_it() {
        for (top_p, expected) in [
            (1e-9, vec![1]),
            (0.39, vec![1]),
            (0.69, vec![1, 3]),
            (0.71, vec![0, 1, 3]),
            (1.0, vec![0, 1, 2, 3]),
        ] {
            let sampling = Sampling {
                top_p,
                ..Sampling::default()
            };
            assert_eq!(drawable(&row(), &sampling), expected, "{top_p}");
        }
    }

    #[test]
    fn top_p_counts_what_top_k_left() {
        // 0.4 is 0.57 of 0.4 + 0.3.
        let sampling = Sampling {
            top_k: Some(2),
            top_p: 0.5,
            ..Sampling::default()
        };
        assert_eq!(drawable(&row(), &sampling), [1]);
    }

    #[test]
    fn min_p_is_relative_to_the_likeliest() {
        for (min_p, expected) in [(0.74, vec![1, 3]), (0.76, vec![1]), (1.0, vec![1])] {
            let sampling = Sampling {
                min_p,
                ..Sampling::default()
            };
            assert_eq!(drawable(&row(), &sampling), expected, "{min_p}");
        }
    }

    #[test]
    fn the_nucleus_of_a_large_vocabulary_is_that_of_a_sorted_one() {
        let logits: Vec<f32> = (0..20_000_u32)
            .map(|index| (index.wrapping_mul(2_654_435_761) % 10_007) as f32 / 1500.0)
            .collect();
        let best = likeliest(&logits).unwrap();
        for top_p in [0.1, 0.5, 0.9, 0.999] {
            let mut sorted = weights(logits.clone(), best, &Sampling::default());
            let mut kept = sorted.clone();
            keep_nucleus(&mut kept, top_p);
            sorted.sort_by(|left, right| heavier_first(*left, *right));
            let wanted = top_p * sum(&sorted);
            let mut gathered = 0.0;
            let expected: Vec<_> = sorted
                .iter()
                .take_while(|candidate| {
                    let short = gathered < wanted;
                    gathered += f64::from(candidate.weight);
                    short
                })
                .map(|candidate| candidate.id)
                .collect();
            let kept: Vec<_> = kept.iter().map(|candidate| candidate.id).collect();
            assert!(kept.len().abs_diff(expected.len()) <= 1, "{top_p}");
            let common = kept.len().min(expected.len());
            assert_eq!(kept[..common], expected[..common], "{top_p}");
        }
    }
}
