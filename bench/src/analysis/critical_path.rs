//! Critical-path self time: which operation the end of a request waited for, at each moment.
//!
//! From a root's end, walk back: the last-finishing child was waited for, and what no child covers
//! is the span's own. Each nanosecond of a root is charged once, so the charges sum to its length.
use crate::evidence::trace::{Span, Trace};
use std::collections::HashMap;

/// Where the time of one trace went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CriticalPath {
    /// Nanoseconds charged to each span itself, in the order of [`Trace::spans`].
    pub self_time: Vec<u64>,
    /// Nanoseconds charged to spans whose parent is missing.
    pub unattributed: u64,
    /// Sum of the roots' durations, in nanoseconds.
    pub total: u64,
}

/// A span's share of its parent's interval.
#[derive(Clone, Copy)]
struct Interval {
    span: usize,
    start: u64,
    end: u64,
    orphan: bool,
}

/// The critical path of a trace. Spans without a parent are its roots; where there is none, as
/// when the caller made the trace but did not report it, spans with an unknown parent are.
pub fn critical_path(trace: &Trace) -> CriticalPath {
    let spans = &trace.spans;
    let family = Family::of(spans);
    let mut path = CriticalPath {
        self_time: vec![0; spans.len()],
        unattributed: 0,
        total: 0,
    };
    for &root in &family.roots {
        let whole = Interval {
            span: root,
            start: spans[root].start,
            end: spans[root].end.max(spans[root].start),
            orphan: false,
        };
        path.total += whole.end - whole.start;
        // A list of what is still to be walked, so that a deep trace cannot exhaust the stack.
        let mut waiting = vec![whole];
        while let Some(interval) = waiting.pop() {
            if interval.orphan {
                path.unattributed += interval.end - interval.start;
                continue;
            }
            let candidates = family.candidates(spans, interval, interval.span == root);
            let mut cursor = interval.end;
            for mut child in candidates {
                // Clipped rather than left out: where siblings overlap by a little, as streaming
                // ones do, the earlier one was still waited for until the later one began.
                child.end = child.end.min(cursor);
                // Equal means zero time left; phases that touch (`end == cursor`) follow each other.
                if child.start < child.end {
                    path.self_time[interval.span] += cursor - child.end;
                    cursor = child.start;
                    waiting.push(child);
                }
            }
            path.self_time[interval.span] += cursor - interval.start;
        }
    }
    path
}

/// Who belongs to whom.
struct Family {
    roots: Vec<usize>,
    orphans: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Family {
    fn of(spans: &[Span]) -> Self {
        let places: HashMap<_, _> = spans
            .iter()
            .enumerate()
            .map(|(place, span)| (span.id.as_str(), place))
            .collect();
        let mut family = Self {
            roots: vec![],
            orphans: vec![],
            children: vec![vec![]; spans.len()],
        };
        for (place, span) in spans.iter().enumerate() {
            match &span.parent {
                None => family.roots.push(place),
                Some(parent) => match places.get(parent.as_str()) {
                    Some(&parent) => family.children[parent].push(place),
                    None => family.orphans.push(place),
                },
            }
        }
        if family.roots.is_empty() {
            family.roots = std::mem::take(&mut family.orphans);
        }
        family
    }

    /// The children within `parent`'s interval, last-finishing first; a clock that is wrong makes
    /// a child stick out, so each is clipped.
    fn candidates(&self, spans: &[Span], parent: Interval, root: bool) -> Vec<Interval> {
        let orphans = if root { self.orphans.as_slice() } else { &[] };
        let mut candidates: Vec<_> = self.children[parent.span]
            .iter()
            .map(|&span| (span, false))
            .chain(orphans.iter().map(|&span| (span, true)))
            .map(|(span, orphan)| Interval {
                span,
                start: spans[span].start.max(parent.start),
                end: spans[span].end.min(parent.end),
                orphan,
            })
            .filter(|child| child.start < child.end)
            .collect();
        candidates.sort_by_key(|child| (std::cmp::Reverse(child.end), child.orphan, child.start));
        candidates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(spans: &[(&str, &str, u64, u64)]) -> CriticalPath {
        let spans = spans.iter().map(|&(id, parent, start, end)| Span {
            id: id.to_owned(),
            parent: (!parent.is_empty()).then(|| parent.to_owned()),
            name: id.to_owned(),
            start,
            end,
        });
        let path = critical_path(&Trace {
            spans: spans.collect(),
            ..Trace::default()
        });
        let sum = path.self_time.iter().sum::<u64>() + path.unattributed;
        assert_eq!(sum, path.total, "every nanosecond is charged once");
        path
    }

    #[test]
    fn contiguous_phases_are_charged_to_themselves() {
        let path = path(&[("r", "", 0, 30), ("a", "r", 0, 10), ("b", "r", 10, 30)]);
        assert_eq!(path.self_time, [0, 10, 20]);
    }

    #[test]
    fn what_no_child_covers_is_the_spans_own() {
        let path = path(&[("r", "", 0, 30), ("a", "r", 5, 10), ("b", "r", 20, 25)]);
        assert_eq!(path.self_time, [20, 5, 5]);
    }

    #[test]
    fn overlapping_children_share_the_time_at_the_start_of_the_last_to_finish() {
        let path = path(&[("r", "", 0, 30), ("a", "r", 0, 20), ("b", "r", 10, 30)]);
        assert_eq!(path.self_time, [0, 10, 20]);
    }

    #[test]
    fn grandchildren_take_their_time_from_their_parent() {
        let path = path(&[("r", "", 0, 30), ("a", "r", 0, 30), ("b", "a", 10, 20)]);
        assert_eq!(path.self_time, [0, 20, 10]);
    }

    #[test]
    fn a_child_with_a_wrong_clock_is_clipped_to_its_parent() {
        let path = path(&[("r", "", 10, 30), ("a", "r", 0, 15), ("b", "r", 25, 99)]);
        assert_eq!(path.self_time, [10, 5, 5]);
    }

    #[test]
    fn spans_without_length_or_outside_their_parent_have_no_share() {
        let path = path(&[("r", "", 0, 10), ("a", "r", 5, 5), ("b", "r", 50, 60)]);
        assert_eq!(path.self_time, [10, 0, 0]);
    }

    #[test]
    fn a_span_that_ends_before_it_starts_has_no_share() {
        assert_eq!(path(&[("r", "", 10, 5)]).total, 0);
    }

    #[test]
    fn time_under_a_missing_parent_is_unattributed() {
        let path = path(&[("r", "", 0, 30), ("lost", "gone", 10, 20)]);
        assert_eq!((path.self_time[0], path.unattributed), (20, 10));
    }

    #[test]
    fn a_callers_unreported_span_leaves_the_servers_as_root() {
        let path = path(&[("a", "caller", 0, 30), ("b", "a", 10, 30)]);
        assert_eq!((path.self_time, path.unattributed), (vec![10, 20], 0));
    }

    #[test]
    fn several_roots_add_up() {
        let path = path(&[("a", "", 0, 10), ("b", "", 20, 25)]);
        assert_eq!((path.self_time, path.total), (vec![10, 5], 15));
    }

    #[test]
    fn spans_that_name_each_other_as_parent_end_the_walk() {
        assert_eq!(path(&[("a", "b", 0, 10), ("b", "a", 0, 10)]).total, 0);
    }

    #[test]
    fn a_deep_trace_is_walked_to_its_end() {
        let names: Vec<_> = (0..50_000).map(|depth| depth.to_string()).collect();
        let spans: Vec<_> = (0..names.len())
            .map(|depth| {
                let parent = depth.checked_sub(1).map_or("", |above| &names[above]);
                (names[depth].as_str(), parent, 0, 10)
            })
            .collect();
        assert_eq!(path(&spans).self_time.last(), Some(&10));
    }
}
