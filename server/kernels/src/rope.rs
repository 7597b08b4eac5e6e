//! Rotary position embedding: tables of angles, and the rotation of heads.
#![allow(clippy::inline_always)]
use crate::{
    size::SizeError,
    vector::{Isa, Kernel, Level},
};

/// Which two values of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Values 2i and 2i + 1, as weights in GGUF files of the llama family expect.
    Interleaved,
    /// Values i and i + half of the rotary dimension, as Hugging Face's weights expect (NeoX).
    Halves,
}

/// The cosines and sines of every position.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    /// For each position the cosines, then the sines.
    values: Vec<f32>,
    rotary_dim: usize,
}

impl RotaryTable {
    /// For each of `positions` the angles by which pairs turn: pair i by `frequencies[i]` for each
    /// position. There are as many pairs as frequencies; the rest of a head is left alone. Cosines
    /// and sines are multiplied by `scale`, the attention factor of YaRN and LongRoPE, 1 otherwise.
    pub fn new(frequencies: &[f32], positions: usize, scale: f64) -> Self {
        let rotary_dim = 2 * frequencies.len();
        let mut values = Vec::with_capacity(positions * rotary_dim);
        for position in 0..positions {
            let angles = || {
                let frequencies = frequencies.iter().copied().map(f64::from);
                frequencies.map(|each| each * position as f64)
            };
            values.extend(angles().map(|angle| narrow(angle.cos() * scale)));
            values.extend(angles().map(|angle| narrow(angle.sin() * scale)));
        }
        Self { values, rotary_dim }
    }

    /// How many positions the table has.
    pub fn positions(&self) -> usize {
        self.values.len().checked_div(self.rotary_dim).unwrap_or(0)
    }

    /// Rotates adjacent heads of `head_dim` values, all at `position`: the queries and keys of one
    /// row, together if they are adjacent. What a head has beyond the rotary dimension stays.
    pub fn rotate(
        &self,
        level: Level,
        pairing: Pairing,
        heads: &mut [f32],
        head_dim: usize,
        position: usize,
    ) -> Result<(), SizeError> {
        SizeError::check_rows("heads to rotate", head_dim, heads.len())?;
        if self.rotary_dim == 0 {
            return Ok(());
        }
        if head_dim < self.rotary_dim {
            return Err(SizeError {
                what: "head to rotate",
                expected: self.rotary_dim,
                found: head_dim,
            });
        }
        let Some(angles) = self.values.chunks_exact(self.rotary_dim).nth(position) else {
            return Err(SizeError {
                what: "positions of the rotary table",
                expected: position + 1,
                found: self.positions(),
            });
        };
        let (cosines, sines) = angles.split_at(self.rotary_dim / 2);
        match pairing {
            Pairing::Interleaved => level.run(Interleaved {
                heads,
                head_dim,
                cosines,
                sines,
            }),
            Pairing::Halves => level.run(Halves {
                heads,
                head_dim,
                cosines,
                sines,
            }),
        }
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation)]
fn narrow(value: f64) -> f32 {
    value as f32
}

struct Interleaved<'a> {
    heads: &'a mut [f32],
    head_dim: usize,
    cosines: &'a [f32],
    sines: &'a [f32],
}

impl Kernel for Interleaved<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let pairs = self.cosines.len().min(self.sines.len());
        let whole = pairs - pairs % (I::LANES / 2);
        for head in self.heads.chunks_exact_mut(self.head_dim) {
            debug_assert!(head.len() >= 2 * pairs);
            for pair in (0..whole).step_by(I::LANES / 2) {
                // SAFETY: from `pair` there are `LANES / 2` angles, and twice as many values in the
                // head, which is no shorter than the rotary dimension.
                unsafe {
                    let at = head.as_mut_ptr().add(2 * pair);
                    let value = isa.load(at);
                    let cosine = isa.load_doubled(self.cosines.as_ptr().add(pair));
                    let sine = isa.load_doubled(self.sines.as_ptr().add(pair));
                    let turned = isa.mul(isa.swap_pairs(value), sine);
                    isa.store(at, isa.fma_alternate(value, cosine, turned));
                }
            }
            for pair in whole..pairs {
                let (cosine, sine) = (self.cosines[pair], self.sines[pair]);
                let (first, second) = (head[2 * pair], head[2 * pair + 1]);
                head[2 * pair] = first * cosine - second * sine;
                head[2 * pair + 1] = second * cosine + first * sine;
            }
        }
    }
}

struct Halves<'a> {
    heads: &'a mut [f32],
    head_dim: usize,
    cosines: &'a [f32],
    sines: &'a [f32],
}

impl Kernel for Halves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let pairs = self.cosines.len().min(self.sines.len());
        let whole = pairs - pairs % I::LANES;
        for head in self.heads.chunks_exact_mut(self.head_dim) {
            debug_assert!(head.len() >= 2 * pairs);
            for pair in (0..whole).step_by(I::LANES) {
                // SAFETY: from `pair` there are `LANES` angles, and as many values in each half of
                // the head's rotary dimension.
                unsafe {
                    let first_at = head.as_mut_ptr().add(pair);
                    let second_at = first_at.add(pairs);
                    let (first, second) = (isa.load(first_at), isa.load(second_at));
                    let cosine = isa.load(self.cosines.as_ptr().add(pair));
                    let sine = isa.load(self.sines.as_ptr().add(pair));
                    let turned = isa.mul(second, sine);
                    isa.store(first_at, isa.sub(isa.mul(first, cosine), turned));
                    isa.store(second_at, isa.fma(second, cosine, isa.mul(first, sine)));
                }
            }
            for pair in whole..pairs {
                let (cosine, sine) = (self.cosines[pair], self.sines[pair]);
                let (first, second) = (head[pair], head[pair + pairs]);
                head[pair] = first * cosine - second * sine;
                head[pair + pairs] = second * cosine + first * sine;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::testing::{assert_close, random};

    fn frequencies(base: f64, rotary: usize) -> Vec<f32> {
        (0..rotary / 2)
            .map(|pair| narrow(base.powf(-2.0 * pair as f64 / rotary as f64)))
            .collect()
    }

    /// Rotates by the definition, in f64.
    fn expected(pairing: Pairing, heads: &[f32], head_dim: usize, rotary: usize) -> Vec<f64> {
        let mut out: Vec<f64> = heads.iter().copied().map(f64::from).collect();
        for head in out.chunks_mut(head_dim) {
            for pair in 0..rotary / 2 {
                let angle = 37.0 / 10_000_f64.powf(2.0 * pair as f64 / rotary as f64);
                let (first, second) = match pairing {
                    Pairing::Interleaved => (2 * pair, 2 * pair + 1),
                    Pairing::Halves => (pair, pair + rotary / 2),
                };
                let (x, y) = (head[first], head[second]);
                head[first] = x * angle.cos() - y * angle.sin();
                head[second] = x * angle.sin() + y * angle.cos();
            }
        }
        out
    }

    #[test]
    fn every_level_rotates_both_pairings_whole_and_in_part() {
        for level in Level::available() {
            for (head_dim, rotary) in [(64, 64), (128, 128), (80, 80), (80, 32), (72, 20), (8, 6)] {
                let table = RotaryTable::new(&frequencies(10_000.0, rotary), 64, 1.0);
                for pairing in [Pairing::Interleaved, Pairing::Halves] {
                    let before = random(3 * head_dim, 5);
                    let mut heads = before.clone();
                    table
                        .rotate(level, pairing, &mut heads, head_dim, 37)
                        .unwrap();
                    let after = expected(pairing, &before, head_dim, rotary);
                    assert_close(&heads, &after, 4e-6);
                }
            }
        }
    }

    #[test]
    fn frequencies_turn_and_the_scale_multiplies_lengths() {
        let plain = RotaryTable::new(&[1.0, 0.01], 9, 1.0);
        let slowed = RotaryTable::new(&[0.25, 0.005], 9, 0.5);
        let rotate = |table: &RotaryTable, position| {
            let mut head = [1.0, 1.0, 0.0, 0.0];
            table
                .rotate(Level::detect(), Pairing::Halves, &mut head, 4, position)
                .unwrap();
            head
        };
        let (slow, one, two) = (rotate(&slowed, 8), rotate(&plain, 2), rotate(&plain, 4));
        let halved = [one[0], two[1], one[2], two[3]].map(|value| f64::from(value) / 2.0);
        assert_close(&slow, &halved, 1e-6);
    }

    #[test]
    fn positions_and_sizes_beyond_the_table_are_errors() {
        let table = RotaryTable::new(&frequencies(1e4, 8), 4, 1.0);
        let rotate = |len, head_dim, position| {
            let mut heads = vec![0.0; len];
            table.rotate(
                Level::detect(),
                Pairing::Halves,
                &mut heads,
                head_dim,
                position,
            )
        };
        assert!(rotate(16, 8, 3).is_ok());
        assert!(rotate(16, 8, 4).is_err());
        assert!(rotate(18, 8, 0).is_err());
        assert!(rotate(16, 4, 0).is_err());
        assert!(rotate(16, 0, 0).is_err());
    }
}
