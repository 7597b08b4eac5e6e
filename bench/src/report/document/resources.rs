//! What the server used: of one scenario in full, and of all side by side.
use super::{Block, Cell, table};
use crate::{
    analysis::{level::Level, observed::Observed},
    report::{gaps, model::Report, words},
};

/// Names, and values in words.
type Rows = [(&'static str, String); 16];

/// One scenario, a row for each resource.
pub(super) fn of_level(report: &Report, level: &Level) -> Block {
    table(
        &format!("What the server used in {}", level.name),
        ["Resource", "Value"],
        used(report, &level.observed).map(|(name, value)| [name.into(), value.into()]),
    )
}

/// All scenarios, the resources that the template names.
pub(super) fn of_all(report: &Report) -> Block {
    let rows = report.levels.iter().map(|level| {
        let one = &level.observed;
        [
            level.name.as_str().into(),
            Cell::from(gpu(report, one.gpu_utilization, words::percent)),
            gpu(report, one.gpu_memory_max, words::bytes).into(),
            cpu(one).into(),
            memory(one.memory_max, one.memory_limit).into(),
            pair(one.disk_read_per_second, one.disk_written_per_second).into(),
            pair(one.network_received_per_second, one.network_sent_per_second).into(),
        ]
    });
    table(
        "What the server used in each scenario; disk is read and written, network received and sent",
        [
            "Scenario",
            "GPU utilization",
            "GPU memory",
            "CPU",
            "RAM",
            "Disk",
            "Network",
        ],
        rows,
    )
}

fn used(report: &Report, one: &Observed) -> Rows {
    let rate = |value| words::or_not(value, words::bytes_per_second);
    let gpu_memory = match (one.gpu_memory_max, one.gpu_memory_total) {
        (None, _) => gpu(report, None, words::bytes),
        (used, total) => memory(used, total),
    };
    [
        (
            "GPU utilization",
            gpu(report, one.gpu_utilization, words::percent),
        ),
        ("GPU memory", gpu_memory),
        (
            "GPU temperature",
            gpu(report, one.gpu_temperature_max, |degrees| {
                format!("{degrees:.0} °C")
            }),
        ),
        (
            "GPU power",
            gpu(report, one.gpu_power, |watts| format!("{watts:.0} W")),
        ),
        ("CPU usage", cpu(one)),
        (
            "CPU throttled",
            words::or_not(one.throttled_periods, |share| {
                format!("in {} of the periods", words::percent(share))
            }),
        ),
        ("RAM usage", memory(one.memory_max, one.memory_limit)),
        ("Disk read", rate(one.disk_read_per_second)),
        ("Disk written", rate(one.disk_written_per_second)),
        ("Network received", rate(one.network_received_per_second)),
        ("Network sent", rate(one.network_sent_per_second)),
        (
            "KV cache, at most",
            words::or_not(one.kv_cache_max, words::percent),
        ),
        (
            "Restarts of the server",
            words::or_not(one.restarts, |count| format!("{count:.0}")),
        ),
        (
            "CPU of the whole node",
            words::or_not(one.node_cpu_cores, cores),
        ),
        (
            "CPU that its hypervisor took",
            words::or_not(one.node_stolen_cores, cores),
        ),
        (
            "RAM of the whole node",
            words::or_not(one.node_memory_max, words::bytes),
        ),
    ]
}

fn cores(count: f64) -> String {
    format!("{count:.2} cores")
}

fn gpu(report: &Report, value: Option<f64>, text: impl Fn(f64) -> String) -> String {
    match value {
        None if gaps::runs_on_cpu(report) => "no GPU".to_owned(),
        value => words::or_not(value, text),
    }
}

/// Of the cores that may be used, where that is known.
pub(super) fn cpu(one: &Observed) -> String {
    match (one.cpu_cores, one.cpu_limit) {
        (Some(used), Some(limit)) if limit > 0.0 => format!(
            "{used:.2} of {limit:.2} cores ({})",
            words::percent(used / limit)
        ),
        (used, _) => words::or_not(used, cores),
    }
}

pub(super) fn memory(used: Option<f64>, total: Option<f64>) -> String {
    match (used, total) {
        (Some(used), Some(total)) if total > 0.0 => format!(
            "{} of {} ({})",
            words::bytes(used),
            words::bytes(total),
            words::percent(used / total)
        ),
        (used, _) => words::or_not(used, words::bytes),
    }
}

fn pair(one: Option<f64>, other: Option<f64>) -> String {
    if one.is_none() && other.is_none() {
        return words::NOT_MEASURED.to_owned();
    }
    [one, other]
        .map(|value| words::or_not(value, words::bytes_per_second))
        .join(", ")
}
