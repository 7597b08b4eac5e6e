//! Picks the next token from a row of logits.
use super::request::{GenerationError, Sampling};
use candle_core::{Device, Tensor};
use candle_transformers::generation::{self, LogitsProcessor};
use std::time::{SystemTime, UNIX_EPOCH};

/// Below this temperature the most likely token is picked.
const GREEDY_BELOW: f64 = 1e-5;

/// The sampler of one generation; its random numbers depend on nothing else.
pub(super) enum Sampler {
    Greedy,
    Random(Box<LogitsProcessor>),
}

impl Sampler {
    /// A sampler for `sampling`. `salt` sets requests without a seed apart.
    pub(super) fn new(sampling: Sampling, salt: u64) -> Self {
        if sampling.temperature < GREEDY_BELOW {
            return Self::Greedy;
        }
        let temperature = sampling.temperature;
        let kind = if sampling.top_p < 1.0 {
            generation::Sampling::TopP {
                p: sampling.top_p,
                temperature,
            }
        } else {
            generation::Sampling::All { temperature }
        };
        let seed = sampling.seed.unwrap_or_else(|| arbitrary_seed(salt));
        Self::Random(Box::new(LogitsProcessor::from_sampling(seed, kind)))
    }

    /// The next token's id.
    pub(super) fn pick(&mut self, logits: Vec<f32>) -> Result<u32, GenerationError> {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(GenerationError::NotANumber);
        }
        match self {
            Self::Greedy => most_likely(&logits).ok_or(GenerationError::NotANumber),
            Self::Random(processor) => {
                let length = logits.len();
                Tensor::from_vec(logits, length, &Device::Cpu)
                    .and_then(|row| processor.sample(&row))
                    .map_err(|error| GenerationError::Engine(error.to_string()))
            }
        }
    }
}

/// The first of the highest logits.
fn most_likely(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &logit) in logits.iter().enumerate() {
        if best.is_none_or(|(_, highest)| logit > highest) {
            best = Some((index, logit));
        }
    }
    best.and_then(|(index, _)| u32::try_from(index).ok())
}

fn arbitrary_seed(salt: u64) -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // The odd constant spreads neighbouring salts over the whole range.
    u64::from(now.subsec_nanos()) ^ now.as_secs() ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f64, top_p: f64, seed: Option<u64>) -> Sampling {
        Sampling {
            temperature,
            top_p,
            seed,
        }
    }

    #[test]
    fn without_temperature_the_most_likely_token_is_picked_and_the_first_of_equals() {
        let mut sampler = Sampler::new(sampling(0.0, 1.0, None), 0);
        assert_eq!(sampler.pick(vec![0.1, 3.0, 2.0, 3.0]).unwrap(), 1);
    }

    #[test]
    fn the_same_seed_picks_the_same_tokens_and_another_seed_others() {
        let picks = |seed| {
            let mut sampler = Sampler::new(sampling(1.0, 1.0, Some(seed)), 0);
            (0..32)
                .map(|_| sampler.pick(vec![0.0; 1000]).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(picks(7), picks(7));
        assert_ne!(picks(7), picks(8));
    }

    #[test]
    fn top_p_leaves_out_the_unlikely_tail() {
        // Probabilities 0.88, 0.12 and next to nothing.
        let mut sampler = Sampler::new(sampling(1.0, 0.8, Some(1)), 0);
        assert!((0..200).all(|_| sampler.pick(vec![2.0, 0.0, -9.0]).unwrap() == 0));
    }

    #[test]
    fn logits_that_are_not_numbers_are_an_error() {
        for temperature in [0.0, 1.0] {
            let mut sampler = Sampler::new(sampling(temperature, 1.0, None), 0);
            assert!(matches!(
                sampler.pick(vec![0.0, f32::NAN]),
                Err(GenerationError::NotANumber)
            ));
        }
    }
}
