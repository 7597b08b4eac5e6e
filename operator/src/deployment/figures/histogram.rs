//! Cumulative histograms as Prometheus counts them, their increase, and their quantiles.

/// Counts at or below each edge, and of everything at the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    edges: &'static [f64],
    /// One longer than the edges.
    cumulative: Vec<u64>,
}

impl Histogram {
    pub(super) fn new(edges: &'static [f64]) -> Self {
        Self {
            edges,
            cumulative: vec![0; edges.len() + 1],
        }
    }

    /// Sets what is at or below the edge written as `le`. An edge that is unknown here, of another
    /// version of the server, is left out: what it counts is in the next one, too.
    pub(super) fn set(&mut self, le: &str, count: u64) {
        let index = if le == "+Inf" {
            Some(self.edges.len())
        } else {
            let edge: Option<f64> = le.parse().ok();
            edge.and_then(|edge| {
                self.edges
                    .iter()
                    .position(|known| (known - edge).abs() < 1e-9)
            })
        };
        if let Some(slot) = index.and_then(|index| self.cumulative.get_mut(index)) {
            *slot = count;
        }
    }

    /// Everything that was counted.
    pub(super) fn count(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or_default()
    }

    /// Adds what came between two counts of one pod; fewer than before means that it restarted.
    pub(super) fn add_increase(&mut self, before: &Self, after: &Self) {
        let restarted = after.count() < before.count();
        let pairs = before.cumulative.iter().zip(&after.cumulative);
        for (slot, (before, after)) in self.cumulative.iter_mut().zip(pairs) {
            *slot += if restarted {
                *after
            } else {
                after.saturating_sub(*before)
            };
        }
    }

    /// The `quantile` (0 to 1) by linear interpolation within a bucket, as PromQL's
    /// `histogram_quantile` does it; `None` where nothing was counted.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let rank = quantile * total as f64;
        let bucket = self
            .cumulative
            .iter()
            .position(|count| *count as f64 >= rank)?;
        // Beyond the last edge, nothing but that edge is known.
        let Some(upper) = self.edges.get(bucket) else {
            return self.edges.last().copied();
        };
        let (lower, below) = match bucket.checked_sub(1) {
            Some(previous) => (self.edges[previous], self.cumulative[previous]),
            None => (0.0, 0),
        };
        let within = self.cumulative[bucket] - below;
        if within == 0 {
            return Some(*upper);
        }
        Some(lower + (upper - lower) * (rank - below as f64) / within as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: &[f64] = &[0.1, 0.5, 1.0, 2.0];

    fn histogram(counts: [u64; 5]) -> Histogram {
        let mut histogram = Histogram::new(EDGES);
        for (le, count) in ["0.1", "0.5", "1", "2", "+Inf"].into_iter().zip(counts) {
            histogram.set(le, count);
        }
        histogram
    }

    #[test]
    fn quantiles_are_those_of_promql() {
        // 10 below 0.1, 10 between 0.5 and 1, and nothing else.
        let histogram = histogram([10, 10, 20, 20, 20]);
        let close = |quantile, expected: f64| {
            let found = histogram.quantile(quantile).unwrap();
            assert!((found - expected).abs() < 1e-9, "{quantile}: {found}");
        };
        close(0.5, 0.1);
        close(0.25, 0.05);
        close(0.95, 0.95);
        close(0.75, 0.75);
    }

    #[test]
    fn beyond_the_last_edge_the_last_edge_is_told() {
        assert_eq!(histogram([0, 0, 0, 0, 4]).quantile(0.5), Some(2.0));
    }

    #[test]
    fn nothing_counted_has_no_quantile() {
        assert_eq!(histogram([0; 5]).quantile(0.5), None);
    }

    #[test]
    fn an_increase_is_the_difference_or_after_a_restart_everything() {
        let mut sum = Histogram::new(EDGES);
        sum.add_increase(&histogram([1, 1, 2, 2, 2]), &histogram([1, 1, 5, 5, 5]));
        assert_eq!(sum, histogram([0, 0, 3, 3, 3]));
        sum.add_increase(&histogram([1, 1, 5, 5, 5]), &histogram([0, 0, 1, 1, 1]));
        assert_eq!(sum, histogram([0, 0, 4, 4, 4]));
    }

    #[test]
    fn edges_of_another_version_are_left_out() {
        let mut histogram = Histogram::new(EDGES);
        for le in ["0.3", "rubbish", "NaN"] {
            histogram.set(le, 7);
        }
        histogram.set("1.0", 3);
        assert_eq!(histogram.cumulative, [0, 0, 3, 0, 0]);
    }
}
