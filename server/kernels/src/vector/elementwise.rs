//! Functions of each value of a slice, and the place of the largest.
use super::{Isa, Kernel, Level, math};
use crate::size::SizeError;

/// A function of one value, or of two, applied lane by lane.
pub(crate) trait Function {
    fn apply<I: Isa>(&self, isa: I, value: I::Vector, other: I::Vector) -> I::Vector;
}

/// `values[i] = function(values[i], others[i])` for slices of one length.
struct Zip<'a, F> {
    values: &'a mut [f32],
    others: &'a [f32],
    function: F,
}

impl<F: Function> Kernel for Zip<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        debug_assert_eq!(self.values.len(), self.others.len());
        let mut values = self.values.chunks_exact_mut(I::LANES);
        let mut others = self.others.chunks_exact(I::LANES);
        for (values, others) in values.by_ref().zip(others.by_ref()) {
            // SAFETY: chunks have `LANES` values.
            unsafe {
                let (value, other) = (isa.load(values.as_ptr()), isa.load(others.as_ptr()));
                isa.store(values.as_mut_ptr(), self.function.apply(isa, value, other));
            }
        }
        let (values, others) = (values.into_remainder(), others.remainder());
        let count = values.len().min(others.len());
        // SAFETY: remainders are shorter than `LANES`, and both have `count` values.
        unsafe {
            let value = isa.load_first(values.as_ptr(), count);
            let other = isa.load_first(others.as_ptr(), count);
            isa.store_first(
                values.as_mut_ptr(),
                count,
                self.function.apply(isa, value, other),
            );
        }
    }
}

/// `values[i] = function(values[i])`.
struct Map<'a, F> {
    values: &'a mut [f32],
    function: F,
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let mut values = self.values.chunks_exact_mut(I::LANES);
        for values in values.by_ref() {
            // SAFETY: chunks have `LANES` values.
            unsafe {
                let value = isa.load(values.as_ptr());
                isa.store(values.as_mut_ptr(), self.function.apply(isa, value, value));
            }
        }
        let values = values.into_remainder();
        // SAFETY: a remainder is shorter than `LANES`.
        unsafe {
            let value = isa.load_first(values.as_ptr(), values.len());
            isa.store_first(
                values.as_mut_ptr(),
                values.len(),
                self.function.apply(isa, value, value),
            );
        }
    }
}

macro_rules! function {
    ($name:ident $(($field:ident))?, |$isa:ident, $value:ident, $other:ident| $body:expr) => {
        struct $name $((function!(@f32 $field)))?;

        impl Function for $name {
            #[inline(always)]
            fn apply<I: Isa>(&self, $isa: I, $value: I::Vector, $other: I::Vector) -> I::Vector {
                $(let $field = self.0;)?
                $body
            }
        }
    };
    (@f32 $field:ident) => { f32 };
}

function!(Add, |isa, value, other| isa.add(value, other));
function!(Multiply, |isa, value, other| isa.mul(value, other));
function!(SiluMultiply, |isa, value, other| isa
    .mul(math::silu(isa, value), other));
function!(GeluMultiply, |isa, value, other| isa
    .mul(math::gelu_tanh(isa, value), other));
function!(Silu, |isa, value, _other| math::silu(isa, value));
function!(Gelu, |isa, value, _other| math::gelu_tanh(isa, value));
function!(SoftCap(cap), |isa, value, _other| math::soft_cap(
    isa, value, cap
));
function!(Scale(factor), |isa, value, _other| isa
    .mul(value, isa.splat(factor)));

/// Applies `function` to each value and its fellow in `others`.
pub(crate) fn zip(
    level: Level,
    values: &mut [f32],
    others: &[f32],
    function: impl Function,
) -> Result<(), SizeError> {
    SizeError::check("values of the second operand", values.len(), others.len())?;
    level.run(Zip {
        values,
        others,
        function,
    });
    Ok(())
}

fn map(level: Level, values: &mut [f32], function: impl Function) {
    level.run(Map { values, function });
}

/// Adds `bias` to each row of `rows`; with one row, this adds two vectors.
pub fn add_bias(level: Level, rows: &mut [f32], bias: &[f32]) -> Result<(), SizeError> {
    SizeError::check_rows("rows to add a bias to", bias.len(), rows.len())?;
    for row in rows.chunks_exact_mut(bias.len().max(1)) {
        zip(level, row, bias, Add)?;
    }
    Ok(())
}

/// Multiplies each value of `values` by its fellow in `others`.
pub fn multiply(level: Level, values: &mut [f32], others: &[f32]) -> Result<(), SizeError> {
    zip(level, values, others, Multiply)
}

/// SwiGLU: `gate = silu(gate) * up`.
pub fn silu_multiply(level: Level, gate: &mut [f32], up: &[f32]) -> Result<(), SizeError> {
    zip(level, gate, up, SiluMultiply)
}

/// GeGLU: `gate = gelu_tanh(gate) * up`.
pub fn gelu_tanh_multiply(level: Level, gate: &mut [f32], up: &[f32]) -> Result<(), SizeError> {
    zip(level, gate, up, GeluMultiply)
}

/// `x * sigmoid(x)` of each value.
pub fn silu(level: Level, values: &mut [f32]) {
    map(level, values, Silu);
}

/// GELU of each value, by its tanh approximation.
pub fn gelu_tanh(level: Level, values: &mut [f32]) {
    map(level, values, Gelu);
}

/// `cap * tanh(x / cap)` of each value.
pub fn soft_cap(level: Level, values: &mut [f32], cap: f32) {
    map(level, values, SoftCap(cap));
}

/// Multiplies each value by `factor`.
pub fn scale(level: Level, values: &mut [f32], factor: f32) {
    map(level, values, Scale(factor));
}

/// The place of the largest value, the first of equals; `None` without values, or if all are NaN.
#[allow(clippy::float_cmp)] // the largest is one of the values
pub fn argmax(level: Level, values: &[f32]) -> Option<usize> {
    // Looking for the place only where a chunk beats all before keeps the common pass to maxima.
    const CHUNK: usize = 1024;
    let mut best: Option<(f32, usize)> = None;
    for (index, chunk) in values.chunks(CHUNK).enumerate() {
        let largest = level.run(Largest(chunk));
        if best.is_none_or(|(value, _)| largest > value)
            && let Some(place) = chunk.iter().position(|value| *value == largest)
        {
            best = Some((largest, index * CHUNK + place));
        }
    }
    best.map(|(_, place)| place)
}

/// The largest of some values, NaN left out.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) -> f32 {
        let mut largest = [isa.splat(f32::NEG_INFINITY); 4];
        let mut chunks = self.0.chunks_exact(4 * I::LANES);
        for chunk in chunks.by_ref() {
            for (lane, largest) in largest.iter_mut().enumerate() {
                // SAFETY: a chunk has four vectors.
                let value = unsafe { isa.load(chunk.as_ptr().add(lane * I::LANES)) };
                *largest = isa.max(value, *largest);
            }
        }
        let [a, b, c, d] = largest;
        let vector = isa.max(isa.max(a, b), isa.max(c, d));
        let rest = chunks.remainder().iter().copied();
        rest.fold(isa.maximum(vector), f32::max)
    }
}
