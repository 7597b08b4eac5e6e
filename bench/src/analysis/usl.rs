//! The Universal Scalability Law: how throughput grows with concurrency, and where it stops.
//!
//! X(N) = γN / (1 + σ(N−1) + κN(N−1)): γ is one request's throughput, σ the share that must be done one
//! after another, κ what all have to agree on. Fitted by least squares of N/X, which is linear in
//! its coefficients, weighted so that errors count as they do in X.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The lowest level may have so many requests in flight; a fit to higher ones alone is a guess at γ.
const LOW: f64 = 5.0;
/// The least coefficient of determination of a fit that says anything.
const FITS: f64 = 0.8;

/// A fitted law, and how far to trust it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fit {
    /// Throughput of one request alone.
    pub gamma: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherency.
    pub kappa: f64,
    /// Concurrency of the highest throughput, √((1−σ)/κ); none where κ is 0: a plateau, no peak.
    pub peak: Option<f64>,
    /// Coefficient of determination of X.
    pub r_squared: f64,
    /// The smallest concurrency that was measured.
    pub from: f64,
    /// The largest; beyond it the law is a guess.
    pub to: f64,
}

impl Fit {
    /// Whether the peak lies within what was measured; elsewhere it is a guess. None where there is none.
    pub fn peak_is_measured(&self) -> Option<bool> {
        self.peak.map(|peak| (self.from..=self.to).contains(&peak))
    }

    /// Throughput at a concurrency.
    pub fn at(&self, n: f64) -> f64 {
        self.gamma * n / (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0))
    }
}

/// Why there is no fit.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NoFit {
    /// Three unknowns need more than three points.
    #[error("it needs at least 4 levels of different concurrency; measure at 1, 2 and 5 users too")]
    TooFewLevels,
    /// Nothing fits.
    #[error("throughput does not follow the law at these levels")]
    NoSolution,
    /// γ is what one request alone does: without low loads it is anybody's guess, and σ and κ with it.
    #[error(
        "it needs a level with at most {LOW:.0} requests in flight, and the lowest has {from:.0}; measure \
         at 1, 2 and 5 users too"
    )]
    NoLowLevel {
        /// The smallest concurrency that was measured.
        from: f64,
    },
    /// The best law says little about what was measured.
    #[error(
        "the best law explains too little of what was measured (R² = {r_squared:.2}, at least {FITS} is \
         needed); measure longer, and at 1, 2 and 5 users too"
    )]
    Poor {
        /// Its coefficient of determination.
        r_squared: f64,
    },
}

/// Fits the law to pairs of concurrency and throughput.
pub fn fit(points: &[(f64, f64)]) -> Result<Fit, NoFit> {
    let mut points: Vec<_> = points
        .iter()
        .copied()
        .filter(|(n, x)| *n > 0.0 && *x > 0.0)
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut levels = points.clone();
    levels.dedup_by(|a, b| (a.0 - b.0).abs() < 0.01 * b.0);
    if levels.len() < 4 {
        return Err(NoFit::TooFewLevels);
    }
    // Five users are in flight nearly all the time, and never more than five.
    if levels[0].0 > LOW {
        return Err(NoFit::NoLowLevel { from: levels[0].0 });
    }
    // Coefficients may not be negative: where one would be, it is 0 and the others are fitted.
    let best = [
        [true, true, true],
        [true, true, false],
        [true, false, true],
        [true, false, false],
    ]
    .into_iter()
    .filter_map(|used| solve(&points, used))
    .filter(|c| c[0] > 0.0 && c[1] >= 0.0 && c[2] >= 0.0)
    .map(|c| law(c, &points))
    .max_by(|a, b| a.r_squared.total_cmp(&b.r_squared));
    let best = best.ok_or(NoFit::NoSolution)?;
    if best.r_squared < FITS {
        let r_squared = best.r_squared;
        return Err(NoFit::Poor { r_squared });
    }
    Ok(best)
}

fn law([alone, contention, coherency]: [f64; 3], points: &[(f64, f64)]) -> Fit {
    let (sigma, kappa) = (contention / alone, coherency / alone);
    let peak = (kappa > 1e-9 && sigma < 1.0).then(|| ((1.0 - sigma) / kappa).sqrt());
    let mut fit = Fit {
        gamma: 1.0 / alone,
        sigma,
        kappa,
        peak,
        r_squared: 0.0,
        from: points[0].0,
        to: points[points.len() - 1].0,
    };
    let mean = points.iter().map(|(_, x)| x).sum::<f64>() / points.len() as f64;
    let left = points.iter().map(|&(n, x)| (x - fit.at(n)).powi(2));
    let all = points.iter().map(|&(_, x)| (x - mean).powi(2));
    let all = all.sum::<f64>();
    fit.r_squared = 1.0 - left.sum::<f64>() / all.max(f64::MIN_POSITIVE);
    fit
}

/// Weighted least squares of N/X = a + b(N−1) + cN(N−1), with the coefficients in `used`.
fn solve(points: &[(f64, f64)], used: [bool; 3]) -> Option<[f64; 3]> {
    let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    for &(n, x) in points {
        let row = [1.0, n - 1.0, n * (n - 1.0)];
        // δ(N/X) = −N/X²·δX.
        let weight = (x * x / n).powi(2);
        for i in 0..3 {
            right[i] += weight * row[i] * n / x;
            for j in 0..3 {
                matrix[i][j] += weight * row[i] * row[j];
            }
        }
    }
    for i in (0..3).filter(|&i| !used[i]) {
        matrix[i] = [0.0; 3];
        for row in &mut matrix {
            row[i] = 0.0;
        }
        (matrix[i][i], right[i]) = (1.0, 0.0);
    }
    eliminate(matrix, right)
}

/// Gaussian elimination with the largest pivot.
fn eliminate(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let largest =
            |&a: &usize, &b: &usize| matrix[a][column].abs().total_cmp(&matrix[b][column].abs());
        let pivot = (column..3).max_by(largest)?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        if matrix[column][column].abs() < 1e-300 {
            return None;
        }
        for row in (0..3).filter(|&row| row != column) {
            let factor = matrix[row][column] / matrix[column][column];
            let upper = matrix[column];
            for (value, above) in matrix[row].iter_mut().zip(upper).skip(column) {
                *value -= factor * above;
            }
            right[row] -= factor * right[column];
        }
    }
    Some(std::array::from_fn(|i| right[i] / matrix[i][i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: [f64; 7] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0];

    fn planted(gamma: f64, sigma: f64, kappa: f64) -> Vec<(f64, f64)> {
        let x = |n: f64| gamma * n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0));
        LEVELS.map(|n| (n, x(n))).to_vec()
    }

    #[test]
    fn planted_parameters_are_found() {
        let fit = fit(&planted(40.0, 0.05, 0.0008)).unwrap();
        assert!((fit.gamma - 40.0).abs() < 0.01, "{fit:?}");
        assert!((fit.sigma - 0.05).abs() < 1e-4, "{fit:?}");
        assert!((fit.kappa - 0.0008).abs() < 1e-6, "{fit:?}");
        assert!((fit.peak.unwrap() - (0.95f64 / 0.0008).sqrt()).abs() < 0.1);
        assert!(fit.r_squared > 0.999_9);
        assert_eq!((fit.from, fit.to), (1.0, 100.0));
    }

    #[test]
    fn noise_of_two_percent_moves_them_little() {
        let mut points = planted(40.0, 0.05, 0.0008);
        for (place, point) in points.iter_mut().enumerate() {
            point.1 *= if place % 2 == 0 { 1.02 } else { 0.98 };
        }
        let fit = fit(&points).unwrap();
        assert!((fit.gamma / 40.0 - 1.0).abs() < 0.1, "{fit:?}");
        assert!((fit.peak.unwrap() / 34.5 - 1.0).abs() < 0.1, "{fit:?}");
    }

    #[test]
    fn without_coherency_there_is_a_plateau_and_no_peak() {
        let fit = fit(&planted(40.0, 0.1, 0.0)).unwrap();
        assert_eq!(fit.peak, None);
        assert!((fit.sigma - 0.1).abs() < 1e-6);
    }

    #[test]
    fn without_a_low_level_there_is_no_fit_and_the_cure_is_named() {
        let points = planted(40.0, 0.05, 0.0008);
        let why = fit(&points[3..]).unwrap_err();
        assert_eq!(why, NoFit::NoLowLevel { from: 10.0 });
        assert!(why.to_string().contains("at 1, 2 and 5 users"), "{why}");
        assert!(fit(&points[2..]).is_ok(), "five at once are few enough");
    }

    #[test]
    fn a_law_that_explains_little_is_no_fit() {
        let jumps = [30.0, 90.0, 30.0, 90.0, 30.0, 90.0, 30.0];
        let points: Vec<_> = LEVELS.into_iter().zip(jumps).collect();
        let why = fit(&points).unwrap_err();
        assert!(
            matches!(why, NoFit::Poor { r_squared } if r_squared < 0.8),
            "{why:?}"
        );
        assert!(why.to_string().contains("measure longer"), "{why}");
    }

    #[test]
    fn a_peak_counts_as_measured_only_within_the_levels() {
        let all = planted(40.0, 0.05, 0.0008);
        let of = |points: &[(f64, f64)]| fit(points).unwrap().peak_is_measured();
        assert_eq!(of(&all), Some(true));
        assert_eq!(of(&all[..5]), Some(false), "it is at 34");
        assert_eq!(of(&planted(40.0, 0.1, 0.0)), None);
    }

    #[test]
    fn three_levels_are_too_few() {
        let points = planted(40.0, 0.1, 0.0);
        assert_eq!(fit(&points[..3]), Err(NoFit::TooFewLevels));
        let same = vec![(10.0, 5.0); 9];
        assert_eq!(fit(&same), Err(NoFit::TooFewLevels));
    }
}
