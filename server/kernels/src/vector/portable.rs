//! Portable Rust: eight lanes as an array, for every machine without a level of its own and as the
//! twin the others are tested against.
use super::Isa;
use half::f16;
use std::array;

/// The portable level's token.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

type Lanes = [f32; 8];

/// Where the machine has no such instruction, `mul_add` is a slow call.
const HAS_FMA: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

#[inline(always)]
fn each(a: Lanes, b: Lanes, operation: impl Fn(f32, f32) -> f32) -> Lanes {
    array::from_fn(|lane| operation(a[lane], b[lane]))
}

#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if HAS_FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn smaller(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

impl Isa for Portable {
    type Vector = Lanes;
    const LANES: usize = 8;
    const SUMS: usize = 8;
    const QUERIES: usize = 4;

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; 8]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        array::from_fn(|lane| multiply_add(a[lane], b[lane], c[lane]))
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, larger)
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, smaller)
    }

    #[inline(always)]
    fn where_less(self, a: Lanes, b: Lanes, yes: Lanes, no: Lanes) -> Lanes {
        array::from_fn(|lane| {
            if a[lane] < b[lane] {
                yes[lane]
            } else {
                no[lane]
            }
        })
    }

    #[inline(always)]
    fn where_bit(self, bits: u32, yes: Lanes, no: Lanes) -> Lanes {
        array::from_fn(|lane| {
            if bits >> lane & 1 == 1 {
                yes[lane]
            } else {
                no[lane]
            }
        })
    }

    #[inline(always)]
    fn round(self, a: Lanes) -> Lanes {
        // Adding 1.5 * 2^23 leaves no bits for a fraction.
        a.map(|value| value + 12_582_912.0 - 12_582_912.0)
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)]
    fn power_of_two(self, exponent: Lanes) -> Lanes {
        exponent.map(|exponent| f32::from_bits(((exponent as i32 + 127) << 23).cast_unsigned()))
    }

    #[inline(always)]
    fn swap_pairs(self, a: Lanes) -> Lanes {
        array::from_fn(|lane| a[lane ^ 1])
    }

    #[inline(always)]
    fn fma_alternate(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        array::from_fn(|lane| {
            let c = if lane % 2 == 0 { -c[lane] } else { c[lane] };
            multiply_add(a[lane], b[lane], c)
        })
    }

    #[inline(always)]
    fn sum(self, a: Lanes) -> f32 {
        let four: [f32; 4] = array::from_fn(|lane| a[lane] + a[lane + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }

    #[inline(always)]
    fn maximum(self, a: Lanes) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, larger)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Lanes {
        // SAFETY: the caller's promise; an array needs no more alignment than its values.
        unsafe { from.cast::<Lanes>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Lanes) {
        // SAFETY: as above.
        unsafe { to.cast::<Lanes>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Lanes {
        let mut lanes = [0.0; 8];
        // SAFETY: the caller's promise, and `count` is less than the lanes.
        unsafe { from.copy_to_nonoverlapping(lanes.as_mut_ptr(), count) };
        lanes
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize, value: Lanes) {
        // SAFETY: as above.
        unsafe { value.as_ptr().copy_to_nonoverlapping(to, count) };
    }

    #[inline(always)]
    unsafe fn load_doubled(self, from: *const f32) -> Lanes {
        // SAFETY: the caller's promise.
        array::from_fn(|lane| unsafe { *from.add(lane / 2) })
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const f16) -> Lanes {
        // SAFETY: the caller's promise.
        array::from_fn(|lane| unsafe { (*from.add(lane)).to_f32_const() })
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut f16, value: Lanes) {
        for (lane, value) in value.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.add(lane).write(f16::from_f32_const(value)) };
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, _at: *const T) {}
}
