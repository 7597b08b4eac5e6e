//! Which vector instructions a kernel runs with, chosen once at run time, and what is built on them.
// Every function a kernel is made of has to become part of the one function that enables the
// instructions, or each operation would be a call.
#![allow(clippy::inline_always)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod elementwise;
mod isa;
pub(crate) mod math;
mod portable;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use elementwise::{Function, zip};
pub use elementwise::{
    add_bias, argmax, gelu_tanh, gelu_tanh_multiply, multiply, scale, silu, silu_multiply, soft_cap,
};
pub(crate) use isa::Isa;

/// A set of vector instructions this machine has. The results of a kernel are the same bit for bit
/// wherever the same level runs; between levels they agree within rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    /// The best level of this machine.
    pub fn detect() -> Self {
        Self::available()
            .first()
            .copied()
            .unwrap_or(Self(Instructions::Portable))
    }

    /// Every level of this machine, the best first; the last is portable Rust.
    pub fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let has_avx512 = has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if has_avx512 {
                levels.push(Self(Instructions::Avx512));
            }
            if has_avx2 {
                levels.push(Self(Instructions::Avx2));
            }
        }
        levels.push(Self(Instructions::Portable));
        levels
    }

    /// The level's name, for logs.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "AVX2",
            Instructions::Portable => "portable",
        }
    }

    /// Runs `kernel` compiled for this level.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value only exists where the features were detected.
            Instructions::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Instructions::Avx2 => unsafe { avx2::run(kernel) },
            Instructions::Portable => kernel.run(portable::Portable),
        }
    }
}

/// Work that is compiled once for each level. `run` and all it calls must be `inline(always)`.
pub(crate) trait Kernel {
    /// What the work yields.
    type Output;

    /// Does the work with the instructions of `isa`.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}
