//! What the models use: CPU, memory, network, disk, KV cache and GPUs.
use super::{
    Limits,
    board::{Board, Choice},
    panel::{Bad, Kind, Panel},
    performance::MODEL,
};
use crate::observability::queries::Scope;
use candlepower_api::names::metrics as names;

const GPU: &str = "GPU {{gpu}} {{namespace}}/{{llmdeployment}}";

pub(super) fn board(limits: Limits) -> Board {
    Board {
        name: "resources",
        title: "Resources",
        description: "CPU, memory, network, disk, KV cache and GPUs of the models' pods.",
        choice: Choice::Pods,
        rows: vec![
            ("Now", now(limits)),
            ("Container", container(limits)),
            ("Model", model()),
            ("GPU", gpu(limits)),
        ],
    }
}

fn now(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Gauge,
            "Memory",
            "percentunit",
            "Working set by limit, of the pod that is nearest to it; red above the alert's threshold.",
        )
        .query(scope.memory_utilization(), MODEL)
        .bad(Bad::Above(limits.memory))
        .range(0.0, 1.0)
        .width(6),
        Panel::new(
            Kind::Gauge,
            "KV cache",
            "percentunit",
            "Reserved share of the KV cache, of the fullest pod.",
        )
        .query(scope.max(names::KV_CACHE_USAGE), MODEL)
        .bad(Bad::Above(0.9))
        .range(0.0, 1.0)
        .width(6),
        Panel::new(
            Kind::Gauge,
            "Busy",
            "percentunit",
            "Share of the time in which the busiest pod computed requests.",
        )
        .query(scope.busy(), MODEL)
        .range(0.0, 1.0)
        .width(6),
        Panel::new(
            Kind::Stat,
            "Model load",
            "s",
            "Seconds that reading the weights and warming up took, of the slowest pod.",
        )
        .query(scope.max(names::MODEL_LOAD_SECONDS), MODEL)
        .width(6),
    ]
}

fn container(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Lines,
            "CPU",
            "suffix: cores",
            "Cores in use, and cores that the containers may use, of all pods.",
        )
        .query(
            scope.rate(names::CONTAINER_CPU_SECONDS),
            &format!("used {MODEL}"),
        )
        .query(
            scope.sum(names::CONTAINER_CPU_LIMIT),
            &format!("limit {MODEL}"),
        ),
        Panel::new(
            Kind::Lines,
            "CPU throttling",
            "percentunit",
            "Share of the scheduler's periods in which the quota was used up; tokens come late in them.",
        )
        .query(scope.throttled(), &format!("periods {MODEL}"))
        .query(
            scope.rate(names::CONTAINER_CPU_THROTTLED_SECONDS),
            &format!("threads stood still (s/s) {MODEL}"),
        ),
        Panel::new(
            Kind::Lines,
            "Memory by limit",
            "percentunit",
            "Working set by limit, of the pod that is nearest to it. The red line is the alert's threshold.",
        )
        .query(scope.memory_utilization(), MODEL)
        .bad(Bad::Above(limits.memory)),
        Panel::new(
            Kind::Lines,
            "Memory",
            "bytes",
            "Working sets and limits of all pods, and their weights.",
        )
        .query(scope.sum(names::CONTAINER_MEMORY), &format!("used {MODEL}"))
        .query(
            scope.sum(names::CONTAINER_MEMORY_LIMIT),
            &format!("limit {MODEL}"),
        )
        .query(
            scope.sum(names::MODEL_WEIGHTS_BYTES),
            &format!("weights {MODEL}"),
        ),
        Panel::new(
            Kind::Lines,
            "Network",
            "Bps",
            "Bytes that the pods received and sent.",
        )
        .query(
            scope.rate(names::CONTAINER_NETWORK_RECEIVED),
            &format!("received {MODEL}"),
        )
        .query(
            scope.rate(names::CONTAINER_NETWORK_SENT),
            &format!("sent {MODEL}"),
        ),
        Panel::new(
            Kind::Lines,
            "Disk",
            "Bps",
            "Bytes that the containers read and wrote.",
        )
        .query(
            scope.rate(names::CONTAINER_DISK_READ),
            &format!("read {MODEL}"),
        )
        .query(
            scope.rate(names::CONTAINER_DISK_WRITTEN),
            &format!("written {MODEL}"),
        ),
    ]
}

fn model() -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Lines,
            "KV cache in use",
            "percentunit",
            "Reserved share of the KV cache, of the fullest pod. At 100% new requests wait.",
        )
        .query(scope.max(names::KV_CACHE_USAGE), MODEL)
        .range(0.0, 1.0),
        Panel::new(
            Kind::Lines,
            "Restarts in the last 15 minutes",
            "short",
            "How often the server of the least steady pod started again.",
        )
        .query(scope.over("15m").restarts(), MODEL),
    ]
}

fn gpu(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Lines,
            "GPU utilisation",
            "percentunit",
            "Share of the time in which a kernel ran, and in which the memory controller worked.",
        )
        .query(scope.max_by(names::GPU_UTILIZATION, names::LABEL_GPU), GPU)
        .query(
            scope.max_by(names::GPU_MEMORY_ACTIVITY, names::LABEL_GPU),
            &format!("memory controller {GPU}"),
        )
        .range(0.0, 1.0),
        Panel::new(
            Kind::Lines,
            "GPU memory by total",
            "percentunit",
            "Used share of the fullest GPU's memory. The red line is the alert's threshold; see the runbook about memory that is set aside on purpose.",
        )
        .query(scope.gpu_memory_utilization(), MODEL)
        .bad(Bad::Above(limits.memory)),
        Panel::new(
            Kind::Lines,
            "GPU memory",
            "bytes",
            "Used and total memory of each GPU.",
        )
        .query(
            scope.max_by(names::GPU_MEMORY_USED, names::LABEL_GPU),
            &format!("used {GPU}"),
        )
        .query(
            scope.max_by(names::GPU_MEMORY_TOTAL, names::LABEL_GPU),
            &format!("total {GPU}"),
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "GPU temperature",
            "celsius",
            "Temperature of each GPU.",
        )
        .query(scope.max_by(names::GPU_TEMPERATURE, names::LABEL_GPU), GPU)
        .width(8),
        Panel::new(Kind::Lines, "GPU power", "watt", "Power of each GPU.")
            .query(scope.max_by(names::GPU_POWER, names::LABEL_GPU), GPU)
            .width(8),
    ]
}
