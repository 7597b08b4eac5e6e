//! The likeliest tokens of a row of logits, found without sorting it.
use std::cmp::Ordering;

/// A token with its logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
}

/// Likelier first, and of equals the lower id.
pub(super) fn likelier_first(left: Candidate, right: Candidate) -> Ordering {
    right
        .logit
        .total_cmp(&left.logit)
        .then(left.id.cmp(&right.id))
}

/// Compared as a block, values take a vector instruction instead of a branch each.
const BLOCK: usize = 64;

/// The likeliest token; of equals the lowest id. `None` if a logit is not a number, or none can be
/// picked.
pub(super) fn likeliest(logits: &[f32]) -> Option<Candidate> {
    let mut highest = f32::NEG_INFINITY;
    let mut start = 0;
    let mut damaged = false;
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        let mut of_block = f32::NEG_INFINITY;
        for &logit in block {
            damaged |= logit.is_nan();
            of_block = if logit > of_block { logit } else { of_block };
        }
        if of_block > highest {
            highest = of_block;
            start = index * BLOCK;
        }
    }
    if damaged || !highest.is_finite() {
        return None;
    }
    let within = logits[start..].iter().position(|&logit| logit >= highest)?;
    Some(Candidate {
        id: u32::try_from(start + within).ok()?,
        logit: highest,
    })
}

/// The `count` likeliest tokens, in no order. One pass: what is kept is cut back to `count` each
/// time it has doubled, and what is below the lowest kept is never looked at again.
pub(super) fn top(logits: &[f32], count: usize) -> Vec<Candidate> {
    let room = count.saturating_mul(2).max(BLOCK).min(logits.len());
    let mut kept = Vec::with_capacity(room);
    let mut lowest = f32::NEG_INFINITY;
    for (id, &logit) in (0_u32..).zip(logits) {
        // A later token that equals the lowest kept has a higher id, and loses.
        if logit > lowest {
            kept.push(Candidate { id, logit });
            if kept.len() == room && room > count {
                lowest = cut(&mut kept, count);
            }
        }
    }
    cut(&mut kept, count);
    kept
}

/// Keeps the `count` likeliest; returns the lowest logit kept.
fn cut(kept: &mut Vec<Candidate>, count: usize) -> f32 {
    if kept.len() > count && count > 0 {
        kept.select_nth_unstable_by(count - 1, |left, right| likelier_first(*left, *right));
    }
    kept.truncate(count);
    kept.last()
        .map_or(f32::NEG_INFINITY, |candidate| candidate.logit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits in no order, with equals among them.
    fn logits(count: u32) -> Vec<f32> {
        (0..count)
            .map(|index| (index.wrapping_mul(2_654_435_761) % 997) as f32 / 10.0)
            .collect()
    }

    fn sorted(logits: &[f32]) -> Vec<Candidate> {
        let mut all: Vec<_> = (0..)
            .zip(logits)
            .map(|(id, &logit)| Candidate { id, logit })
            .collect();
        all.sort_by(|left, right| likelier_first(*left, *right));
        all
    }

    #[test]
    fn the_likeliest_is_the_first_of_a_sorted_row_at_any_length() {
        for count in [1, 2, 63, 64, 65, 1000, 5000] {
            let row = logits(count);
            assert_eq!(likeliest(&row), Some(sorted(&row)[0]), "{count}");
        }
    }

    #[test]
    fn of_equals_the_lowest_id_wins_within_and_across_blocks() {
        let mut row = vec![0.0; 300];
        for index in [299, 130, 70] {
            row[index] = 5.0;
            assert_eq!(likeliest(&row).unwrap().id as usize, index);
        }
    }

    #[test]
    fn a_row_with_a_nan_or_without_a_token_to_pick_has_no_likeliest() {
        let mut row = vec![1.0; 200];
        row[199] = f32::NAN;
        assert_eq!(likeliest(&row), None);
        assert_eq!(likeliest(&[f32::NEG_INFINITY; 3]), None);
        assert_eq!(likeliest(&[0.0, f32::INFINITY]), None);
        assert_eq!(likeliest(&[]), None);
    }

    #[test]
    fn the_top_is_the_beginning_of_a_sorted_row() {
        let row = logits(5000);
        for count in [0, 1, 5, 64, 100, 4999, 5000, 6000] {
            let mut top = top(&row, count);
            top.sort_by(|left, right| likelier_first(*left, *right));
            let expected = &sorted(&row)[..count.min(row.len())];
            assert_eq!(top, expected, "{count}");
        }
    }

    #[test]
    fn tokens_that_cannot_be_picked_are_not_in_the_top() {
        let row = [f32::NEG_INFINITY, 1.0, f32::NEG_INFINITY];
        assert_eq!(top(&row, 3), [Candidate { id: 1, logit: 1.0 }]);
    }
}
