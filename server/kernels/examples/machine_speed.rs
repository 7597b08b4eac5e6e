//! What the machine's memory and multipliers can do, which no engine can go beyond.
//!
//! `cargo run --release -p candlepower-kernels --example machine_speed [THREADS]`
//!
//! Writes a line of JSON for each line that it reads, so that another program can measure something
//! else in between: `readBandwidth` in GB/s, and `products`, the int8 multiplications with addition
//! in a second and 10⁹, `null` where nobody has written the probe for the processor.
#![allow(unsafe_code)]
mod probe;

use candlepower_kernels::Pool;
use probe::Probe;
use std::{
    env,
    error::Error,
    hint::black_box,
    io::{self, BufRead},
    time::Instant,
};

/// Registers of sums, and operands, which lie in the nearest cache.
const SUMS: usize = 10;
const OPERANDS: usize = 16;
const ROUNDS: usize = 400_000;
const REPETITIONS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let pool = Pool::new(threads)?;
    let probe = Probe::new()?;
    for line in io::stdin().lock().lines() {
        line?;
        let mut bandwidths = Vec::new();
        probe.bandwidths(&pool, &mut bandwidths);
        let bandwidth = median(&mut bandwidths);
        let products = match products(&pool) {
            Some(products) => format!("{products:.1}"),
            None => "null".to_owned(),
        };
        println!(r#"{{"readBandwidth": {bandwidth:.2}, "products": {products}}}"#);
    }
    Ok(())
}

/// int8 products that all threads together add up in a second and 10⁹.
fn products(pool: &Pool) -> Option<f64> {
    let (multiply, lanes) = multiplier()?;
    let products = (lanes * SUMS * OPERANDS * ROUNDS * pool.threads()) as f64;
    let mut rates: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = Instant::now();
            pool.run(|_| multiply());
            products / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    Some(median(&mut rates))
}

/// What multiplies fastest on this processor, and how many bytes it multiplies at once.
#[cfg(target_arch = "x86_64")]
fn multiplier() -> Option<(fn(), usize)> {
    // SAFETY: called only where the processor has what the function needs, here and below.
    let avx512: fn() = || unsafe { x86::avx512() };
    let avx2: fn() = || unsafe { x86::avx2() };
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        Some((avx512, 64))
    } else if is_x86_feature_detected!("avx2") {
        Some((avx2, 32))
    } else {
        None
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn multiplier() -> Option<(fn(), usize)> {
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{OPERANDS, ROUNDS, SUMS, black_box};
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi16, _mm256_maddubs_epi16, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm512_dpbusd_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
    };

    /// Sums of 16 bits, as the kernels have them for four-bit weights; wider ones cost more.
    #[target_feature(enable = "avx2")]
    pub(super) fn avx2() {
        let mut sums = [_mm256_setzero_si256(); SUMS];
        let inputs = [_mm256_set1_epi8(3); SUMS];
        let weights = [_mm256_set1_epi8(2); OPERANDS];
        for _ in 0..ROUNDS {
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

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn avx512() {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let inputs = [_mm512_set1_epi8(3); SUMS];
        let weights = [_mm512_set1_epi8(2); OPERANDS];
        for _ in 0..ROUNDS {
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

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
