//! What NVIDIA's dcgm-exporter says of GPUs, for servers that say nothing of them. Pure.
//!
//! Names and units are those of its `default-counters.csv`; labels those of its metrics with `pod`, `namespace` and
//! `container` where it maps GPUs to pods.
use super::{
    dialect::Reading,
    exposition::Sample,
    series::Quantity::{
        self, GpuMemoryActivity, GpuMemoryTotal, GpuMemoryUsed, GpuPower, GpuTemperature,
        GpuUtilization,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// A quantity, the metrics whose sum it is, and what one of their units is. Where a quantity has several rows, the first
/// that a page can answer counts.
type Row = (Quantity, &'static [&'static str], f64);

const PERCENT: f64 = 0.01;
const MIB: f64 = 1024.0 * 1024.0;

const USED: &str = "DCGM_FI_DEV_FB_USED";
const FREE: &str = "DCGM_FI_DEV_FB_FREE";

/// What is read.
pub(super) const ROWS: &[Row] = &[
    (GpuUtilization, &["DCGM_FI_DEV_GPU_UTIL"], PERCENT),
    (GpuMemoryActivity, &["DCGM_FI_DEV_MEM_COPY_UTIL"], PERCENT),
    (GpuMemoryUsed, &[USED], MIB),
    (
        GpuMemoryTotal,
        &[USED, FREE, "DCGM_FI_DEV_FB_RESERVED"],
        MIB,
    ),
    // What the driver keeps for itself is not among the default counters.
    (GpuMemoryTotal, &[USED, FREE], MIB),
    (GpuTemperature, &["DCGM_FI_DEV_GPU_TEMP"], 1.0),
    (GpuPower, &["DCGM_FI_DEV_POWER_USAGE"], 1.0),
];

/// Labels that tell one GPU, or one part of it (MIG), from another.
const IDENTITY: &str = "UUID, GPU_I_ID";
/// A GPU has one power supply, whose watts each of its parts shows.
const POWERED: &str = "UUID";
/// Labels that describe a GPU.
const DESCRIPTION: &str = "GPU_I_PROFILE, modelName, DCGM_FI_DRIVER_VERSION";

/// What pages say of GPUs at one moment.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) quantities: BTreeMap<Quantity, Reading>,
    /// Their names.
    pub(super) gpus: Vec<String>,
    /// Which of the pages' GPUs they are, in words.
    pub(super) which: String,
}

/// Reads the samples of all pages. `pods` are those that serve, where they are known; or says why nothing is read.
pub(super) fn read(samples: &[Sample], pods: &[String]) -> Result<Told, String> {
    let is_known = |sample: &&Sample| {
        let mut names = ROWS.iter().flat_map(|(_, names, _)| *names);
        names.any(|name| sample.name == *name)
    };
    let all: Vec<_> = samples.iter().filter(is_known).collect();
    if all.is_empty() {
        return Err("it holds no metrics of NVIDIA's dcgm-exporter (DCGM_FI_DEV_…); name its page, such as \
                    http://NODE:9400/metrics"
            .to_owned());
    }
    let used_by: BTreeSet<_> = all.iter().filter_map(|one| pod(one)).collect();
    let ours = |one: &&Sample| pod(one).is_some_and(|pod| pods.iter().any(|known| known == pod));
    let chosen: Vec<_> = if pods.is_empty() || used_by.is_empty() {
        all
    } else {
        all.into_iter().filter(ours).collect()
    };
    if chosen.is_empty() {
        let pods = pods.join(", ");
        return Err(format!("it names the pods of its GPUs, and none of {pods}"));
    }
    let gpus = gpus(&chosen);
    let which = if used_by.is_empty() {
        format!("all {} that it names", gpus.len())
    } else if pods.is_empty() {
        let used_by: Vec<_> = used_by.into_iter().collect();
        format!(
            "all {} that it names, whether or not they serve the target; in use by {}",
            gpus.len(),
            used_by.join(", ")
        )
    } else {
        format!("{} in use by the target's pods", gpus.len())
    };
    Ok(Told {
        quantities: quantities(&chosen),
        gpus,
        which,
    })
}

/// The pod that a GPU is given to.
fn pod(sample: &Sample) -> Option<&str> {
    sample.label("pod").filter(|pod| !pod.is_empty())
}

/// What tells a GPU from others: its id, or else its number on its node; and the part of it, where it is divided.
fn identity(sample: &Sample) -> [&str; 3] {
    let label = |name| sample.label(name).unwrap_or_default();
    match sample.label("UUID") {
        Some(id) => [id, "", label("GPU_I_ID")],
        None => [label("Hostname"), label("gpu"), label("GPU_I_ID")],
    }
}

fn quantities(samples: &[&Sample]) -> BTreeMap<Quantity, Reading> {
    let mut found = BTreeMap::new();
    for (quantity, names, unit) in ROWS {
        let parts = names.iter().map(|name| over_gpus(*quantity, name, samples));
        if let Some(value) = parts.sum::<Option<f64>>() {
            found.entry(*quantity).or_insert_with(|| Reading {
                metric: names.join(" + "),
                value: value * unit,
            });
        }
    }
    found
}

/// Of all GPUs together. One that several pods share is there once for each of them.
fn over_gpus(quantity: Quantity, name: &str, samples: &[&Sample]) -> Option<f64> {
    let samples = samples.iter().filter(|sample| sample.name == name);
    let of = |one| match (quantity, identity(one)) {
        (GpuPower, [gpu, number, _]) => [gpu, number, ""],
        (_, part) => part,
    };
    let each: BTreeMap<_, _> = samples.map(|one| (of(one), one.value)).collect();
    each.into_values().reduce(|a, b| quantity.together(a, b))
}

/// The name of each GPU, in the order of the page.
fn gpus(samples: &[&Sample]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let new = samples.iter().filter(|one| seen.insert(identity(one)));
    new.map(|one| name(|label| one.label(label))).collect()
}

/// A GPU's name, by its labels: with the profile where it is a part of one (MIG), and with its driver.
pub(super) fn name<'a>(label: impl Fn(&str) -> Option<&'a str>) -> String {
    let label = |name| label(name).filter(|text| !text.is_empty());
    let mut name = label("modelName").unwrap_or("GPU").to_owned();
    if let Some(profile) = label("GPU_I_PROFILE") {
        name.extend([" MIG ", profile]);
    }
    if let Some(driver) = label("DCGM_FI_DRIVER_VERSION") {
        name.extend([" (driver ", driver, ")"]);
    }
    name
}

/// The expression that puts a quantity's metrics together in Prometheus. A GPU that several pods share counts once.
pub(super) fn expression(quantity: Quantity, names: &[&str], selector: &str) -> String {
    let by = if quantity.largest() { "max" } else { "sum" };
    let each = if quantity == GpuPower {
        POWERED
    } else {
        IDENTITY
    };
    let parts = names
        .iter()
        .map(|name| format!("{by}(max by ({each}) ({name}{{{selector}}}))"));
    parts.collect::<Vec<_>>().join(" + ")
}

/// The expression whose series name the GPUs.
pub(super) fn naming(selector: &str) -> String {
    format!("max by ({IDENTITY}, {DESCRIPTION}) ({USED}{{{selector}}})")
}

/// Matchers that select the GPUs of the pods that `selector` selects: by the labels that Prometheus gives the exporter's
/// own where it keeps those of its scrape, or else (`honorLabels`) by the exporter's own. None where it names neither a
/// namespace nor a pod, for all GPUs of a cluster say nothing of one server.
pub(super) fn selectors(selector: &str) -> Vec<String> {
    let matchers = split(selector);
    let of_pods = |prefix: &str| {
        let kept = matchers.iter().filter(|one| {
            let name = one.split(['=', '!']).next().unwrap_or_default();
            matches!(name.trim(), "namespace" | "pod" | "container")
        });
        let kept: Vec<_> = kept.map(|one| format!("{prefix}{}", one.trim())).collect();
        kept.join(",")
    };
    let both = ["exported_", ""].map(of_pods);
    both.into_iter().filter(|one| !one.is_empty()).collect()
}

/// The matchers of a list; commas in a value's quotes divide nothing.
fn split(selector: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut quote, mut escaped) = (vec![], 0, None, false);
    for (at, sign) in selector.char_indices() {
        match (quote, sign) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), sign) if sign == open => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(sign),
            (None, ',') => {
                parts.push(&selector[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[begin..]);
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::float_cmp, reason = "these are read, not calculated")]
    use super::*;
    use crate::evidence::exposition::samples;

    /// Three GPUs of one node: one that serves, one that another pod uses, and one that nobody does.
    pub(crate) const PAGE: &str = r#"
# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 1980
# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 61
DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="GPU-b2",pci_bus_id="00000000:2D:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="train",namespace="lab",pod="train-7"} 74
DCGM_FI_DEV_GPU_TEMP{gpu="2",UUID="GPU-c3",pci_bus_id="00000000:44:00.0",device="nvidia2",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="",namespace="",pod=""} 31
# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 412.5
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b2",pci_bus_id="00000000:2D:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="train",namespace="lab",pod="train-7"} 640
DCGM_FI_DEV_POWER_USAGE{gpu="2",UUID="GPU-c3",pci_bus_id="00000000:44:00.0",device="nvidia2",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="",namespace="",pod=""} 71
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 83
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-b2",pci_bus_id="00000000:2D:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="train",namespace="lab",pod="train-7"} 99
DCGM_FI_DEV_GPU_UTIL{gpu="2",UUID="GPU-c3",pci_bus_id="00000000:44:00.0",device="nvidia2",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="",namespace="",pod=""} 0
# HELP DCGM_FI_DEV_MEM_COPY_UTIL Memory utilization (in %).
# TYPE DCGM_FI_DEV_MEM_COPY_UTIL gauge
DCGM_FI_DEV_MEM_COPY_UTIL{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 47
# HELP DCGM_FI_DEV_XID_ERRORS Value of the last XID error encountered.
# TYPE DCGM_FI_DEV_XID_ERRORS gauge
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0",err_code="0",err_msg="No Error"} 0
# HELP DCGM_FI_DEV_FB_FREE Framebuffer memory free (in MiB).
# TYPE DCGM_FI_DEV_FB_FREE gauge
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 7000
DCGM_FI_DEV_FB_FREE{gpu="1",UUID="GPU-b2",pci_bus_id="00000000:2D:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="train",namespace="lab",pod="train-7"} 1000
DCGM_FI_DEV_FB_FREE{gpu="2",UUID="GPU-c3",pci_bus_id="00000000:44:00.0",device="nvidia2",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="",namespace="",pod=""} 81000
# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-a1",pci_bus_id="00000000:0F:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="vllm",namespace="models",pod="vllm-0"} 74000
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-b2",pci_bus_id="00000000:2D:00.0",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="train",namespace="lab",pod="train-7"} 80000
DCGM_FI_DEV_FB_USED{gpu="2",UUID="GPU-c3",pci_bus_id="00000000:44:00.0",device="nvidia2",modelName="NVIDIA H100 80GB HBM3",Hostname="node-1",DCGM_FI_DRIVER_VERSION="550.54.15",container="",namespace="",pod=""} 0
"#;

    const H100: &str = "NVIDIA H100 80GB HBM3 (driver 550.54.15)";

    fn told(page: &str, pods: &[&str]) -> Result<Told, String> {
        let pods: Vec<_> = pods.iter().map(|&pod| pod.to_owned()).collect();
        read(&samples(page).collect::<Vec<_>>(), &pods)
    }

    fn values(told: &Told) -> Vec<(Quantity, f64)> {
        let all = told.quantities.iter();
        all.map(|(quantity, reading)| (*quantity, reading.value))
            .collect()
    }

    #[test]
    fn of_several_gpus_those_of_the_targets_pods_count_in_the_units_of_all_others() {
        let told = told(PAGE, &["vllm-0", "vllm-1"]).unwrap();
        assert_eq!(
            values(&told),
            [
                (GpuUtilization, 83.0 * PERCENT),
                (GpuMemoryActivity, 47.0 * PERCENT),
                (GpuMemoryUsed, 74_000.0 * MIB),
                (GpuMemoryTotal, 81_000.0 * MIB),
                (GpuTemperature, 61.0),
                (GpuPower, 412.5),
            ]
        );
        assert_eq!(told.gpus, [H100]);
        assert_eq!(told.which, "1 in use by the target's pods");
    }

    #[test]
    fn all_count_where_the_pod_is_not_known_and_it_is_said_who_uses_them() {
        let told = told(PAGE, &[]).unwrap();
        let found: BTreeMap<_, _> = values(&told).into_iter().collect();
        assert_eq!(found[&GpuMemoryUsed], 154_000.0 * MIB);
        assert_eq!(found[&GpuUtilization], 99.0 * PERCENT);
        assert_eq!(told.gpus, [H100, H100, H100]);
        assert!(
            told.which.ends_with("in use by train-7, vllm-0"),
            "{}",
            told.which
        );
    }

    #[test]
    fn an_exporter_that_knows_no_pods_names_all_of_its_gpus() {
        let page = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",Hostname=\"n\",modelName=\"Tesla T4\"} 50\n\
                    DCGM_FI_DEV_GPU_UTIL{gpu=\"1\",Hostname=\"n\",modelName=\"Tesla T4\"} 70\n";
        let told = told(page, &["vllm-0"]).unwrap();
        assert_eq!(values(&told), [(GpuUtilization, 70.0 * PERCENT)]);
        assert_eq!(told.which, "all 2 that it names");
    }

    #[test]
    fn a_gpu_that_pods_share_is_counted_once_and_its_parts_each() {
        let row = |pod: &str, part: &str, used: u32| {
            format!(
                "DCGM_FI_DEV_FB_USED{{UUID=\"GPU-a\",GPU_I_ID=\"{part}\",GPU_I_PROFILE=\"1g.10gb\",\
                 modelName=\"NVIDIA H100 80GB HBM3\",pod=\"{pod}\"}} {used}\n"
            )
        };
        let page = row("a", "1", 10) + &row("b", "1", 10) + &row("c", "2", 5);
        let page = page.clone() + &page.replace("FB_USED", "POWER_USAGE");
        let told = told(&page, &[]).unwrap();
        let expected = [(GpuMemoryUsed, 15.0 * MIB), (GpuPower, 5.0)];
        assert_eq!(values(&told), expected, "one power supply");
        assert_eq!(told.gpus[0], "NVIDIA H100 80GB HBM3 MIG 1g.10gb");
        assert_eq!(told.gpus.len(), 2);
    }

    #[test]
    fn a_page_that_says_nothing_of_the_targets_gpus_says_why() {
        let why = |page, pods| told(page, pods).unwrap_err();
        assert!(why("llm_up 1\n", &[]).contains("DCGM_FI_DEV_"));
        assert!(why(PAGE, &["other-0"]).contains("none of other-0"));
    }

    #[test]
    fn memory_that_the_driver_keeps_is_counted_where_it_is_told() {
        let page = "DCGM_FI_DEV_FB_USED{UUID=\"a\"} 1\nDCGM_FI_DEV_FB_FREE{UUID=\"a\"} 2\n\
                    DCGM_FI_DEV_FB_RESERVED{UUID=\"a\"} 4\n";
        let told = told(page, &[]).unwrap();
        assert_eq!(told.quantities[&GpuMemoryTotal].value, 7.0 * MIB);
    }

    #[test]
    fn the_exporters_own_labels_are_looked_for_under_both_names() {
        let selector = "job=\"vllm\", namespace=\"models\",pod=~\"vllm-(0|1),x\\\"\"";
        assert_eq!(
            selectors(selector),
            [
                "exported_namespace=\"models\",exported_pod=~\"vllm-(0|1),x\\\"\"",
                "namespace=\"models\",pod=~\"vllm-(0|1),x\\\"\""
            ]
        );
        assert_eq!(selectors("job=\"vllm\""), [""; 0]);
        assert_eq!(selectors(""), [""; 0]);
    }

    #[test]
    fn prometheus_counts_each_gpu_once() {
        let of = |quantity, names: &[&str]| expression(quantity, names, "pod=\"a\"");
        assert_eq!(
            of(GpuMemoryTotal, &["u", "f"]),
            "sum(max by (UUID, GPU_I_ID) (u{pod=\"a\"})) + sum(max by (UUID, GPU_I_ID) (f{pod=\"a\"}))"
        );
        assert!(of(GpuUtilization, &["u"]).starts_with("max("));
        assert!(of(GpuPower, &["p"]).contains("max by (UUID) (p{"));
    }
}
