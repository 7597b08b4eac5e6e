//! The functions that gate a feed-forward layer.
use super::layout::LANES;

/// What a gate's value goes through before it multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x)
    Silu,
    /// The tanh form of GELU.
    GeluTanh,
}

/// Replaces each gate value by its activation times the value to be gated.
///
/// Always inlined, so that each instruction set compiles it for itself.
#[inline(always)]
#[allow(clippy::inline_always)]
pub(super) fn gate(activation: Activation, gates: &mut [[f32; LANES]], values: &[[f32; LANES]]) {
    for (gates, values) in gates.iter_mut().zip(values) {
        for (gate, value) in gates.iter_mut().zip(values) {
            let steepness = match activation {
                Activation::Silu => *gate,
                // ½(1 + tanh y) is σ(2y), and here y is √(2/π)·(x + 0.044715·x³).
                Activation::GeluTanh => 1.595_769 * *gate * (1.0 + 0.044_715 * *gate * *gate),
            };
            *gate = *gate / (1.0 + exp(-steepness)) * value;
        }
    }
}

/// eˣ within three units in the last place, in operations that every vector unit has; clamped to
/// what an f32 can hold.
#[inline(always)]
#[allow(clippy::inline_always)]
fn exp(x: f32) -> f32 {
    // Adding it leaves no bits behind the point; its low bits then hold the integer.
    const ROUND: f32 = 12_582_912.0;
    // Comparisons, not `clamp`: a NaN stays one.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the product with a small integer is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let series = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest
                            * (0.166_666_67
                                + rest
                                    * (0.041_666_645 + rest * (0.008_333_3 + rest * 0.001_39)))));
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    f32::from_bits(exponent << 23) * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_everywhere() {
        for step in -8_700..8_800_i16 {
            let x = f32::from(step) / 100.0;
            let relative = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(relative.abs() < 4e-7, "{x}: {relative}");
        }
    }

    #[test]
    fn gates_are_the_functions_they_are_named_after() {
        for step in -200..200_i16 {
            let x = f64::from(step) / 10.0;
            let silu = x / (1.0 + (-x).exp());
            let cube = x + 0.044_715 * x * x * x;
            let gelu = 0.5 * x * (1.0 + (cube * (2.0 / std::f64::consts::PI).sqrt()).tanh());
            for (activation, expected) in [(Activation::Silu, silu), (Activation::GeluTanh, gelu)] {
                let mut gates = [[f32::from(step) / 10.0; LANES]];
                gate(activation, &mut gates, &[[3.0; LANES]]);
                let error = f64::from(gates[0][0]) - 3.0 * expected;
                assert!(
                    error.abs() < 1e-6 * (1.0 + x.abs()),
                    "{activation:?} {x}: {error}"
                );
            }
        }
    }

    #[test]
    fn extremes_give_no_nan_and_nan_stays() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            for (gate_value, expected) in [(0.0, 0.0), (1e30, 1e30), (-1e6, 0.0)] {
                let mut gates = [[gate_value; LANES]];
                gate(activation, &mut gates, &[[1.0; LANES]]);
                assert!((gates[0][0] - expected).abs() <= expected * 1e-6 + 1e-30);
            }
            let mut gates = [[f32::NAN; LANES]];
            gate(activation, &mut gates, &[[1.0; LANES]]);
            assert!(gates[0][0].is_nan());
        }
    }
}
