//! What GPUs can do at most, by their names, from their maker's public data sheets: where the server
//! computes on one, no probe of the CPU says it.

/// A GPU's peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GpuPeak {
    /// What it is called, and the data sheet's title.
    pub(super) sheet: &'static str,
    /// Bytes of its memory read per second.
    pub(super) bytes_per_second: f64,
    /// Operations per second of 16-bit floats on tensor cores, where a multiply-add is two. Dense: data
    /// sheets print twice as much for sparse weights.
    pub(super) flops_per_second: f64,
}

/// Words that a name has to hold, the sheet, GB/s, and TFLOP/s. The first row that fits counts, so that
/// names which hold another's come before it.
///
/// Sources: NVIDIA's data sheets of the H200, H100 and A100 Tensor Core GPUs, the L4, L40S, A10 and T4,
/// and NVIDIA's Ada GPU architecture paper for the GeForce RTX 4090 (with 32-bit accumulation).
const SHEETS: &[(&[&str], &str, f64, f64)] = &[
    (&["H200", "NVL"], "H200 NVL", 4_800.0, 835.5),
    (&["H200"], "H200 SXM", 4_800.0, 989.5),
    (&["H100", "NVL"], "H100 NVL", 3_938.0, 835.5),
    (&["H100", "PCIE"], "H100 PCIe", 2_039.0, 756.5),
    (&["H100", "HBM3"], "H100 SXM", 3_350.0, 989.5),
    (&["A100", "SXM", "80GB"], "A100 80GB SXM", 2_039.0, 312.0),
    (&["A100", "80GB"], "A100 80GB PCIe", 1_935.0, 312.0),
    (&["A100", "40GB"], "A100 40GB", 1_555.0, 312.0),
    (&["L40S"], "L40S", 864.0, 362.05),
    (&["L4"], "L4", 300.0, 121.0),
    (&["A10"], "A10", 600.0, 125.0),
    (&["T4"], "T4", 320.0, 65.0),
    (&["RTX", "4090"], "GeForce RTX 4090", 1_008.0, 165.2),
];

/// The peaks of the GPU of this name, such as `NVIDIA A100-SXM4-80GB`; none where no sheet is known here,
/// or where it is a part of a GPU (MIG).
pub(super) fn of_name(name: &str) -> Option<GpuPeak> {
    let name = name.to_ascii_uppercase();
    // SXM4 and SXM5 are generations of one form.
    let words: Vec<_> = name
        .split(|sign: char| !sign.is_ascii_alphanumeric())
        .map(|word| if word.starts_with("SXM") { "SXM" } else { word })
        .collect();
    let has = |word: &&str| words.contains(word);
    // Mobile GPUs share the names of larger ones.
    if has(&"MIG") || has(&"LAPTOP") {
        return None;
    }
    let found = SHEETS.iter().find(|(all, ..)| all.iter().all(has));
    found.map(|&(_, sheet, gigabytes, teraflops)| GpuPeak {
        sheet,
        bytes_per_second: gigabytes * 1e9,
        flops_per_second: teraflops * 1e12,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_drivers_write_them_find_their_data_sheets() {
        for (name, sheet) in [
            ("NVIDIA H200", Some("H200 SXM")),
            ("NVIDIA H100 80GB HBM3", Some("H100 SXM")),
            ("NVIDIA H100 PCIe", Some("H100 PCIe")),
            ("NVIDIA H100 NVL", Some("H100 NVL")),
            ("NVIDIA A100-SXM4-40GB", Some("A100 40GB")),
            ("NVIDIA A100-PCIE-40GB", Some("A100 40GB")),
            ("NVIDIA A100-SXM4-80GB", Some("A100 80GB SXM")),
            ("NVIDIA A100 80GB PCIe", Some("A100 80GB PCIe")),
            ("NVIDIA L4, driver 570.86", Some("L4")),
            ("NVIDIA L40S", Some("L40S")),
            ("NVIDIA A10", Some("A10")),
            ("Tesla T4", Some("T4")),
            ("NVIDIA GeForce RTX 4090", Some("GeForce RTX 4090")),
            // Other GPUs, although their names begin alike.
            ("NVIDIA A10G", None),
            ("NVIDIA L40", None),
            ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
            ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
            ("AMD Instinct MI300X", None),
        ] {
            let found = of_name(name).map(|peak| peak.sheet);
            assert_eq!(found, sheet, "{name}");
        }
    }

    #[test]
    fn peaks_are_those_of_the_sheet() {
        let peak = of_name("NVIDIA A100-SXM4-80GB").unwrap();
        assert!((peak.bytes_per_second - 2.039e12).abs() < 1e6, "{peak:?}");
        assert!((peak.flops_per_second - 312e12).abs() < 1e6, "{peak:?}");
    }
}
