//! The waterfall of one trace.
use super::{Picture, Shape};
use crate::{analysis::span_tree::Node, report::words};

const WIDTH: f64 = 720.0;
const NAMES: f64 = 230.0;
const ROW: f64 = 22.0;
/// More rows than anyone reads; the report's JSON has all of them.
const ROWS: usize = 60;

/// A bar for each span, under the one that caused it; the dark part is its own time.
pub(in crate::report) fn waterfall(root: &Node) -> Picture {
    let mut all = root.flat();
    all.truncate(ROWS);
    let total = root.duration.max(1) as f64;
    let scale = (WIDTH - NAMES - 90.0) / total;
    let mut shapes = vec![];
    for (row, (depth, node)) in all.iter().enumerate() {
        let y = ROW * row as f64 + 4.0;
        let words = |x: f64, anchor: &str, class: &str, text: String| Shape::Words {
            x,
            y: y + 13.0,
            anchor: anchor.to_owned(),
            class: class.to_owned(),
            text,
        };
        let indent = 12.0 * (*depth).min(10) as f64;
        shapes.push(words(4.0 + indent, "start", "tick", node.name.clone()));
        let x = NAMES + node.start as f64 * scale;
        let width = (node.duration as f64 * scale).max(1.0);
        let title = format!(
            "{}: {}, of that {} its own",
            node.name,
            words::nanos(node.duration),
            words::nanos(node.self_time)
        );
        let bar = |width: f64, class: &str| Shape::Rect {
            x,
            y: y + 2.0,
            width,
            height: ROW - 8.0,
            class: class.to_owned(),
            title: title.clone(),
        };
        shapes.push(bar(width, "span"));
        shapes.push(bar(node.self_time as f64 * scale, "own"));
        shapes.push(words(
            WIDTH - 4.0,
            "end",
            "tick",
            words::nanos(node.duration),
        ));
    }
    Picture {
        title: "Waterfall of the slowest trace".to_owned(),
        description: format!(
            "{} spans of a request of {}: when each began, how long it took, and how much of it was \
             its own.",
            all.len(),
            words::nanos(root.duration)
        ),
        width: WIDTH,
        height: ROW * all.len() as f64 + 8.0,
        shapes,
        legend: vec![
            ("span".to_owned(), "span".to_owned()),
            (
                "of that on the critical path, its own".to_owned(),
                "own".to_owned(),
            ),
        ],
    }
}
