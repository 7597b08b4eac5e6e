//! Sections 1 and 2: what was measured, and how.
use super::{Block, Cell, Section, code, label, list, table, text};
use crate::{
    record::AppliedLoad,
    report::{model::Report, words},
};

pub(super) fn architecture(report: &Report) -> Section {
    Section::new("1", "System Architecture").under([
        Section::new("1.1", "Overview").with([code("", overview(report))]),
        Section::new("1.2", "Technology Stack").with([stack(report)]),
        Section::new("1.3", "Hardware Configuration").with([hardware(report)]),
    ])
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
        if report.run.generator.is_empty() {
            report.written_by.as_str()
        } else {
            report.run.generator.as_str()
        },
        report.run.url,
        report.run.model,
        report.metrics_source.as_deref().unwrap_or(absent),
        report.traces_source.as_deref().unwrap_or(absent),
    )
}

const UNKNOWN: &str = "not known";

fn stack(report: &Report) -> Block {
    let (model, versions) = (report.model.as_ref(), &report.versions);
    let part = |text: Option<&String>| text.map_or_else(|| UNKNOWN.to_owned(), Clone::clone);
    let described = model.map(|model| {
        let mut parts = vec![model.name.clone()];
        parts.extend(model.architecture.clone());
        parts.extend(model.revision.clone());
        parts.join(", ")
    });
    let rows = [
        [
            "Inference",
            &part(report.server.as_ref()),
            &part(versions.server.as_ref()),
        ],
        ["Load Testing", "candlepower", &report.run.generator],
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

fn hardware(report: &Report) -> Block {
    let Some(machine) = &report.machine else {
        let why = report
            .missing
            .iter()
            .find(|one| one.what.contains("hardware"));
        let why = why.map_or("nothing reported it", |one| one.why.as_str());
        return text(format!("Not known: {why}."));
    };
    let known = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let cpu = known(machine.cpu.clone());
    let cores = known(machine.cores.map(|cores| cores.to_string()));
    let features = machine.cpu_features.join(", ");
    let mut rows = vec![
        [
            "GPU".to_owned(),
            if machine.gpus.is_empty() {
                "none".to_owned()
            } else {
                machine.gpus.join(", ")
            },
        ],
        [
            "CPU".to_owned(),
            format!("{cpu}, {cores} cores ({features})"),
        ],
        [
            "RAM".to_owned(),
            known(machine.memory_bytes.map(|bytes| words::bytes(bytes as f64))),
        ],
        [
            "OS".to_owned(),
            format!(
                "{}, Linux {}",
                known(machine.system.clone()),
                known(machine.kernel.clone())
            ),
        ],
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
    table(
        "The server's machine",
        ["Resource", "Specification"],
        rows.into_iter().map(|row| row.map(Cell::from)),
    )
}

pub(super) fn methodology(report: &Report) -> Section {
    Section::new("2", "Methodology").under([
        Section::new("2.1", "Test Configuration").with([
            label("Load Test Scenarios"),
            scenarios(report),
            label("Request Mix"),
            mix(report),
            text(format!(
                "Prompt lengths: {}. Answers: up to {} tokens ({}). Seed {}. Streaming: {}.",
                said(&report.run.prompt_lengths),
                report.run.workload.output_tokens,
                said(&report.run.output_lengths),
                report.run.workload.seed,
                if report.run.workload.stream {
                    "yes"
                } else {
                    "no"
                }
            )),
        ]),
        Section::new("2.2", "Metrics Collected").with([formulas()]),
        Section::new("2.3", "Tools Used").with([tools(report)]),
    ])
}

fn said(text: &str) -> &str {
    if text.is_empty() { "not said" } else { text }
}

fn scenarios(report: &Report) -> Block {
    let rows = report.levels.iter().map(|level| {
        let (load, spawn) = match &level.load {
            AppliedLoad::Users { users, spawn_rate } => {
                (users.to_string(), format!("{spawn_rate}/s"))
            }
            AppliedLoad::Arrivals { process, rate } => {
                (format!("{rate}/s"), format!("{process} arrivals"))
            }
        };
        let before = level.window.0.saturating_sub(level.started) as f64 / 1e6;
        [
            level.name.as_str().into(),
            load.into(),
            words::span(before + level.figures.window_seconds).into(),
            spawn.into(),
            words::span(level.figures.window_seconds).into(),
        ]
    });
    table(
        "Scenarios, and the part of each that counts",
        [
            "Scenario",
            "Users",
            "Duration",
            "Spawn Rate",
            "Measured window",
        ],
        rows,
    )
}

fn mix(report: &Report) -> Block {
    let prompts = &report.run.workload.prompts;
    let all: i32 = prompts.iter().map(|one| one.weight).sum();
    list(prompts.iter().map(|one| {
        let share = 100.0 * f64::from(one.weight) / f64::from(all.max(1));
        format!("prompts of {} tokens: {share:.0} %", one.tokens)
    }))
}

fn formulas() -> Block {
    let rows = [
        ["TTFT", "first non-empty token's time − request sent"],
        [
            "TPOT",
            "(last token − first token) / (output tokens − 1), per request, from 2 tokens on",
        ],
        ["ITL", "each gap between successive arrivals of text"],
        ["NTPOT", "E2E / output tokens"],
        ["E2E", "last byte − request sent"],
        [
            "Throughput",
            "output tokens that arrived inside the measured window / window",
        ],
        ["Goodput", "requests per second that keep every objective"],
        [
            "Error rate",
            "failures / (successes + failures) that ended inside the window",
        ],
        [
            "Queue, prefill, decode",
            "the server's own sums / counts over the window",
        ],
        [
            "CPU, memory, network, disk, GPU",
            "the server's own series over the window",
        ],
    ];
    table(
        "Figures and their formulas",
        ["Figure", "Formula"],
        rows.map(|row| row.map(Cell::from)),
    )
}

fn tools(report: &Report) -> Block {
    let source = |name: &str, source: Option<&String>, absent: &str| {
        if let Some(source) = source {
            return format!("{name}: {source}");
        }
        let why = report.missing.iter().find(|one| one.what.contains(absent));
        let why = why.map_or("nothing was asked", |one| one.why.as_str());
        format!("{name}: none ({why})")
    };
    list([
        source("Traces", report.traces_source.as_ref(), "traces"),
        source("Metrics", report.metrics_source.as_ref(), "metrics"),
        format!("Load: candlepower bench {}", report.run.generator),
        format!("Analysis: {}", report.written_by),
    ])
}
