//! Root-mean-square norms of rows and of heads.
#![allow(clippy::inline_always)]
use crate::{
    size::SizeError,
    vector::{Function, Isa, Kernel, Level, zip},
};

/// `out = row / sqrt(mean(row^2) + epsilon) * weight` for each row of `rows`. A row's sum has one
/// order of its own, whatever rows are beside it.
pub fn rms_norm(
    level: Level,
    rows: &[f32],
    weight: &[f32],
    epsilon: f32,
    out: &mut [f32],
) -> Result<(), SizeError> {
    SizeError::check("output of a norm", rows.len(), out.len())?;
    out.copy_from_slice(rows);
    rms_norm_heads(level, out, weight, epsilon)
}

/// The same in place, for heads that are normed one by one (Qwen 3 and Gemma 3 do so with queries
/// and keys): `heads` holds heads as wide as `weight`.
pub fn rms_norm_heads(
    level: Level,
    heads: &mut [f32],
    weight: &[f32],
    epsilon: f32,
) -> Result<(), SizeError> {
    SizeError::check_rows("values to norm", weight.len(), heads.len())?;
    for head in heads.chunks_exact_mut(weight.len().max(1)) {
        let mean = level.run(SumOfSquares(head)) / head.len() as f32;
        let factor = 1.0 / (mean + epsilon).sqrt();
        zip(level, head, weight, Normalise(factor))?;
    }
    Ok(())
}

struct SumOfSquares<'a>(&'a [f32]);

impl Kernel for SumOfSquares<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f32 {
        let mut sums = [isa.splat(0.0); 4];
        let mut chunks = self.0.chunks_exact(4 * I::LANES);
        for chunk in chunks.by_ref() {
            for (index, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a chunk has four vectors.
                let value = unsafe { isa.load(chunk.as_ptr().add(index * I::LANES)) };
                *sum = isa.fma(value, value, *sum);
            }
        }
        for (rest, sum) in chunks.remainder().chunks(I::LANES).zip(&mut sums) {
            let value = if rest.len() == I::LANES {
                // SAFETY: there are as many values.
                unsafe { isa.load(rest.as_ptr()) }
            } else {
                // SAFETY: there are as many values, and fewer than `LANES`.
                unsafe { isa.load_first(rest.as_ptr(), rest.len()) }
            };
            *sum = isa.fma(value, value, *sum);
        }
        let [a, b, c, d] = sums;
        isa.sum(isa.add(isa.add(a, b), isa.add(c, d)))
    }
}

struct Normalise(f32);

impl Function for Normalise {
    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, value: I::Vector, weight: I::Vector) -> I::Vector {
        isa.mul(isa.mul(value, isa.splat(self.0)), weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::testing::{assert_close, random};

    fn expected(rows: &[f32], weight: &[f32], epsilon: f32) -> Vec<f64> {
        let mut out = Vec::new();
        for row in rows.chunks(weight.len()) {
            let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
            let mean = squares / row.len() as f64;
            let factor = 1.0 / (mean + f64::from(epsilon)).sqrt();
            let values = row.iter().zip(weight);
            out.extend(values.map(|(x, weight)| f64::from(*x) * factor * f64::from(*weight)));
        }
        out
    }

    #[test]
    fn every_level_gives_the_definition_at_every_width() {
        for level in Level::available() {
            for width in [1, 7, 8, 16, 64, 80, 100, 576, 4096] {
                let (rows, weight) = (random(3 * width, 1), random(width, 2));
                let mut out = vec![0.0; rows.len()];
                rms_norm(level, &rows, &weight, 1e-5, &mut out).unwrap();
                assert_close(&out, &expected(&rows, &weight, 1e-5), 1e-6);
                let mut heads = rows.clone();
                rms_norm_heads(level, &mut heads, &weight, 1e-5).unwrap();
                assert_eq!(heads, out);
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_fellows() {
        for level in Level::available() {
            let (rows, weight) = (random(5 * 576, 3), random(576, 4));
            let (mut together, mut alone) = (vec![0.0; rows.len()], vec![0.0; 576]);
            rms_norm(level, &rows, &weight, 1e-6, &mut together).unwrap();
            rms_norm(level, &rows[2 * 576..3 * 576], &weight, 1e-6, &mut alone).unwrap();
            assert_eq!(together[2 * 576..3 * 576], alone);
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let level = Level::detect();
        assert!(rms_norm(level, &[0.0; 10], &[1.0; 4], 1e-5, &mut [0.0; 10]).is_err());
        assert!(rms_norm(level, &[0.0; 8], &[1.0; 4], 1e-5, &mut [0.0; 4]).is_err());
        assert!(rms_norm_heads(level, &mut [0.0; 8], &[], 1e-5).is_err());
        assert!(rms_norm(level, &[], &[1.0; 4], 1e-5, &mut []).is_ok());
    }
}
