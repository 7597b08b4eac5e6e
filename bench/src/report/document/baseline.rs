//! Section 3: the first scenario in full.
use super::{Block, Cell, Section, code, label, pictures, resources, table, text};
use crate::{
    analysis::level::Level,
    evidence::model_load::MODEL_LOAD,
    figures::Distribution,
    objectives::Metric,
    report::{model::Report, plot, words},
};
use std::fmt::Write as _;

pub(super) fn section(report: &Report) -> Section {
    let section = Section::new("3", "Baseline Performance");
    let Some(level) = report.levels.first() else {
        return section.with([text("No scenario ran.")]);
    };
    section.under([
        results(report, level),
        Section::new("3.2", "Resource Utilization")
            .with([resources::of_level(report, level)])
            .with(start(report)),
        Section::new("3.3", "Latency Distribution")
            .with(pictures(plot::distributions(&report.levels)))
            .with(distributions(level)),
    ])
}

fn results(report: &Report, level: &Level) -> Section {
    let rows = level.verdicts.iter().map(|verdict| {
        let metric = verdict.objective.metric;
        [
            words::metric_name(metric).into(),
            words::judged(*verdict).into(),
            words::target(verdict.objective).into(),
            Cell::met(verdict.met()),
        ]
    });
    let figures = &level.figures;
    let intervals = &level.intervals;
    let more = [
        [
            "TTFT P95 with 95 % confidence".into(),
            if figures.ttft_more_than.is_some() {
                words::ttft(level, Metric::TtftP95)
            } else {
                words::confident(
                    figures.ttft.map(|ttft| ttft.p95 as f64),
                    intervals.ttft_p95,
                    words::micros,
                )
            }
            .into(),
        ],
        [
            "TPOT Avg with 95 % confidence".into(),
            words::confident(
                figures.tpot.map(|tpot| tpot.mean),
                intervals.tpot,
                words::micros,
            )
            .into(),
        ],
        [
            "Throughput with 95 % confidence".into(),
            words::confident(
                Some(figures.output_tokens_per_second),
                intervals.throughput,
                words::tokens_per_second,
            )
            .into(),
        ],
        [
            "Goodput".into(),
            format!("{:.2} requests/s", level.goodput).into(),
        ],
    ];
    Section::new("3.1", "Test Results").with([
        table(
            "The run",
            ["", "Value"],
            [
                ["Test Date".into(), report.run.started_at.as_str().into()],
                [
                    "Test Duration".into(),
                    Cell::from(words::span(level.figures.window_seconds)),
                ],
                ["Load".into(), level.load_text().into()],
            ],
        ),
        table(
            "Figures against their objectives",
            ["Metric", "Value", "Target", "Status"],
            rows,
        ),
        table("Confidence", ["Metric", "Value"], more),
    ])
}

/// Where the time of the model's last start went; nothing of a server that leaves no trace of it.
fn start(report: &Report) -> Vec<Block> {
    let title = label("Last Start of the Model");
    let Some(load) = &report.model_load else {
        let mut missing = report.missing.iter();
        let why = missing.find(|one| one.what == MODEL_LOAD);
        let why = why.map(|one| text(format!("Where its time went is not known: {}.", one.why)));
        return why.map_or_else(Vec::new, |why| vec![title, why]);
    };
    let whole = load.root.duration;
    let rows = load.parts().into_iter().map(|(name, nanos)| {
        let share = nanos as f64 / whole.max(1) as f64;
        [
            name.into(),
            words::nanos(nanos).into(),
            Cell::from(words::percent(share)),
        ]
    });
    let when = if load.during_run {
        "and had not ended when the run began"
    } else {
        "and had ended before the run began"
    };
    vec![
        title,
        text(format!(
            "It began at {}, took {} {when}.",
            load.started_at,
            words::nanos(whole)
        )),
        table(
            "Where the time of the last start went (traces)",
            ["Part", "Time", "Share"],
            rows,
        ),
    ]
}

fn distributions(level: &Level) -> Vec<Block> {
    let drawn = [
        ("TTFT Distribution", level.figures.ttft, &level.ttft_curve),
        ("TPOT Distribution", level.figures.tpot, &level.tpot_curve),
    ];
    drawn
        .into_iter()
        .flat_map(|(title, distribution, curve)| {
            let drawn = match distribution {
                Some(distribution) => code("", bars(&distribution, curve)),
                None => text("Not measured: no answer came as a stream."),
            };
            [label(title), drawn]
        })
        .collect()
}

/// Bars of text, for forms without pictures.
fn bars(distribution: &Distribution, curve: &[u64]) -> String {
    let rows = [
        ("Min", curve.first().copied().unwrap_or_default() as f64),
        ("P50", distribution.p50 as f64),
        ("Avg", distribution.mean),
        ("P95", distribution.p95 as f64),
        ("P99", distribution.p99 as f64),
        ("Max", distribution.max as f64),
    ];
    let most = distribution.max.max(1) as f64;
    let mut drawn = String::new();
    for (name, value) in rows {
        // Between 0 and 40.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let length = (value / most * 40.0).round().clamp(0.0, 40.0) as usize;
        let bar = if length == 0 {
            "▏".to_owned()
        } else {
            "█".repeat(length)
        };
        let _ = writeln!(drawn, "{name}: {:>9} {bar}", words::micros(value));
    }
    drawn
}
