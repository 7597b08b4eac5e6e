//! Which instructions the kernels may use on this machine.
use std::fmt;

/// A family of kernels, by the instructions they are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// AVX-512 with VNNI: Zen 4, Ice Lake and newer.
    Avx512,
    /// AVX2 with FMA and F16C: every x86-64 server since 2015.
    Avx2,
    /// Plain Rust, on every machine.
    Portable,
}

impl InstructionSet {
    /// All of them, the fastest first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Portable];

    /// Whether this machine has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                // The AVX2 set too, since kernels may fall back on its pieces.
                Self::Avx2.is_available()
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
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Avx512 => "AVX-512 VNNI",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        })
    }
}

/// The kernels of an instruction set that this machine has. Whoever holds one may run them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(InstructionSet);

/// This machine lacks an instruction set.
#[derive(Debug, thiserror::Error)]
#[error("this machine lacks {0}; let Kernels::detect() choose")]
pub struct Unsupported(pub InstructionSet);

impl Kernels {
    /// The fastest kernels for this machine.
    pub fn detect() -> Self {
        let best = InstructionSet::ALL
            .into_iter()
            .find(|set| set.is_available());
        Self(best.unwrap_or(InstructionSet::Portable))
    }

    /// The kernels of one instruction set, for tests and comparisons.
    pub fn forced(set: InstructionSet) -> Result<Self, Unsupported> {
        if set.is_available() {
            Ok(Self(set))
        } else {
            Err(Unsupported(set))
        }
    }

    /// What the kernels are written in.
    pub fn instruction_set(self) -> InstructionSet {
        self.0
    }
}

impl Default for Kernels {
    fn default() -> Self {
        Self::detect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_kernels_run_everywhere() {
        assert!(Kernels::forced(InstructionSet::Portable).is_ok());
    }

    #[test]
    fn the_kernels_chosen_are_the_best_that_can_be_forced() {
        let best = InstructionSet::ALL
            .into_iter()
            .find_map(|set| Kernels::forced(set).ok());
        assert_eq!(Some(Kernels::detect()), best);
    }
}
