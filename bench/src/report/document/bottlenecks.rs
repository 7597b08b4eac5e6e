//! Section 4: where the time goes, and why.
use super::{
    Block, Cell, Section, architecture::is_ours, code, findings, label, pictures, table, text,
};
use crate::{
    analysis::{
        roofline::{Roofline, Utilisation},
        span_tree::Node,
    },
    evidence::sample::Role,
    report::{
        model::{Breakdown, Operations, Report},
        plot, words,
    },
};
use candlepower_api::names::labels;
use std::fmt::Write as _;

/// How many operations the ranking shows.
const OPERATIONS: usize = 5;

pub(super) fn section(report: &Report) -> Section {
    Section::new("4", "Bottleneck Analysis").under([
        Section::new("4.1", "Trace Analysis").with(traces(report)),
        Section::new("4.2", "Identified Bottlenecks")
            .with(utilisation(report))
            .with(
                report.findings.is_empty().then(|| {
                    text("None: no class of bottleneck shows in the evidence that there is.")
                }),
            )
            .under(findings::sections(report)),
    ])
}

fn traces(report: &Report) -> Vec<Block> {
    if report.operations.is_empty() {
        let why = report
            .missing
            .iter()
            .find(|one| one.what.contains("traces"));
        let why = why.map_or("none was asked for", |one| one.why.as_str());
        return vec![text(format!("No traces: {why}."))];
    }
    let mut blocks = vec![
        label("Analysis Command"),
        code("bash", command(report)),
        text(
            "Shares are of critical-path self time over a random sample of requests: each moment \
             of a request counts once, for the operation that its end waited for. With what \
             belongs to no named operation they sum to 100 %.",
        ),
    ];
    for operations in &report.operations {
        blocks.push(label(&format!(
            "Top 5 Slowest Operations: {}",
            operations.scenario
        )));
        blocks.push(ranking(operations));
    }
    blocks.extend(breakdown(report));
    blocks
}

/// What shows the same of the traces that the service leaves now.
fn command(report: &Report) -> String {
    let field = |pointer: &str| report.benchmark.as_ref()?.pointer(pointer)?.as_str();
    let service = if is_ours(report) {
        labels::SERVER_NAME
    } else {
        field("/target/traceService").unwrap_or("SERVICE")
    };
    let source = report.traces_source.as_deref().unwrap_or_default();
    let address = source
        .split_whitespace()
        .find(|word| word.starts_with("http"));
    let jaeger = address.map(|address| format!(" --jaeger-url {}", address.trim_end_matches(',')));
    format!(
        "candlepower analyze {service} --lookback 1h --limit 200{}",
        jaeger.unwrap_or_default()
    )
}

fn ranking(operations: &Operations) -> Block {
    let ranking = &operations.ranking;
    let top = ranking.operations.iter().take(OPERATIONS).enumerate();
    let mut rows: Vec<[Cell; 5]> = top
        .map(|(place, one)| {
            [
                (place + 1).to_string().into(),
                one.name.as_str().into(),
                words::nanos(one.mean).into(),
                words::nanos(one.max).into(),
                words::percent(one.share).into(),
            ]
        })
        .collect();
    let rest: f64 = ranking
        .operations
        .iter()
        .skip(OPERATIONS)
        .map(|one| one.share)
        .sum();
    let row = |name: &str, share: f64| {
        [
            "".into(),
            name.into(),
            "".into(),
            "".into(),
            words::percent(share).into(),
        ]
    };
    if rest > 0.0 {
        rows.push(row("other operations", rest));
    }
    rows.push(row("unattributed", ranking.unattributed));
    table(
        &format!("Self time per call over {} traces", ranking.traces),
        [
            "Rank",
            "Operation",
            "Avg Duration",
            "Max Duration",
            "% of Total",
        ],
        rows,
    )
}

fn breakdown(report: &Report) -> Vec<Block> {
    let pick = |role| {
        report
            .breakdowns
            .iter()
            .find(|one: &&Breakdown| one.role == role)
    };
    let mut blocks = vec![];
    if let Some(typical) = pick(Role::P50) {
        blocks.push(label("Trace Breakdown (Typical Request)"));
        blocks.push(code("", drawn(&typical.root)));
    }
    let slowest = report
        .breakdowns
        .iter()
        .filter(|one| one.role == Role::Slowest)
        .max_by_key(|one| one.root.duration);
    if let Some(slowest) = slowest {
        blocks.push(label(&format!("Slowest Request ({})", slowest.scenario)));
        blocks.extend(pictures([plot::waterfall(&slowest.root)]));
        blocks.push(code("", drawn(&slowest.root)));
    }
    blocks
}

fn drawn(root: &Node) -> String {
    let all = root.flat();
    let most = all.iter().map(|(_, node)| node.self_time).max();
    let mut text = String::new();
    for (depth, node) in all {
        let share = node.self_time as f64 / root.duration.max(1) as f64;
        let note = if Some(node.self_time) == most {
            "  ◄─ BOTTLENECK"
        } else {
            ""
        };
        let name = format!("{}▪ {}", "  ".repeat(depth), node.name);
        let _ = writeln!(
            text,
            "{name:<36} {:>9}  self {:>6}{note}",
            words::nanos(node.duration),
            words::percent(share)
        );
    }
    text
}

/// MBU and MFU, where they could be computed.
fn utilisation(report: &Report) -> Vec<Block> {
    let Some(roof) = &report.roofline else {
        let why = report
            .missing
            .iter()
            .find(|one| one.what.contains("bandwidth and FLOP"));
        let why = why.map_or("not computed", |one| one.why.as_str());
        return vec![text(format!(
            "Model bandwidth and FLOP/s utilisation: {why}."
        ))];
    };
    let rows = roof.levels.iter().map(|one| {
        [
            one.scenario.as_str().into(),
            words::bytes(one.bytes_per_step).into(),
            words::or_not(one.mbu, of_peak).into(),
            words::or_not(one.mfu, of_peak).into(),
            words::or_not(one.prefill_mfu, of_peak).into(),
        ]
    });
    let kv = if roof.counts_kv {
        "weights and KV cache"
    } else {
        "weights alone, because the KV cache's bytes per token are not known: a lower limit"
    };
    vec![
        table(
            "Use of the machine",
            ["Scenario", "Bytes per step", "MBU", "MFU", "MFU of prefill"],
            rows,
        ),
        text(format!(
            "MBU = bytes read per decode step ({kv}) / median TPOT / peak bandwidth. MFU = 2 · \
             parameters · tokens per second / peak operations per second, attention left out: a \
             lower limit. Parameters: {:.0} million, from the weights' bytes and precision. Peaks: \
             {:.1} GB/s, and {:.1} GOP/s of {}; {}.{}",
            roof.parameters / 1e6,
            roof.probe.bytes_per_second / 1e9,
            roof.peak().operations_per_second / 1e9,
            roof.peak().name,
            roof.probe.source,
            too_low(roof)
        )),
    ]
}

/// A share of the peak; what is more than the whole is no share.
fn of_peak(share: f64) -> String {
    if share > 1.0 {
        "above 100 %".to_owned()
    } else {
        words::percent(share)
    }
}

fn too_low(roof: &Roofline) -> &'static str {
    let shares = |one: &Utilisation| [one.mbu, one.mfu, one.prefill_mfu].into_iter().flatten();
    if roof.levels.iter().flat_map(shares).any(|share| share > 1.0) {
        " Above 100 %, the server did more than the peak: it multiplies by faster instructions than \
         the probe's, its caches hold the weights, or something disturbed the probe. No bottleneck is named by such a share."
    } else {
        ""
    }
}
