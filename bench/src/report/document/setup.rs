//! Section 2: how it was measured.
use super::{Block, Cell, Section, architecture::generator, label, list, table, text};
use crate::{
    analysis::level::Level,
    record::AppliedLoad,
    report::{model::Report, words},
};

pub(super) fn section(report: &Report) -> Section {
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
        Section::new("2.2", "Metrics Collected").with(formulas()),
        Section::new("2.3", "Tools Used").with([tools(report)]),
    ])
}

fn said(text: &str) -> &str {
    if text.is_empty() { "not said" } else { text }
}

fn scenarios(report: &Report) -> Block {
    let last = report.levels.len().saturating_sub(1);
    let rows = report.levels.iter().enumerate().map(|(place, level)| {
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
            purpose(level, place, last).into(),
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
            "Purpose",
            "Measured window",
        ],
        rows,
    )
}

/// What a scenario is for: the profiles' ones by their names, others by their places.
fn purpose(level: &Level, place: usize, last: usize) -> &'static str {
    match level.name.as_str() {
        "baseline" => "Establish the baseline",
        "medium" => "Typical production",
        "high" => "Stress testing",
        "stress" => "Find the breaking point",
        _ if place == 0 => "Establish the baseline",
        _ if place == last => "Find the breaking point",
        _ => "See what more load does",
    }
}

fn mix(report: &Report) -> Block {
    let prompts = &report.run.workload.prompts;
    let all: i32 = prompts.iter().map(|one| one.weight).sum();
    list(prompts.iter().map(|one| {
        let share = 100.0 * f64::from(one.weight) / f64::from(all.max(1));
        format!("prompts of {} tokens: {share:.0} %", one.tokens)
    }))
}

/// What users feel, by the formulas that the load generator computes with.
const PRIMARY: [[&str; 2]; 7] = [
    ["TTFT", "first non-empty token's time − request's begin"],
    [
        "TPOT",
        "(last token − first token) / (output tokens − 1), from 2 tokens on",
    ],
    [
        "ITL",
        "each gap between successive arrivals of text that ended inside the window",
    ],
    ["NTPOT", "E2E / output tokens"],
    ["E2E", "last byte − request's begin"],
    [
        "throughput",
        "output tokens that arrived inside the window / window",
    ],
    [
        "goodput",
        "answers per second inside the window that keep the limits of TTFT (the P95's, else the P99's, else the \
         P50's) and TPOT",
    ],
];

const SYSTEM: [[&str; 2]; 5] = [
    [
        "RAM, GPU memory, KV cache",
        "the largest value of the server's own series in the window",
    ],
    [
        "GPU utilization",
        "the mean of the server's own series over the window",
    ],
    [
        "CPU, network and disk I/O",
        "what the server's own counters gained in the window / window",
    ],
    [
        "queue, prefill, decode",
        "the server's own sums / counts over the window",
    ],
    [
        "error rate",
        "failures / (successes + failures) that ended inside the window",
    ],
];

fn formulas() -> Vec<Block> {
    let rows = |rows: &[[&str; 2]]| -> Vec<[Cell; 2]> {
        rows.iter().map(|row| row.map(Cell::from)).collect()
    };
    vec![
        label("Primary Metrics"),
        table("What clients see", ["Figure", "Formula"], rows(&PRIMARY)),
        label("System Metrics"),
        table("What the server uses", ["Figure", "Formula"], rows(&SYSTEM)),
        text(
            "A user's request begins when it is sent, one that arrives by itself when it was due. The window begins after \
             the warm-up and ends with the scenario's duration. Tokens, and gaps between them, count by their own time, \
             whichever request they belong to. Latencies are those of answers to requests that began inside the window; \
             they may end in the cool-down, in which the load goes on until all of them have; what is unfinished at its \
             end is cut off and is neither a success nor an error. Percentiles are those of HDR histograms with three digits. Confidence intervals are \
             of 95 %: percentiles by order statistics, means by a seeded bootstrap, throughput by ten batch means with \
             Student's t, shares by Wilson.",
        ),
    ]
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
    let mut tools = vec![
        source("Traces", report.traces_source.as_ref(), "traces"),
        source("Metrics", report.metrics_source.as_ref(), "metrics"),
    ];
    let gpus = report.gpu_source.as_ref();
    tools.extend(gpus.map(|source| format!("GPUs: NVIDIA's dcgm-exporter, {source}")));
    tools.extend([
        format!("Load: candlepower bench ({})", generator(report)),
        format!("Analysis: {}", report.written_by),
    ]);
    list(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_those_of_the_documentation() {
        let page = include_str!("../../../../docs/benchmark.md");
        for [figure, formula] in PRIMARY {
            let row = format!("| {figure} | {formula} |");
            assert!(page.contains(&row), "docs/benchmark.md has no row {row}");
        }
    }
}
