//! The most that this processor's int8 multipliers can do, which no kernel can go beyond.
//!
//! The instructions are those of the kernels' best [`Level`], on operands in the nearest cache and
//! sums in registers. (With AMX, kernels multiply bf16, which has half of this rate.)
use crate::vector::{Instructions, Level};

/// Registers of sums, and operands.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SUMS: usize = 10;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const OPERANDS: usize = 16;
/// Tiles of sums.
#[cfg(target_arch = "x86_64")]
const TILES: usize = 4;

/// Multiplies int8 and adds up as fast as it can be done here, for nothing but to be timed.
#[derive(Clone, Copy, Debug)]
pub struct Int8Multiplier {
    name: &'static str,
    /// Products of a round.
    round: usize,
    rounds: fn(usize),
}

impl Int8Multiplier {
    /// That of the best level, or `None` where nobody has written it for the processor.
    pub fn detect() -> Option<Self> {
        Self::of(Level::detect())
    }

    /// That of a level. Without a wildcard, so that a new level has to say what its own is.
    fn of(level: Level) -> Option<Self> {
        match level.instructions() {
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx => Some(Self {
                name: "AMX",
                round: 16 * 16 * 64 * TILES,
                // SAFETY: the level only exists where its features were detected, here and below.
                rounds: |rounds| unsafe { x86::amx(rounds) },
            }),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => Some(Self {
                name: "AVX-512 VNNI",
                round: 64 * SUMS * OPERANDS,
                // SAFETY: as above.
                rounds: |rounds| unsafe { x86::avx512(rounds) },
            }),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => Some(Self {
                name: "AVX2",
                round: 32 * SUMS * OPERANDS,
                rounds: |rounds| unsafe { x86::avx2(rounds) },
            }),
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => Some(Self {
                name: "NEON",
                round: 16 * SUMS * OPERANDS,
                // SAFETY: as above.
                rounds: |rounds| unsafe { neon(rounds) },
            }),
            Instructions::Portable => None,
        }
    }

    /// The instructions, for people.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many products, each with its addition, rounds have: thousands each.
    pub fn products(&self, rounds: usize) -> f64 {
        self.round as f64 * rounds as f64
    }

    /// Multiplies on the calling thread.
    pub fn run(&self, rounds: usize) {
        (self.rounds)(rounds);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{OPERANDS, SUMS};
    use crate::vector::amx;
    use std::{
        arch::{
            asm,
            x86_64::{
                __m256i, __m512i, _mm256_add_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
                _mm256_setzero_si256, _mm512_dpbusd_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
            },
        },
        hint::black_box,
    };

    /// Sums of 16 bits, as the kernels have them for four-bit weights; wider ones cost more.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(rounds: usize) {
        let mut sums = [_mm256_setzero_si256(); SUMS];
        let inputs = [_mm256_set1_epi8(3); SUMS];
        let weights = [_mm256_set1_epi8(2); OPERANDS];
        for _ in 0..rounds {
            let (inputs, weights): (&[__m256i; SUMS], &[__m256i; OPERANDS]) =
                (black_box(&inputs), black_box(&weights));
            for &weight in weights {
                for (sum, &input) in sums.iter_mut().zip(inputs) {
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(weight, input));
                }
            }
        }
        black_box(sums);
    }

    /// # Safety
    /// The machine must have tiles, and the process leave to use them.
    pub(super) unsafe fn amx(rounds: usize) {
        // SAFETY: by this function's own contract; nothing but tiles is touched.
        unsafe {
            amx::configure();
            for _ in 0..rounds {
                asm!(
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm1, tmm5, tmm6",
                    "tdpbusd tmm2, tmm4, tmm7",
                    "tdpbusd tmm3, tmm5, tmm7",
                    options(nostack, nomem, preserves_flags),
                );
            }
            amx::release();
        }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn avx512(rounds: usize) {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let inputs = [_mm512_set1_epi8(3); SUMS];
        let weights = [_mm512_set1_epi8(2); OPERANDS];
        for _ in 0..rounds {
            let (inputs, weights): (&[__m512i; SUMS], &[__m512i; OPERANDS]) =
                (black_box(&inputs), black_box(&weights));
            for &weight in weights {
                for (sum, &input) in sums.iter_mut().zip(inputs) {
                    *sum = _mm512_dpbusd_epi32(*sum, weight, input);
                }
            }
        }
        black_box(sums);
    }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "dotprod")]
fn neon(rounds: usize) {
    use crate::vector::neon::dot;
    use std::{
        arch::aarch64::{int8x16_t, vdupq_n_s8, vdupq_n_s32},
        hint::black_box,
    };
    let mut sums = [vdupq_n_s32(0); SUMS];
    let inputs = [vdupq_n_s8(3); SUMS];
    let weights = [vdupq_n_s8(2); OPERANDS];
    for _ in 0..rounds {
        let (inputs, weights): (&[int8x16_t; SUMS], &[int8x16_t; OPERANDS]) =
            (black_box(&inputs), black_box(&weights));
        for &weight in weights {
            for (sum, &input) in sums.iter_mut().zip(inputs) {
                *sum = dot::<0>(*sum, weight, input);
            }
        }
    }
    black_box(sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn rates_are_those_of_a_processor_and_rise_with_the_level() {
        let rate = |one: Int8Multiplier| {
            let once = |_| {
                let start = Instant::now();
                one.run(2_000);
                one.products(2_000) / start.elapsed().as_secs_f64()
            };
            // What disturbs a measurement only makes it slower.
            (0..200).map(once).fold(0.0, f64::max)
        };
        let all: Vec<_> = Level::available().filter_map(Int8Multiplier::of).collect();
        let rates: Vec<_> = all.into_iter().map(rate).collect();
        for &rate in &rates {
            assert!((1e9..1e13).contains(&rate), "{rates:?}");
        }
        assert!(rates.is_sorted_by(|best, next| best > next), "{rates:?}");
    }

    #[test]
    fn portable_kernels_have_no_instruction_that_could_be_named() {
        assert!(Int8Multiplier::of(Level::PORTABLE).is_none());
    }
}
