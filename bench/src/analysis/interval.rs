//! Confidence intervals of figures. All are for 95 %.
//!
//! - a percentile: by order statistics, the ranks from the normal approximation of the binomial
//!   distribution; open where there are too few values for a rank to exist;
//! - a mean of requests: bootstrap percentiles, seeded;
//! - a rate over a window: batch means over ten equal parts of the window, with Student's t;
//! - a share: Wilson's score interval.
//!
//! Requests under one load depend on each other, so that these are a lower limit of what a repetition
//! varies by; batch means, whose parts are long, suffer least.
use crate::record::Micros;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Standard normal quantile of 97.5 %.
const Z: f64 = 1.959_964;
/// Student's t quantile of 97.5 % with nine degrees of freedom.
const T9: f64 = 2.262_157;
/// Parts of a window for batch means.
pub const BATCHES: usize = 10;
const RESAMPLES: usize = 400;

/// Where a figure lies with 95 % confidence.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// From here.
    pub low: f64,
    /// To here.
    pub high: f64,
}

impl Interval {
    /// Whether two intervals have a point in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// Of the quantile `q` of sorted values.
pub fn of_quantile(sorted: &[Micros], q: f64) -> Option<Interval> {
    let n = sorted.len() as f64;
    let spread = Z * (n * q * (1.0 - q)).sqrt();
    // Ranks from 1, rounded away from the middle.
    let (low, high) = ((n * q - spread).floor(), (n * q + spread).ceil() + 1.0);
    if low < 1.0 || high > n {
        return None;
    }
    // Between 1 and the number of values, as was just checked.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = |rank: f64| sorted[rank as usize - 1] as f64;
    Some(Interval {
        low: at(low),
        high: at(high),
    })
}

/// Of the mean of values.
pub fn of_mean(values: &[f64], seed: u64) -> Option<Interval> {
    if values.len() < 3 {
        return None;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let count = values.len() as u64;
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..count).map(|_| {
                let place = random.next_u64() % count;
                values[usize::try_from(place).unwrap_or_default()]
            });
            drawn.sum::<f64>() / count as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    Some(Interval {
        low: means[RESAMPLES / 40],
        high: means[RESAMPLES - 1 - RESAMPLES / 40],
    })
}

/// Of the mean of rates, one for each of [`BATCHES`] equal parts of a window.
pub fn of_batches(rates: &[f64; BATCHES]) -> Interval {
    let n = BATCHES as f64;
    let mean = rates.iter().sum::<f64>() / n;
    let squares = rates.iter().map(|rate| (rate - mean).powi(2));
    let error = (squares.sum::<f64>() / (n - 1.0) / n).sqrt();
    Interval {
        low: (mean - T9 * error).max(0.0),
        high: mean + T9 * error,
    }
}

/// Of a share of `hits` among `all`.
pub fn of_share(hits: u64, all: u64) -> Option<Interval> {
    if all == 0 {
        return None;
    }
    let (n, z2) = (all as f64, Z * Z);
    let p = hits as f64 / n;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let spread = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Some(Interval {
        low: (middle - spread).max(0.0),
        high: (middle + spread).min(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64) -> impl FnMut() -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        move || random.next_u64() as f64 / u64::MAX as f64
    }

    /// The share of 400 repetitions in which the interval holds the truth.
    fn coverage(mut holds: impl FnMut(u64) -> bool) -> f64 {
        (0..400).filter(|&seed| holds(seed)).count() as f64 / 400.0
    }

    #[test]
    fn intervals_of_a_median_and_a_95th_percentile_hold_the_truth_as_often_as_they_say() {
        for q in [0.5, 0.95] {
            let covered = coverage(|seed| {
                let mut draw = random(seed);
                let mut values: Vec<_> = (0..300)
                    .map(|_| crate::figures::round(draw() * 1e6))
                    .collect();
                values.sort_unstable();
                let interval = of_quantile(&values, q).unwrap();
                interval.low <= q * 1e6 && q * 1e6 <= interval.high
            });
            assert!((0.93..=1.0).contains(&covered), "{q}: {covered}");
        }
    }

    #[test]
    fn intervals_of_a_skewed_mean_hold_the_truth_nearly_as_often_as_they_say() {
        let covered = coverage(|seed| {
            let mut draw = random(seed + 1000);
            let values: Vec<_> = (0..60).map(|_| -(1.0 - draw()).ln()).collect();
            let interval = of_mean(&values, seed).unwrap();
            interval.low <= 1.0 && 1.0 <= interval.high
        });
        assert!((0.90..=0.98).contains(&covered), "{covered}");
    }

    #[test]
    fn intervals_of_a_rate_hold_the_truth_as_often_as_they_say() {
        let covered = coverage(|seed| {
            let mut draw = random(seed + 2000);
            let rates = std::array::from_fn(|_| draw() + draw());
            let interval = of_batches(&rates);
            interval.low <= 1.0 && 1.0 <= interval.high
        });
        assert!((0.92..=0.98).contains(&covered), "{covered}");
    }

    #[test]
    fn a_99th_percentile_of_few_values_has_no_interval() {
        let values: Vec<_> = (0..100).collect();
        assert_eq!(of_quantile(&values, 0.99), None);
        assert_eq!(of_quantile(&[], 0.5), None);
    }

    #[test]
    fn a_share_stays_between_nothing_and_all() {
        let none = of_share(0, 50).unwrap();
        assert!(
            none.low < 1e-9 && (0.05..0.08).contains(&none.high),
            "{none:?}"
        );
        assert_eq!(of_share(0, 0), None);
    }
}
