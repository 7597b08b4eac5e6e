//! Section 1: what was measured, and on what.
use super::{Block, Cell, Section, code, table, text};
use crate::{
    evidence::facts::Machine,
    report::{gaps, model::Report, words},
};

const UNKNOWN: &str = "not known";

pub(super) fn section(report: &Report) -> Section {
    Section::new("1", "System Architecture").under([
        Section::new("1.1", "Overview").with([code("", overview(report))]),
        Section::new("1.2", "Technology Stack").with([stack(report)]),
        Section::new("1.3", "Hardware Configuration").with(hardware(report)),
    ])
}

/// Whether the server is Candlepower's own.
pub(super) fn is_ours(report: &Report) -> bool {
    report.deployment.is_some() || report.server.as_deref() == Some("candlepower")
}

fn overview(report: &Report) -> String {
    let server = report
        .server
        .as_deref()
        .unwrap_or("OpenAI-compatible server");
    let absent = "none";
    format!(
        "{} ({})\n   │  {}/v1/chat/completions\n   ▼\n{server} ({})\n   │  metrics: {}\n   │  traces: {}",
        "load generator",
        generator(report),
        report.run.url,
        report.run.model,
        report.metrics_source.as_deref().unwrap_or(absent),
        report.traces_source.as_deref().unwrap_or(absent),
    )
}

/// The load generator and its version.
pub(super) fn generator(report: &Report) -> &str {
    if report.run.generator.is_empty() {
        &report.written_by
    } else {
        &report.run.generator
    }
}

fn stack(report: &Report) -> Block {
    let (model, versions) = (report.model.as_ref(), &report.versions);
    let part = |text: Option<&String>| text.map_or_else(|| UNKNOWN.to_owned(), Clone::clone);
    let described = model.map(|model| {
        let mut parts = vec![model.name.clone()];
        parts.extend(model.architecture.clone());
        parts.extend(model.revision.clone());
        parts.join(", ")
    });
    let (framework, framework_version) = if is_ours(report) {
        let version = versions.server.as_ref();
        (
            "axum, inside candlepower-server",
            version.map_or_else(
                || UNKNOWN.to_owned(),
                |version| format!("that of {version}"),
            ),
        )
    } else {
        ("not known: the server does not say", UNKNOWN.to_owned())
    };
    let rows = [
        ["API Framework", framework, &framework_version],
        [
            "Inference",
            &part(report.server.as_ref()),
            &part(versions.server.as_ref()),
        ],
        [
            "Tracing",
            &part(report.traces_source.as_ref()),
            &part(versions.traces.as_ref()),
        ],
        [
            "Metrics",
            &part(report.metrics_source.as_ref()),
            &part(versions.metrics.as_ref()),
        ],
        ["Load Testing", "candlepower", generator(report)],
        [
            "Model",
            &described.unwrap_or_else(|| report.run.model.clone()),
            &part(model.and_then(|model| model.precision.as_ref())),
        ],
    ]
    .map(|row| row.map(Cell::from));
    table(
        "Software that took part",
        ["Component", "Technology", "Version"],
        rows,
    )
}

fn hardware(report: &Report) -> Vec<Block> {
    let nothing = Machine::default();
    let machine = report.machine.as_ref().unwrap_or(&nothing);
    let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let mut rows = vec![
        ["GPU".to_owned(), gpu(report, machine)],
        ["CPU".to_owned(), cpu(machine)],
        [
            "RAM".to_owned(),
            known(machine.memory_bytes.map(|bytes| words::bytes(bytes as f64))),
        ],
        ["Storage".to_owned(), storage(report, machine)],
        ["OS".to_owned(), system(machine)],
    ];
    if let Some(roof) = &report.roofline {
        rows.push([
            "Memory bandwidth, arithmetic".to_owned(),
            format!(
                "{:.1} GB/s, {:.1} GOP/s of {}, ridge at {:.1} operations per byte ({})",
                roof.probe.bytes_per_second / 1e9,
                roof.peak().operations_per_second / 1e9,
                roof.peak().name,
                roof.ridge,
                roof.probe.source
            ),
        ]);
    }
    let mut blocks = vec![table(
        "The server's machine",
        ["Resource", "Specification"],
        rows.into_iter().map(|row| row.map(Cell::from)),
    )];
    if report.machine.is_none() {
        let mut missing = report.missing.iter();
        let why = missing.find(|one| one.what.contains("hardware"));
        let why = why.map_or("nothing reported it", |one| one.why.as_str());
        blocks.push(text(format!("What is not known: {why}.")));
    }
    blocks
}

fn gpu(report: &Report, machine: &Machine) -> String {
    if !machine.gpus.is_empty() {
        return machine.gpus.join(", ");
    }
    if gaps::runs_on_cpu(report) {
        return "no GPU: the model runs on the CPU".to_owned();
    }
    let mut memory = report
        .levels
        .iter()
        .filter_map(|level| level.observed.gpu_memory_total);
    memory.next().map_or_else(
        || UNKNOWN.to_owned(),
        |memory| format!("{UNKNOWN}, with {} of memory", words::bytes(memory)),
    )
}

fn cpu(machine: &Machine) -> String {
    let Some(name) = &machine.cpu else {
        return UNKNOWN.to_owned();
    };
    let cores = machine.cores.map_or_else(
        || format!("number of cores {UNKNOWN}"),
        |cores| format!("{cores} cores"),
    );
    if machine.cpu_features.is_empty() {
        format!("{name}, {cores}")
    } else {
        format!("{name}, {cores} ({})", machine.cpu_features.join(", "))
    }
}

/// The machine's disks, and what the deployment says about its files.
fn storage(report: &Report, machine: &Machine) -> String {
    let field = |pointer: &str| {
        let value = report.deployment.as_ref()?.pointer(pointer)?;
        value.as_str().map(ToOwned::to_owned)
    };
    let disks = &machine.disks;
    let mut known = vec![if disks.is_empty() {
        UNKNOWN.to_owned()
    } else {
        disks.join(", ")
    }];
    known.extend(field("/model/source").map(|source| format!("the model comes from {source}")));
    known.extend(
        field("/cache/existingClaim").map(|claim| format!("it is kept on the claim {claim}")),
    );
    known.extend(field("/cache/size").map(|size| format!("its cache has {size}")));
    known.extend(
        field("/cache/storageClassName").map(|class| format!("of the storage class {class}")),
    );
    known.join("; ")
}

fn system(machine: &Machine) -> String {
    match (&machine.system, &machine.kernel) {
        (None, None) => UNKNOWN.to_owned(),
        (system, kernel) => {
            let system = system.as_deref().unwrap_or("distribution not known");
            let kernel = kernel.as_deref().unwrap_or("of a version not known");
            format!("{system}, Linux {kernel}")
        }
    }
}
