//! Every level against plain definitions in f64.
#![allow(clippy::float_cmp)] // where equality is asked for, it is meant
use super::{
    testing::{assert_close, random},
    *,
};

/// Lengths with and without whole vectors.
const LENGTHS: [usize; 7] = [0, 1, 7, 8, 17, 64, 1003];

fn each(values: &[f32], definition: impl Fn(f64) -> f64) -> Vec<f64> {
    let values = values.iter().copied().map(f64::from);
    values.map(definition).collect()
}

fn wide(count: usize) -> Vec<f32> {
    random(count, 7).iter().map(|value| value * 40.0).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
    x / 2.0 * (1.0 + u.tanh())
}

struct Exponentials<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for Exponentials<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        for (x, out) in self.0.iter().zip(self.1) {
            *out = isa.maximum(math::exp(isa, isa.splat(*x)));
        }
    }
}

#[test]
fn the_exponential_is_within_two_ten_millionths_over_its_range() {
    for level in Level::available() {
        let x: Vec<f32> = (0..350_000).map(|step| step as f32 * -0.00025).collect();
        let mut out = vec![0.0; x.len()];
        level.run(Exponentials(&x, &mut out));
        for (x, found) in x.iter().zip(out) {
            let expected = f64::from(*x).exp();
            let error = (f64::from(found) - expected).abs() / expected;
            assert!(error < 2e-7 || *x < -87.3, "e^{x} = {found}");
        }
    }
}

#[test]
fn the_exponential_keeps_the_values_a_softmax_leans_on() {
    for level in Level::available() {
        let mut out = [9.0; 4];
        let x = [0.0, f32::NEG_INFINITY, -88.0, f32::INFINITY];
        level.run(Exponentials(&x, &mut out));
        assert_eq!(out[..3], [1.0, 0.0, 0.0], "{}", level.name());
        assert!(out[3] > 1e38 && out[3].is_finite());
    }
}

#[test]
fn functions_of_one_value_give_their_definitions() {
    for level in Level::available() {
        for count in LENGTHS {
            for input in [random(count, 6), wide(count)] {
                let run = |function: fn(Level, &mut [f32])| {
                    let mut values = input.clone();
                    function(level, &mut values);
                    values
                };
                assert_close(&run(silu), &each(&input, |x| x * sigmoid(x)), 5e-7);
                assert_close(&run(gelu_tanh), &each(&input, gelu), 5e-6);
                let capped = run(|level, values| soft_cap(level, values, 30.0));
                assert_close(&capped, &each(&input, |x| 30.0 * (x / 30.0).tanh()), 5e-6);
                let scaled = run(|level, values| scale(level, values, 0.5));
                assert_close(&scaled, &each(&input, |x| 0.5 * x), 0.0);
            }
        }
    }
}

#[test]
fn the_soft_cap_is_exact_to_the_last_digits_near_zero() {
    for level in Level::available() {
        for x in [1e-6_f32, 1e-3, 0.03, 5.9, 6.1] {
            let mut values = [x];
            soft_cap(level, &mut values, 30.0);
            let expected = 30.0 * (f64::from(x) / 30.0).tanh();
            assert!((f64::from(values[0]) - expected).abs() / expected < 2e-6);
        }
    }
}

#[test]
fn functions_of_two_values_give_their_definitions() {
    for level in Level::available() {
        for count in LENGTHS {
            let (a, b) = (random(count, 8), random(count, 9));
            let both = |definition: fn(f64, f64) -> f64| -> Vec<f64> {
                let pairs = a.iter().zip(&b);
                pairs
                    .map(|(a, b)| definition(f64::from(*a), f64::from(*b)))
                    .collect()
            };
            let run = |function: fn(Level, &mut [f32], &[f32]) -> Result<(), _>| {
                let mut values = a.clone();
                function(level, &mut values, &b).unwrap();
                values
            };
            assert_close(&run(multiply), &both(|a, b| a * b), 1e-6);
            assert_close(&run(silu_multiply), &both(|a, b| a * sigmoid(a) * b), 1e-6);
            assert_close(&run(gelu_tanh_multiply), &both(|a, b| gelu(a) * b), 1e-6);
            if count > 0 {
                assert_close(&run(add_bias), &both(|a, b| a + b), 1e-6);
            }
        }
    }
}

#[test]
fn a_bias_is_added_to_every_row() {
    let mut rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    add_bias(Level::detect(), &mut rows, &[10.0, 20.0, 30.0]).unwrap();
    assert_eq!(rows, [11.0, 22.0, 33.0, 14.0, 25.0, 36.0]);
    assert!(add_bias(Level::detect(), &mut rows, &[1.0; 4]).is_err());
    assert!(add_bias(Level::detect(), &mut rows, &[]).is_err());
    assert!(multiply(Level::detect(), &mut rows, &[1.0; 4]).is_err());
}

#[test]
fn the_first_of_the_largest_values_is_found() {
    for level in Level::available() {
        let mut values = random(5000, 10);
        values[4321] = 3.0;
        values[4800] = 3.0;
        values[17] = f32::NAN;
        assert_eq!(argmax(level, &values), Some(4321));
        assert_eq!(argmax(level, &[f32::NEG_INFINITY; 3]), Some(0));
        assert_eq!(argmax(level, &[f32::NAN; 3]), None);
        assert_eq!(argmax(level, &[]), None);
    }
}

#[test]
fn the_level_detected_is_the_first_available_and_portable_rust_always_is() {
    let levels: Vec<_> = Level::available().collect();
    assert_eq!(levels.first(), Some(&Level::detect()));
    assert_eq!(levels.last(), Some(&Level::PORTABLE));
}
