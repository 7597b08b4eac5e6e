//! Which vector instructions a kernel runs with, chosen once at run time, and what is built on them.
// Every function a kernel is made of has to become part of the one function that enables the
// instructions, or each operation would be a call.
#![allow(clippy::inline_always)]

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod elementwise;
mod isa;
pub(crate) mod math;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
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

/// A set of instructions this machine has; whoever holds one may run the kernels written in it. The
/// results of a kernel are the same bit for bit wherever the same level runs; between levels they
/// agree within rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Instructions);

/// The instructions that kernels are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// AVX-512, and tiles of bf16 for the rows of prompts: Sapphire Rapids and newer.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AVX-512 with VNNI: Zen 4, Ice Lake and newer.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2 with FMA and F16C: every x86-64 server since 2015.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// NEON with dot products: Armv8.2 servers since 2019 (Neoverse N1) and Apple's M1.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain Rust, on every machine.
    Portable,
}

impl Instructions {
    /// All of them, the fastest first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Amx,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Portable,
    ];

    fn are_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512.are_available() && amx::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // The AVX2 set too, since kernels may fall back on its pieces.
                Self::Avx2.are_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            Self::Portable => true,
        }
    }
}

impl Level {
    /// Plain Rust, which every machine can run.
    pub const PORTABLE: Self = Self(Instructions::Portable);

    /// The best level of this machine.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::PORTABLE)
    }

    /// Every level of this machine, the best first; the last is portable Rust.
    pub fn available() -> impl Iterator<Item = Self> {
        let all = Instructions::ALL.iter().copied();
        all.filter(|instructions| instructions.are_available())
            .map(Self)
    }

    /// The level's name, for logs.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx => "AMX",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => "NEON",
            Instructions::Portable => "portable",
        }
    }

    /// Whether the rows of prompts are multiplied in a way of their own (see
    /// [`crate::matrix::Input::with_prompts_from`]), and so get other bits.
    pub fn multiplies_prompts_apart(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx => true,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 | Instructions::Avx2 => false,
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => false,
            Instructions::Portable => false,
        }
    }

    pub(crate) fn instructions(self) -> Instructions {
        self.0
    }

    /// Runs `kernel` compiled for this level.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this value only exists where the features were detected.
            Instructions::Amx | Instructions::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Instructions::Avx2 => unsafe { avx2::run(kernel) },
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => neon::run(kernel),
            Instructions::Portable => kernel.run(portable::Portable),
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::detect()
    }
}

/// Work that is compiled once for each level. `run` and all it calls must be `inline(always)`.
pub(crate) trait Kernel {
    /// What the work yields.
    type Output;

    /// Does the work with the instructions of `isa`.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}
