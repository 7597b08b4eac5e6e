//! How fast this machine reads memory and multiplies, by a short measurement with all its cores.
//!
//! It says nothing about another machine: the caller uses it only where the server runs on this one.
//! The loops are plain Rust, compiled for the widest vectors that the CPU has; integers are multiplied
//! by the instructions of the server's own kernels.
use candlepower_kernels::Int8Multiplier;
use pulp::{Arch, WithSimd};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

/// What a probe found.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Bytes read from memory per second, by all threads together.
    pub bytes_per_second: f64,
    /// Floating-point operations per second of 32 bits, where a multiply-add is two.
    pub flops_per_second: f64,
    /// The same of integers of 8 bits, which the kernels for quantised weights multiply; absent where
    /// nobody has written it for the CPU.
    #[serde(default)]
    pub int8: Option<Int8Rate>,
    /// Threads that it used.
    pub threads: usize,
    /// Bytes that were read over and over; far more than caches hold.
    pub buffer_bytes: u64,
    /// Where and how it was taken, in words.
    pub source: String,
}

/// How fast integers of 8 bits are multiplied and added up.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Int8Rate {
    /// Operations per second, where a multiply-add is two.
    pub operations_per_second: f64,
    /// The instructions that did it.
    pub instructions: String,
}

/// How much a probe reads: far more than the last-level cache that a few cores share, and little enough
/// for a pod that also holds a run's records.
const BUFFER: usize = 256 << 20;

/// Measures for about `time` each of the three.
pub fn probe(time: Duration) -> Probe {
    let threads = thread::available_parallelism().map_or(1, Into::into);
    Probe {
        bytes_per_second: read_rate(threads, BUFFER, time),
        flops_per_second: multiply_rate(threads, time),
        int8: Int8Multiplier::detect().map(|multiplier| Int8Rate {
            operations_per_second: int8_rate(multiplier, threads, time),
            instructions: multiplier.name().to_owned(),
        }),
        threads,
        buffer_bytes: BUFFER as u64,
        source: format!("measured on the server's machine with {threads} threads"),
    }
}

/// The best of several passes: what disturbs a pass only makes it slower.
fn read_rate(threads: usize, bytes: usize, time: Duration) -> f64 {
    let part = bytes / threads / size_of::<f32>();
    // Not zero: pages of zeros need not be there at all.
    let parts: Vec<Vec<f32>> = (0..threads).map(|_| vec![1.0; part]).collect();
    let read = (threads * part * size_of::<f32>()) as f64;
    best(time, || {
        thread::scope(|scope| {
            for part in &parts {
                scope.spawn(move || black_box(Arch::new().dispatch(Sum(part))));
            }
        });
        read
    })
}

fn multiply_rate(threads: usize, time: Duration) -> f64 {
    best(time, || {
        thread::scope(|scope| {
            let all: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| Arch::new().dispatch(MultiplyAdd(1 << 21))))
                .collect();
            let done = all.into_iter().filter_map(|one| one.join().ok());
            done.sum::<f64>()
        })
    })
}

fn int8_rate(multiplier: Int8Multiplier, threads: usize, time: Duration) -> f64 {
    const ROUNDS: usize = 50_000;
    best(time, || {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| multiplier.run(ROUNDS));
            }
        });
        2.0 * multiplier.products(ROUNDS) * threads as f64
    })
}

/// The most that a piece of work does per second; it is repeated for `time`.
fn best(time: Duration, mut work: impl FnMut() -> f64) -> f64 {
    let begun = Instant::now();
    let mut best: f64 = 0.0;
    while begun.elapsed() < time {
        let start = Instant::now();
        let done = work();
        best = best.max(done / start.elapsed().as_secs_f64().max(1e-9));
    }
    best
}

/// Reads all of a buffer.
struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[allow(
        clippy::inline_always,
        reason = "only inlined is it compiled for the machine's instructions"
    )]
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> f32 {
        let (vectors, rest) = S::as_simd_f32s(self.0);
        // Several sums, so that one addition need not wait for the one before.
        let mut sums = [simd.splat_f32s(0.0); 8];
        let chunks = vectors.chunks_exact(sums.len());
        let left = chunks.remainder();
        for chunk in chunks {
            for (sum, &vector) in sums.iter_mut().zip(chunk) {
                *sum = simd.add_f32s(*sum, vector);
            }
        }
        for &vector in left {
            sums[0] = simd.add_f32s(sums[0], vector);
        }
        let sum = sums.into_iter().reduce(|a, b| simd.add_f32s(a, b));
        sum.map_or(0.0, |sum| simd.reduce_sum_f32s(sum)) + rest.iter().sum::<f32>()
    }
}

/// Rounds of independent multiply-adds; gives the operations that it did.
struct MultiplyAdd(usize);

impl WithSimd for MultiplyAdd {
    type Output = f64;

    #[allow(
        clippy::inline_always,
        reason = "only inlined is it compiled for the machine's instructions"
    )]
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> f64 {
        // More than the latency of an addition times the units that do them.
        let mut values = [simd.splat_f32s(black_box(0.5)); 12];
        let (factor, addend) = (
            simd.splat_f32s(black_box(0.999)),
            simd.splat_f32s(black_box(0.001)),
        );
        for _ in 0..self.0 {
            for value in &mut values {
                *value = simd.mul_add_f32s(*value, factor, addend);
            }
        }
        let lanes = size_of_val(&values) / size_of::<f32>();
        black_box(values);
        2.0 * lanes as f64 * self.0 as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_buffer_is_read() {
        let buffer = vec![0.5f32; 1003];
        let sum = Arch::new().dispatch(Sum(&buffer));
        assert!((sum - 501.5).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn rates_are_those_of_a_machine_that_can_run_this() {
        let time = Duration::from_millis(20);
        let bytes = read_rate(2, 64 << 20, time);
        let flops = multiply_rate(2, time);
        assert!((1e8..1e13).contains(&bytes), "{bytes}");
        assert!((1e8..1e14).contains(&flops), "{flops}");
        if let Some(multiplier) = Int8Multiplier::detect() {
            let int8 = int8_rate(multiplier, 2, time);
            assert!((1e8..1e15).contains(&int8), "{int8}");
        }
    }
}
