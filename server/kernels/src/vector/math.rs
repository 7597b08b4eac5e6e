//! Exponential and what follows from it, on vectors.
use super::Isa;

/// `e^x` within 2e-7 of its value; zero below -87.3, and no larger than `e^88`. `e^0` is exactly 1.
#[inline(always)]
pub(crate) fn exp<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    // Cephes' expf. ln 2 is cut in two, the larger with few bits, so that the product with a whole
    // number is exact even without a fused multiply-add.
    #[allow(clippy::excessive_precision)] // it has no more digits than these
    const LN2_LARGE: f32 = 0.693_359_375;
    const LN2_SMALL: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -87.3;
    const COEFFICIENTS: [f32; 5] = [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ];
    let within = isa.max(isa.min(x, isa.splat(88.0)), isa.splat(LOWEST));
    let whole = isa.round(isa.mul(within, isa.splat(std::f32::consts::LOG2_E)));
    let rest = isa.fma(whole, isa.splat(-LN2_LARGE), within);
    let rest = isa.fma(whole, isa.splat(-LN2_SMALL), rest);
    let mut polynomial = isa.splat(1.987_569_1e-4);
    for coefficient in COEFFICIENTS {
        polynomial = isa.fma(polynomial, rest, isa.splat(coefficient));
    }
    let one = isa.splat(1.0);
    let value = isa.add(isa.fma(polynomial, isa.mul(rest, rest), rest), one);
    let value = isa.mul(value, isa.power_of_two(whole));
    isa.where_less(x, isa.splat(LOWEST), isa.splat(0.0), value)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    let one = isa.splat(1.0);
    isa.div(one, isa.add(one, exp(isa, isa.sub(isa.splat(0.0), x))))
}

/// The hyperbolic tangent, within 3e-7 of its value.
#[inline(always)]
pub(crate) fn tanh<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    // From the exponential, save near zero, where that would cancel.
    const NEAR: f32 = 0.2;
    const SERIES: [f32; 3] = [-17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0];
    let one = isa.splat(1.0);
    let doubled = exp(isa, isa.add(x, x));
    let far = isa.sub(one, isa.div(isa.splat(2.0), isa.add(doubled, one)));
    let square = isa.mul(x, x);
    let mut series = isa.splat(62.0 / 2835.0);
    for coefficient in SERIES {
        series = isa.fma(series, square, isa.splat(coefficient));
    }
    let near = isa.fma(isa.mul(series, square), x, x);
    isa.where_less(square, isa.splat(NEAR * NEAR), near, far)
}

/// `cap * tanh(x / cap)`.
#[inline(always)]
pub(crate) fn soft_cap<I: Isa>(isa: I, x: I::Vector, cap: f32) -> I::Vector {
    let cap = isa.splat(cap);
    isa.mul(cap, tanh(isa, isa.div(x, cap)))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(crate) fn silu<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    isa.mul(x, sigmoid(isa, x))
}

/// GELU by its tanh approximation, `x / 2 * (1 + tanh(u))`, which is `x * sigmoid(2 u)`.
#[inline(always)]
pub(crate) fn gelu_tanh<I: Isa>(isa: I, x: I::Vector) -> I::Vector {
    const TWICE_ROOT: f32 = 1.595_769_2; // 2 * sqrt(2 / pi)
    let square = isa.mul(x, x);
    let factor = isa.fma(square, isa.splat(0.044_715), isa.splat(1.0));
    let twice = isa.mul(isa.mul(x, isa.splat(TWICE_ROOT)), factor);
    isa.mul(x, sigmoid(isa, twice))
}
