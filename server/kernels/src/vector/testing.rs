//! What tests of kernels share: numbers without order, and closeness.

/// Values from -2 to 2 without visible order, the same for the same seed.
pub(crate) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 22) as f32 - 2.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// That each value is within `tolerance` of what is expected, relative to values beyond 1.
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / expected.abs().max(1.0);
        assert!(
            error <= tolerance,
            "value {index}: found {found}, expected {expected}"
        );
    }
}
