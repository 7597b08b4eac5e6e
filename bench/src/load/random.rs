//! Seeded randomness that gives the same numbers on every machine and in every version.
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Random(ChaCha8Rng);

impl Random {
    /// The numbers of a seed and a stream; streams are independent of each other.
    pub(super) fn new(seed: i64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed.cast_unsigned());
        random.set_stream(stream);
        Self(random)
    }

    /// Below `count`, which is at least 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        // The upper half of a product: unbiased to 1 in 2^32 for the small counts of this crate.
        let product = u128::from(self.0.next_u64()) * count as u128;
        usize::try_from(product >> 64).unwrap_or_default()
    }

    /// Above 0 and up to 1.
    fn share(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Exponentially distributed with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -self.share().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_for_ever() {
        let mut random = Random::new(1, 0);
        let numbers: Vec<_> = (0..4).map(|_| random.below(1000)).collect();
        let mut other = Random::new(1, 1);
        let others: Vec<_> = (0..4).map(|_| other.below(1000)).collect();
        assert_ne!(numbers, others);
        assert_eq!(numbers, [402, 80, 596, 219]);
    }

    #[test]
    fn exponential_gaps_have_mean_one_and_the_right_spread() {
        let mut random = Random::new(7, 0);
        let gaps: Vec<_> = (0..100_000).map(|_| random.exponential()).collect();
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
