//! The vector operations kernels are written in; each level implements them.
use half::f16;

/// A token of an instruction set. Having one proves that the machine has the instructions, so
/// everything that does not touch memory is safe.
pub(crate) trait Isa: Copy {
    /// Lanes of f32.
    type Vector: Copy;

    /// How many lanes a vector has; divides 16.
    const LANES: usize;

    /// How many sums may be under way: of the registers, what is not needed for their operands.
    const SUMS: usize;

    /// How many query rows share a pass over keys, at most 8.
    const QUERIES: usize;

    fn splat(self, value: f32) -> Self::Vector;
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`.
    fn fma(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The larger; `b` where either is NaN.
    fn max(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The smaller; `b` where either is NaN.
    fn min(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `yes` in lanes where `a < b`, else `no`.
    fn where_less(
        self,
        a: Self::Vector,
        b: Self::Vector,
        yes: Self::Vector,
        no: Self::Vector,
    ) -> Self::Vector;
    /// `yes` in the lanes of the set bits, else `no`.
    fn where_bit(self, bits: u32, yes: Self::Vector, no: Self::Vector) -> Self::Vector;
    /// The nearest whole number; for magnitudes below 2^22.
    fn round(self, a: Self::Vector) -> Self::Vector;
    /// `2^exponent` for whole exponents from -126 to 127.
    fn power_of_two(self, exponent: Self::Vector) -> Self::Vector;
    /// Lanes 2i and 2i + 1 exchanged.
    fn swap_pairs(self, a: Self::Vector) -> Self::Vector;
    /// `a * b - c` in even lanes, `a * b + c` in odd ones.
    fn fma_alternate(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The sum of all lanes, in a fixed order.
    fn sum(self, a: Self::Vector) -> f32;
    /// The largest lane.
    fn maximum(self, a: Self::Vector) -> f32;

    /// # Safety
    /// `from` must be readable for `LANES` values.
    unsafe fn load(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// `to` must be writable for `LANES` values.
    unsafe fn store(self, to: *mut f32, value: Self::Vector);
    /// The first `count` values, then zeros.
    /// # Safety
    /// `count < LANES`, and `from` must be readable for `count` values.
    unsafe fn load_first(self, from: *const f32, count: usize) -> Self::Vector;
    /// # Safety
    /// `count < LANES`, and `to` must be writable for `count` values.
    unsafe fn store_first(self, to: *mut f32, count: usize, value: Self::Vector);
    /// `LANES / 2` values, each in two adjacent lanes.
    /// # Safety
    /// `from` must be readable for `LANES / 2` values.
    unsafe fn load_doubled(self, from: *const f32) -> Self::Vector;
    /// # Safety
    /// `from` must be readable for `LANES` values.
    unsafe fn load_half(self, from: *const f16) -> Self::Vector;
    /// Rounded to the nearest, ties to even.
    /// # Safety
    /// `to` must be writable for `LANES` values.
    unsafe fn store_half(self, to: *mut f16, value: Self::Vector);
    /// Asks for the cache line at `at`, which need not be readable, in the second-level cache: more lines may be on their
    /// way there than to the first.
    fn prefetch<T>(self, at: *const T);
}
