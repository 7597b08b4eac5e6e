//! What the backend holds on each kind of device, and in how many bytes.
use crate::{
    load::formats::{bytes_of, is_float},
    model::spec::DecoderSpec,
};
use candle_core::{DType, Device, quantized::GgmlDType};

/// A kind of device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// The CPU, in 32-bit floats: the reference.
    Cpu,
    /// A GPU of NVIDIA. Weights stay in their formats, for which it has kernels; the KV cache is
    /// in half precision, as on our own kernels.
    Cuda,
}

impl Target {
    /// The kind of `device`.
    pub(in crate::model) const fn of(device: &Device) -> Self {
        match device {
            Device::Cuda(_) => Self::Cuda,
            _ => Self::Cpu,
        }
    }

    /// The format that weights are held in. On the CPU, floats become 32-bit floats, which the
    /// library multiplies fastest. It has no vector code there for products with Q4_1 weights, so
    /// they are held in 8 bits, which keeps their values and is several times faster
    /// (docs/decisions/0003-q4_1-in-8-bits.md).
    pub(in crate::model) const fn held_as(self, format: GgmlDType) -> GgmlDType {
        match (self, format) {
            (Self::Cpu, GgmlDType::Q4_1) => GgmlDType::Q8_0,
            (Self::Cpu, format) if is_float(format) => GgmlDType::F32,
            (_, format) => format,
        }
    }

    /// Bytes of a matrix that is handed out in `format`.
    pub(in crate::model) fn matrix_bytes(
        self,
        format: GgmlDType,
        rows: usize,
        columns: usize,
    ) -> u64 {
        let held = self.held_as(format);
        let elements = rows * columns;
        let bytes = bytes_of(held, elements).unwrap_or(elements * size_of::<f32>());
        let copy = match self {
            Self::Cpu => rearranged_bytes(held, rows, columns),
            Self::Cuda => 0,
        };
        (bytes + copy) as u64
    }

    /// The numbers of the KV cache.
    pub(super) const fn cache_type(self) -> DType {
        match self {
            Self::Cpu => DType::F32,
            Self::Cuda => DType::F16,
        }
    }

    /// Bytes of KV cache for one token.
    pub(in crate::model) fn kv_bytes_per_token(self, spec: &DecoderSpec) -> u64 {
        (spec.kv_elements_per_token() * self.cache_type().size_in_bytes()) as u64
    }
}

/// Rows and columns of which the library's rearranged copies are whole tiles.
const TILE_ROWS: usize = 16;
const TILE_COLUMNS: usize = 256;

/// Bytes of the second copy, rearranged for its vector instructions, that the library keeps beside
/// a matrix from the first product on. Whether it does depends on the CPU; this is the most.
fn rearranged_bytes(held: GgmlDType, rows: usize, columns: usize) -> usize {
    if !rows.is_multiple_of(TILE_ROWS) || !columns.is_multiple_of(TILE_COLUMNS) {
        return 0;
    }
    // A tile keeps its scales in 32 bits, and numbers of 6 bits in 8.
    let bytes_of_a_tile = match held {
        GgmlDType::Q4K => 3072,
        GgmlDType::Q6K => 5120,
        GgmlDType::Q8_0 => 4352,
        _ => 0,
    };
    rows * columns / (TILE_ROWS * TILE_COLUMNS) * bytes_of_a_tile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_widens_floats_and_a_gpu_keeps_every_format() {
        for format in [GgmlDType::F32, GgmlDType::BF16, GgmlDType::F16] {
            assert_eq!(Target::Cpu.held_as(format), GgmlDType::F32);
            assert_eq!(Target::Cuda.held_as(format), format);
        }
        assert_eq!(Target::Cpu.held_as(GgmlDType::Q4_1), GgmlDType::Q8_0);
        assert_eq!(Target::Cuda.held_as(GgmlDType::Q4_1), GgmlDType::Q4_1);
    }

    #[test]
    fn a_rearranged_copy_counts_where_the_library_makes_one() {
        let numbers = 512 * 1024;
        let cpu = |format, rows| Target::Cpu.matrix_bytes(format, rows, 1024);
        // 8 bits and a scale of 16 for each 32 numbers, twice.
        assert_eq!(cpu(GgmlDType::Q8_0, 512), 2 * numbers * 34 / 32);
        assert_eq!(
            cpu(GgmlDType::Q4K, 512),
            numbers * 144 / 256 + numbers * 3 / 4
        );
        assert_eq!(
            cpu(GgmlDType::Q6K, 512),
            numbers * 210 / 256 + numbers * 5 / 4
        );
        assert_eq!(cpu(GgmlDType::Q4_0, 512), numbers * 18 / 32);
        assert_eq!(cpu(GgmlDType::F16, 512), numbers * 4);
        // 520 rows are not whole tiles.
        assert_eq!(cpu(GgmlDType::Q8_0, 520), 520 * 1024 * 34 / 32);
        assert_eq!(
            Target::Cuda.matrix_bytes(GgmlDType::Q4K, 512, 1024),
            numbers * 144 / 256
        );
    }
}
