//! The frequencies of rotary position embeddings (Su et al., 2021, "RoFormer") and the ways to
//! stretch them over longer contexts.
use std::f64::consts::PI;

/// One frequency a pair, before they are rounded.
#[derive(Clone, Debug)]
pub(super) struct Frequencies {
    base: f64,
    dimensions: usize,
    values: Vec<f64>,
}

/// The numbers of Llama 3.1's stretching.
#[derive(Clone, Copy, Debug)]
pub(super) struct Llama3 {
    pub(super) factor: f64,
    pub(super) low_frequency_factor: f64,
    pub(super) high_frequency_factor: f64,
    pub(super) original_context: f64,
}

/// The numbers of YaRN (Peng et al., 2023).
#[derive(Clone, Copy, Debug)]
pub(super) struct Yarn {
    pub(super) factor: f64,
    pub(super) beta_fast: f64,
    pub(super) beta_slow: f64,
    pub(super) original_context: f64,
}

impl Frequencies {
    /// `base ^ (-2i / dimensions)` for every pair `i` of `dimensions` rotated numbers.
    pub(super) fn new(base: f64, dimensions: usize) -> Self {
        let values = (0..dimensions / 2)
            .map(|pair| base.powf(-2.0 * pair as f64 / dimensions as f64))
            .collect();
        Self {
            base,
            dimensions,
            values,
        }
    }

    /// All of them divided by `factor`: positions pass more slowly.
    pub(super) fn linear(self, factor: f64) -> Self {
        self.map(|_, frequency| frequency / factor)
    }

    /// Each divided by its own factor; those without one are left alone.
    pub(super) fn divided_by(self, factors: &[f32]) -> Self {
        self.map(|pair, frequency| {
            let factor = factors.get(pair).map_or(1.0, |&factor| f64::from(factor));
            frequency / factor
        })
    }

    /// Llama 3.1: only what turns slowly is stretched.
    pub(super) fn llama3(self, by: Llama3) -> Self {
        let longest = by.original_context / by.low_frequency_factor;
        let shortest = by.original_context / by.high_frequency_factor;
        self.map(|_, frequency| {
            let length = 2.0 * PI / frequency;
            if length > longest {
                frequency / by.factor
            } else if length < shortest {
                frequency
            } else {
                let smooth = (by.original_context / length - by.low_frequency_factor)
                    / (by.high_frequency_factor - by.low_frequency_factor);
                (1.0 - smooth) * frequency / by.factor + smooth * frequency
            }
        })
    }

    /// YaRN: a ramp between frequencies that stay and frequencies that are stretched.
    pub(super) fn yarn(self, by: Yarn) -> Self {
        let dimensions = self.dimensions as f64;
        let pair_of = |turns: f64| {
            dimensions * (by.original_context / (turns * 2.0 * PI)).ln() / (2.0 * self.base.ln())
        };
        let first = pair_of(by.beta_fast).floor().max(0.0);
        let mut last = pair_of(by.beta_slow).ceil().min(dimensions - 1.0);
        if last <= first {
            last = first + 0.001;
        }
        self.map(|pair, frequency| {
            let stretched = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
            frequency / by.factor * stretched + frequency * (1.0 - stretched)
        })
    }

    /// Rounded for use.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "angles are computed in 32 bits"
    )]
    pub(super) fn into_vec(self) -> Vec<f32> {
        self.values.iter().map(|&value| value as f32).collect()
    }

    fn map(mut self, change: impl Fn(usize, f64) -> f64) -> Self {
        for (pair, value) in self.values.iter_mut().enumerate() {
            *value = change(pair, *value);
        }
        self
    }
}

/// What YaRN multiplies cosines and sines by.
pub(super) fn yarn_magnitude(factor: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * factor.ln() + 1.0
    }
}

/// What LongRoPE multiplies cosines and sines by.
pub(super) fn long_rope_magnitude(factor: f64, original_context: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        (1.0 + factor.ln() / original_context.ln()).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_by_powers_of_the_base() {
        assert_eq!(
            Frequencies::new(10_000.0, 8).into_vec(),
            [1.0, 0.1, 0.01, 0.001]
        );
    }

    #[test]
    fn llama_3_stretches_only_what_turns_slowly() {
        let by = Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192.0,
        };
        let plain = Frequencies::new(500_000.0, 128).into_vec();
        let stretched = Frequencies::new(500_000.0, 128).llama3(by).into_vec();
        assert_eq!(stretched.first(), plain.first());
        let last = plain.last().unwrap() / 8.0;
        assert!((stretched.last().unwrap() - last).abs() < 1e-9);
        let between = stretched
            .iter()
            .zip(&plain)
            .filter(|(after, before)| *after < *before && **after > **before / 8.0);
        assert!(between.count() > 0);
    }
}
