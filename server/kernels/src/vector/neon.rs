//! NEON: eight lanes, in two registers.
// SAFETY of every block below that only computes: every processor of this architecture has NEON.
// Blocks that touch memory pass their caller's promise on.
// Nearly every line names an instruction.
#![allow(clippy::wildcard_imports)]
use super::{Isa, Kernel};
use half::f16;
use std::{
    arch::{aarch64::*, asm},
    array,
};

/// NEON's token.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

type Lanes = [float32x4_t; 2];

/// Lanes of a register.
const HALF: usize = 4;

/// Runs `kernel` with NEON.
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon)
}

#[inline(always)]
fn each(a: Lanes, b: Lanes, operation: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Lanes {
    array::from_fn(|half| operation(a[half], b[half]))
}

/// Adds to each of four sums the products of four int8 weights and the four inputs of a lane.
// The intrinsic is not stable yet (rust-lang/rust#117224).
#[target_feature(enable = "dotprod")]
#[inline]
pub(crate) fn dot<const LANE: i32>(
    mut sums: int32x4_t,
    weights: int8x16_t,
    inputs: int8x16_t,
) -> int32x4_t {
    // SAFETY: registers only, and the caller has the feature.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {weights:v}.16b, {inputs:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            inputs = in(vreg) inputs,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Four f16, widened.
///
/// # Safety
/// They must be there.
// The type and its intrinsics are younger than the oldest compiler that this workspace allows.
#[inline(always)]
pub(crate) unsafe fn halves(from: *const u8) -> float32x4_t {
    // SAFETY: the caller's promise; every processor of this architecture has the instruction.
    unsafe {
        let narrow = vld1_u16(from.cast());
        let wide: float32x4_t;
        asm!(
            "fcvtl {wide:v}.4s, {narrow:v}.4h",
            wide = lateout(vreg) wide,
            narrow = in(vreg) narrow,
            options(pure, nomem, nostack, preserves_flags),
        );
        wide
    }
}

impl Isa for Neon {
    type Vector = Lanes;
    const LANES: usize = 2 * HALF;
    const SUMS: usize = 12;
    const QUERIES: usize = 6;

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [unsafe { vdupq_n_f32(value) }; 2]
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }

    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        array::from_fn(|half| unsafe { vfmaq_f32(c[half], a[half], b[half]) })
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        // The processor's own maximum of a number and NaN is NaN, on either side.
        each(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        each(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }

    #[inline(always)]
    fn where_less(self, a: Lanes, b: Lanes, yes: Lanes, no: Lanes) -> Lanes {
        array::from_fn(|half| unsafe {
            vbslq_f32(vcltq_f32(a[half], b[half]), yes[half], no[half])
        })
    }

    #[inline(always)]
    fn where_bit(self, bits: u32, yes: Lanes, no: Lanes) -> Lanes {
        const BITS: [u32; 2 * HALF] = [1, 2, 4, 8, 16, 32, 64, 128];
        array::from_fn(|half| unsafe {
            let own = vld1q_u32(BITS.as_ptr().add(half * HALF));
            vbslq_f32(vtstq_u32(vdupq_n_u32(bits), own), yes[half], no[half])
        })
    }

    #[inline(always)]
    fn round(self, a: Lanes) -> Lanes {
        a.map(|a| unsafe { vrndnq_f32(a) })
    }

    #[inline(always)]
    fn power_of_two(self, exponent: Lanes) -> Lanes {
        exponent.map(|exponent| unsafe {
            let biased = vaddq_s32(vcvtq_s32_f32(exponent), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        })
    }

    #[inline(always)]
    fn swap_pairs(self, a: Lanes) -> Lanes {
        a.map(|a| unsafe { vrev64q_f32(a) })
    }

    #[inline(always)]
    fn fma_alternate(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        let sign_of_even = unsafe { vreinterpretq_u32_u64(vdupq_n_u64(1 << 31)) };
        array::from_fn(|half| unsafe {
            let c = veorq_u32(vreinterpretq_u32_f32(c[half]), sign_of_even);
            vfmaq_f32(vreinterpretq_f32_u32(c), a[half], b[half])
        })
    }

    #[inline(always)]
    fn sum(self, [low, high]: Lanes) -> f32 {
        unsafe { vaddvq_f32(vaddq_f32(low, high)) }
    }

    #[inline(always)]
    fn maximum(self, [low, high]: Lanes) -> f32 {
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(low, high)) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Lanes {
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(HALF))] }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, [low, high]: Lanes) {
        unsafe {
            vst1q_f32(to, low);
            vst1q_f32(to.add(HALF), high);
        }
    }

    #[inline(always)]
    unsafe fn load_first(self, from: *const f32, count: usize) -> Lanes {
        let mut lanes = [0.0; 2 * HALF];
        unsafe {
            from.copy_to_nonoverlapping(lanes.as_mut_ptr(), count);
            self.load(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize, value: Lanes) {
        let mut lanes = [0.0; 2 * HALF];
        unsafe {
            self.store(lanes.as_mut_ptr(), value);
            lanes.as_ptr().copy_to_nonoverlapping(to, count);
        }
    }

    #[inline(always)]
    unsafe fn load_doubled(self, from: *const f32) -> Lanes {
        unsafe {
            let four = vld1q_f32(from);
            [vzip1q_f32(four, four), vzip2q_f32(four, four)]
        }
    }

    #[inline(always)]
    unsafe fn load_half(self, from: *const f16) -> Lanes {
        unsafe { [halves(from.cast()), halves(from.add(HALF).cast())] }
    }

    #[inline(always)]
    unsafe fn store_half(self, to: *mut f16, value: Lanes) {
        for (half, wide) in value.into_iter().enumerate() {
            unsafe {
                let narrow: uint16x4_t;
                asm!(
                    "fcvtn {narrow:v}.4h, {wide:v}.4s",
                    narrow = lateout(vreg) narrow,
                    wide = in(vreg) wide,
                    options(pure, nomem, nostack, preserves_flags),
                );
                vst1_u16(to.add(half * HALF).cast(), narrow);
            }
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, at: *const T) {
        // SAFETY: it faults on no address.
        unsafe {
            asm!("prfm pldl2keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags));
        }
    }
}
