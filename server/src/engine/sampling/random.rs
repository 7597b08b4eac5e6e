//! Random numbers that stay the same over versions and machines, so that a seed keeps its meaning.
use std::time::{SystemTime, UNIX_EPOCH};

/// The increment of `SplitMix64`; odd, and without pattern.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence each time; `salt` sets those of the same moment apart.
    pub(super) fn arbitrary(salt: u64) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::from(now.subsec_nanos()) ^ (now.as_secs() << 30) ^ salt.wrapping_mul(STEP))
    }

    /// The next number, 0 to below 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The upper 53 bits are what a float holds exactly.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_sequence() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973];
        for number in expected {
            let float = (number >> 11) as f64 / (1_u64 << 53) as f64;
            assert!((random.next() - float).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn numbers_fill_the_range_evenly() {
        let mut random = Random::new(7);
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            let number = random.next();
            let tenth = (1..10).find(|tenth| number < f64::from(*tenth) / 10.0);
            tenths[usize::try_from(tenth.unwrap_or(10) - 1).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (850..1150).contains(count)));
    }

    #[test]
    fn without_a_seed_neighbours_differ() {
        assert!((Random::arbitrary(1).next() - Random::arbitrary(2).next()).abs() > 1e-9);
    }
}
