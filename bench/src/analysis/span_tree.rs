//! A trace as a tree of its spans, for drawing.
use super::critical_path::critical_path;
use crate::evidence::trace::Trace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Deeper levels are left out of a tree, so that a strange trace cannot exhaust the stack.
const DEPTH: usize = 32;

/// A span and those that it caused, in the order of their starts.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The trace's id, on its root alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The operation.
    pub name: String,
    /// Nanoseconds since the root's start.
    pub start: u64,
    /// Nanoseconds.
    pub duration: u64,
    /// Nanoseconds on the critical path that no child explains.
    pub self_time: u64,
    /// What it caused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

/// A trace as a tree.
pub fn tree(trace: &Trace) -> Option<Node> {
    let root = trace.root()?;
    let place = trace.spans.iter().position(|span| span.id == root.id)?;
    let own = critical_path(trace).self_time;
    let mut node = grow(trace, &own, place, root.start, DEPTH);
    node.trace_id = Some(trace.id.clone());
    Some(node)
}

fn grow(trace: &Trace, own: &[u64], place: usize, zero: u64, depth: usize) -> Node {
    let span = &trace.spans[place];
    let mut children: Vec<_> = trace
        .spans
        .iter()
        .enumerate()
        .filter(|(other, child)| *other != place && child.parent.as_ref() == Some(&span.id))
        .filter(|_| depth > 0)
        .map(|(other, _)| grow(trace, own, other, zero, depth - 1))
        .collect();
    children.sort_by_key(|child| child.start);
    Node {
        trace_id: None,
        name: span.name.clone(),
        start: span.start.saturating_sub(zero),
        duration: span.end.saturating_sub(span.start),
        self_time: own[place],
        children,
    }
}

impl Node {
    /// The spans from the root down, each with its depth.
    pub fn flat(&self) -> Vec<(usize, &Node)> {
        let mut all = vec![];
        self.visit(0, &mut all);
        all
    }

    fn visit<'a>(&'a self, depth: usize, all: &mut Vec<(usize, &'a Node)>) {
        all.push((depth, self));
        for child in &self.children {
            child.visit(depth + 1, all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::trace::Span;

    fn span(id: &str, parent: Option<&str>, start: u64, end: u64) -> Span {
        Span {
            id: id.to_owned(),
            parent: parent.map(ToOwned::to_owned),
            name: id.to_owned(),
            start,
            end,
        }
    }

    #[test]
    fn children_come_in_the_order_of_their_starts_with_their_depths() {
        let spans = vec![
            span("c", Some("b"), 15, 20),
            span("b", Some("a"), 10, 20),
            span("early", Some("a"), 5, 9),
            span("a", None, 5, 30),
        ];
        let trace = Trace {
            spans,
            ..Trace::default()
        };
        let tree = tree(&trace).unwrap();
        let flat: Vec<_> = tree
            .flat()
            .iter()
            .map(|(d, n)| (*d, &*n.name, n.start))
            .collect();
        assert_eq!(
            flat,
            [(0, "a", 0), (1, "early", 0), (1, "b", 5), (2, "c", 10)]
        );
    }

    #[test]
    fn a_span_that_is_its_own_parent_does_not_end_the_program() {
        let trace = Trace {
            spans: vec![span("a", Some("a"), 0, 1)],
            ..Trace::default()
        };
        assert!(tree(&trace).is_none());
    }
}
