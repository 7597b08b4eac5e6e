//! The ranking as a table, a trace as a tree with bars.
use super::{Place, Report};
use crate::{
    analysis::{operations::Ranking, span_tree::Node},
    cli::text::{bar, milliseconds, table},
};
use std::fmt::Write as _;

/// How many operations the table shows.
const OPERATIONS: usize = 5;
/// Characters of the longest bar.
const BAR: usize = 30;

/// The whole report.
pub(in crate::cli) fn report(report: &Report) -> String {
    let place = match &report.place {
        Place::Deployment {
            namespace,
            deployment,
        } => format!("{namespace}/{deployment}"),
        Place::Service { service } => service.clone(),
    };
    let mut text = format!(
        "{} of {place} in the last {}; where they waited (critical path):\n\n",
        requests(report.ranking.traces),
        report.lookback
    );
    text += &ranking(&report.ranking);
    for node in &report.slowest {
        let id = node.trace_id.as_deref().unwrap_or_default();
        let _ = writeln!(text, "\nslow: trace {id}");
        text += &draw(node);
    }
    text
}

fn requests(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} traced request{plural}")
}

fn ranking(ranking: &Ranking) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let mut rows: Vec<_> = ranking
        .operations
        .iter()
        .take(OPERATIONS)
        .map(|o| {
            [
                o.name.clone(),
                percent(o.share),
                milliseconds(o.p50),
                milliseconds(o.p95),
                o.calls.to_string(),
            ]
        })
        .collect();
    if ranking.unattributed > 0.0 {
        let share = percent(ranking.unattributed);
        let name = "(spans without a parent)".to_owned();
        rows.push([name, share, String::new(), String::new(), String::new()]);
    }
    table(
        ["OPERATION", "SHARE", "SELF P50", "SELF P95", "CALLS"],
        &rows,
    )
}

/// A tree, with a bar for the time of each span.
fn draw(root: &Node) -> String {
    let mut lines = vec![];
    branch(root, "", "", &mut lines);
    let width = lines.iter().map(|(label, _)| label.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for (label, node) in lines {
        let end = node.start + node.duration;
        let _ = writeln!(
            text,
            "{label:<width$} {:>12}  {}",
            milliseconds(node.duration),
            bar(node.start, end, root.duration, BAR)
        );
    }
    text
}

fn branch<'a>(node: &'a Node, first: &str, rest: &str, lines: &mut Vec<(String, &'a Node)>) {
    lines.push((format!("{first}{}", node.name), node));
    for (index, child) in node.children.iter().enumerate() {
        let last = index + 1 == node.children.len();
        let (fork, line) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        branch(
            child,
            &format!("{rest}{fork}"),
            &format!("{rest}{line}"),
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{operations::rank, span_tree::tree},
        evidence::jaeger,
    };

    const RECORDED: &[u8] = include_bytes!("../../../tests/data/jaeger-v3.json");

    #[test]
    fn the_table_names_the_slowest_operation_first() {
        let traces = jaeger::parse(RECORDED).unwrap();
        let table = ranking(&rank(&traces[1..]));
        let line = table.lines().nth(1).unwrap();
        assert!(
            line.starts_with("decode ") && line.contains("500.25 ms"),
            "{table}"
        );
    }

    #[test]
    fn the_tree_shows_who_caused_whom_and_when() {
        let traces = jaeger::parse(RECORDED).unwrap();
        let drawn = draw(&tree(&traces[1]).unwrap());
        let lines: Vec<_> = drawn.lines().collect();
        assert!(lines[0].starts_with("POST /v1/chat/completions"), "{drawn}");
        assert!(lines[0].ends_with(&"█".repeat(30)), "{drawn}");
        let decode = lines.iter().find(|line| line.starts_with("│  └─ decode "));
        assert!(decode.is_some_and(|line| line.contains(" ms")), "{drawn}");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("└─ decode_output")),
            "{drawn}"
        );
    }
}
