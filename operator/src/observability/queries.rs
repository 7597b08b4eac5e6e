//! PromQL that rules and dashboards share, so that no query is written twice. docs/observability.md
//! states the formulas.
use super::Subject;
use candlepower_api::{
    deployment::LLMDeploymentSpec,
    names::{buckets, conditions, metrics as names, operator_metrics as operator},
    value::Duration,
};

/// Gauge, seconds since 1970: when the server's process started (the standard process collector).
pub const PROCESS_START_TIME: &str = "process_start_time_seconds";
/// Gauge, bytes: resident memory of a process (the standard process collector).
pub const PROCESS_RESIDENT_MEMORY: &str = "process_resident_memory_bytes";
/// Gauge that Prometheus makes itself: 1 while a target can be scraped.
pub const UP: &str = "up";
/// The `error_type` of a request that found the queue full.
pub const QUEUE_FULL: &str = "queue_full";

const BY: &str = "by (namespace, llmdeployment)";

/// Which series a query is about, and how far back its rates look.
#[derive(Clone, Debug)]
pub struct Scope {
    matchers: String,
    window: String,
}

impl Scope {
    /// One resource, over its alerts' window.
    pub fn of_resource(subject: &Subject<'_>) -> Self {
        Self {
            matchers: format!(
                "namespace=\"{}\",llmdeployment=\"{}\"",
                subject.namespace, subject.name
            ),
            window: window(subject.spec).to_string(),
        }
    }

    /// What the reader of a dashboard has chosen.
    pub fn of_dashboard() -> Self {
        Self {
            matchers: "namespace=~\"$namespace\",llmdeployment=~\"$llmdeployment\",pod=~\"$pod\""
                .to_owned(),
            window: "$__rate_interval".to_owned(),
        }
    }

    /// What the reader of a fleet board has chosen; series without a `pod` label.
    pub fn of_fleet() -> Self {
        Self {
            matchers: "namespace=~\"$namespace\",llmdeployment=~\"$llmdeployment\"".to_owned(),
            window: "$__rate_interval".to_owned(),
        }
    }

    /// The operators that the reader of a fleet board has chosen.
    pub fn of_operator() -> Self {
        Self {
            matchers: "namespace=~\"$operator\"".to_owned(),
            window: "$__rate_interval".to_owned(),
        }
    }

    /// The same series over another window.
    #[must_use]
    pub fn over(&self, window: &str) -> Self {
        Self {
            matchers: self.matchers.clone(),
            window: window.to_owned(),
        }
    }

    /// Each of the series.
    pub fn each(&self, metric: &str) -> String {
        format!("{metric}{{{}}}", self.matchers)
    }

    fn each_where(&self, metric: &str, label: &str, value: &str) -> String {
        format!("{metric}{{{},{label}=\"{value}\"}}", self.matchers)
    }

    /// A gauge's sum over pods.
    pub fn sum(&self, metric: &str) -> String {
        format!("sum {BY} ({})", self.each(metric))
    }

    /// A gauge's largest value.
    pub fn max(&self, metric: &str) -> String {
        format!("max {BY} ({})", self.each(metric))
    }

    /// A gauge's largest value by one more label.
    pub fn max_by(&self, metric: &str, label: &str) -> String {
        format!(
            "max by (namespace, llmdeployment, {label}) ({})",
            self.each(metric)
        )
    }

    /// How many series there are, by some labels.
    pub fn count_by(&self, metric: &str, labels: &str) -> String {
        format!("count by ({labels}) ({})", self.each(metric))
    }

    /// A gauge's sum over everything.
    pub fn total(&self, metric: &str) -> String {
        format!("sum ({})", self.each(metric))
    }

    /// A counter's rate, per second, by one label alone.
    pub fn total_rate_by(&self, metric: &str, label: &str) -> String {
        format!(
            "sum by ({label}) (rate({}[{}]))",
            self.each(metric),
            self.window
        )
    }

    /// A gauge of those processes that also export `other`.
    pub fn beside(&self, metric: &str, other: &str) -> String {
        format!(
            "{} and on (instance) {}",
            self.each(metric),
            self.each(other)
        )
    }

    /// A counter's rate, per second, over all pods.
    pub fn rate(&self, metric: &str) -> String {
        format!("sum {BY} (rate({}[{}]))", self.each(metric), self.window)
    }

    /// A counter's rate, per second, by one of its labels.
    pub fn rate_by(&self, metric: &str, label: &str) -> String {
        format!(
            "sum by (namespace, llmdeployment, {label}) (rate({}[{}]))",
            self.each(metric),
            self.window
        )
    }

    /// How much a counter grew in the window, over all pods.
    pub fn increase(&self, metric: &str) -> String {
        format!(
            "sum {BY} (increase({}[{}]))",
            self.each(metric),
            self.window
        )
    }

    /// How much a counter grew in the window, by one of its labels alone: for shares of a whole.
    pub fn increase_by(&self, metric: &str, label: &str) -> String {
        format!(
            "sum by ({label}) (increase({}[{}]))",
            self.each(metric),
            self.window
        )
    }

    /// A quantile of a histogram, merged over pods.
    pub fn quantile(&self, quantile: f64, histogram: &str) -> String {
        format!(
            "histogram_quantile({quantile}, {})",
            self.rate_by(&format!("{histogram}_bucket"), "le")
        )
    }

    /// The rate of each bucket of a histogram, for a heatmap.
    pub fn buckets(&self, histogram: &str) -> String {
        format!(
            "sum by (le) (rate({}[{}]))",
            self.each(&format!("{histogram}_bucket")),
            self.window
        )
    }

    /// The mean of a histogram's observations.
    pub fn mean(&self, histogram: &str) -> String {
        format!(
            "{} / ({} > 0)",
            self.rate(&format!("{histogram}_sum")),
            self.rate(&format!("{histogram}_count"))
        )
    }

    /// One phase's share of the time that all requests took, 0 to 1.
    pub fn share_of_request_time(&self, phase: &str) -> String {
        format!(
            "{} / ({} > 0)",
            self.rate(&format!("{phase}_sum")),
            self.rate(&format!("{}_sum", names::E2E_REQUEST_LATENCY))
        )
    }

    /// Requests per second that ended, but for those that were wrong themselves.
    fn counted_requests(&self) -> String {
        format!(
            "({} + {})",
            self.rate(names::REQUEST_SUCCESS),
            self.server_errors()
        )
    }

    /// Requests per second that failed through the server's fault.
    pub fn server_errors(&self) -> String {
        let errors = self.each_where(
            names::REQUEST_ERRORS,
            names::LABEL_FAULT,
            names::FAULT_SERVER,
        );
        format!("sum {BY} (rate({errors}[{}]))", self.window)
    }

    /// Share of the requests that failed through the server's fault; nothing without requests.
    pub fn error_ratio(&self) -> String {
        format!(
            "{} / ({} > 0)",
            self.server_errors(),
            self.counted_requests()
        )
    }

    /// How many requests found the queue full in the window.
    pub fn refused_by_full_queue(&self) -> String {
        let errors = self.each_where(names::REQUEST_ERRORS, names::LABEL_ERROR_TYPE, QUEUE_FULL);
        format!("sum {BY} (increase({errors}[{}]))", self.window)
    }

    /// Share of the time in which the busiest pod computed requests, 0 to 1.
    pub fn busy(&self) -> String {
        format!(
            "max {BY} (rate({}[{}]))",
            self.each(names::ENGINE_BUSY_SECONDS),
            self.window
        )
    }

    /// Tokens per second while requests run; nothing while none do.
    pub fn throughput(&self) -> String {
        format!(
            "{} / ({} > 0)",
            self.rate(names::GENERATION_TOKENS),
            self.busy()
        )
    }

    /// Share of the container's memory limit in use, of the pod that is nearest to it.
    pub fn memory_utilization(&self) -> String {
        self.largest_ratio(names::CONTAINER_MEMORY, names::CONTAINER_MEMORY_LIMIT)
    }

    /// Share of a GPU's memory in use, of the fullest GPU.
    pub fn gpu_memory_utilization(&self) -> String {
        self.largest_ratio(names::GPU_MEMORY_USED, names::GPU_MEMORY_TOTAL)
    }

    fn largest_ratio(&self, part: &str, whole: &str) -> String {
        format!(
            "max {BY} ({} / ({} > 0))",
            self.each(part),
            self.each(whole)
        )
    }

    /// Share of the scheduler's periods in which the container used up its CPU quota.
    pub fn throttled(&self) -> String {
        format!(
            "{} / ({} > 0)",
            self.rate(names::CONTAINER_CPU_THROTTLED_PERIODS),
            self.rate(names::CONTAINER_CPU_PERIODS)
        )
    }

    /// Share of the looked-up prompt tokens that the prefix cache held.
    pub fn prefix_cache_hit_ratio(&self) -> String {
        format!(
            "{} / ({} > 0)",
            self.rate(names::PREFIX_CACHE_HITS),
            self.rate(names::PREFIX_CACHE_QUERIES)
        )
    }

    /// Share of the requests whose first token came later than `threshold`.
    pub fn slow_first_token_ratio(&self, threshold: Duration) -> String {
        let bucket = format!("{}_bucket", names::TIME_TO_FIRST_TOKEN);
        // Prometheus 3 stores `le="2"` as `le="2.0"`; Prometheus 2 leaves it as it is.
        let edge = edge_text(threshold).replace('.', "\\\\.");
        let le = if edge.contains('.') {
            edge
        } else {
            format!("{edge}(\\\\.0)?")
        };
        format!(
            "1 - sum {BY} (rate({bucket}{{{},le=~\"{le}\"}}[{}])) / ({} > 0)",
            self.matchers,
            self.window,
            self.rate(&format!("{}_count", names::TIME_TO_FIRST_TOKEN))
        )
    }

    /// Pods that hold requests but have not generated a token in the window: how many requests.
    pub fn held_without_token(&self) -> String {
        format!(
            "sum {BY} (({} + {}) > 0 and rate({}[{}]) == 0)",
            self.each(names::NUM_REQUESTS_RUNNING),
            self.each(names::NUM_REQUESTS_WAITING),
            self.each(names::GENERATION_TOKENS),
            self.window
        )
    }

    /// How often the server of the least steady pod started again in the window.
    pub fn restarts(&self) -> String {
        format!(
            "max {BY} (changes({}[{}]))",
            self.each(PROCESS_START_TIME),
            self.window
        )
    }

    /// The same by the counts of the pods, which miss no restart. Only of pods that are there: one
    /// that was replaced needs no help any more.
    pub fn counted_restarts(&self) -> String {
        let each = self.each(operator::RESTARTS);
        format!("max {BY} (increase({each}[{}]) and {each})", self.window)
    }

    /// 0 where at least one target cannot be scraped.
    pub fn reachable(&self) -> String {
        format!("min {BY} ({})", self.each(UP))
    }

    /// 0 where at least one pod has no model in memory.
    pub fn loaded(&self) -> String {
        format!("min {BY} ({})", self.each(names::MODEL_LOADED))
    }

    /// 1 where the operator says that the condition holds.
    pub fn condition(&self, condition: &str) -> String {
        format!(
            "max {BY} ({}{{{},{}=\"{condition}\",{}=\"true\"}})",
            operator::CONDITION,
            self.matchers,
            operator::LABEL_CONDITION,
            operator::LABEL_STATUS
        )
    }

    /// 1 where the condition `Ready` holds although replicas are wanted and none serves, else 0.
    pub fn ready_in_name_only(&self) -> String {
        format!(
            "({} == bool 1) * ({} == bool 0) * ({} > bool 0)",
            self.condition(conditions::READY),
            self.replicas("ready"),
            self.replicas("desired")
        )
    }

    /// 1 where a benchmark of the resource got worse, as the operator sees it.
    pub fn regressed(&self) -> String {
        format!("max {BY} ({})", self.each(operator::BENCHMARK_REGRESSED))
    }

    /// Pods that are `desired` or `ready`, as the operator sees them.
    pub fn replicas(&self, state: &str) -> String {
        format!(
            "max {BY} ({})",
            self.each_where(operator::REPLICAS, operator::LABEL_STATE, state)
        )
    }
}

/// How far back the resource's rates look: never less than the four scrapes that a rate needs to
/// survive a missed one.
pub fn window(spec: &LLMDeploymentSpec) -> Duration {
    let interval = spec.observability.metrics.interval.as_std();
    let least = u64::try_from(interval.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_mul(4);
    spec.alerts
        .window
        .max(Duration::from_millis(least.max(1000)))
}

/// The histogram's edge for a threshold, as the exporter prints it: the threshold itself where it
/// is an edge, otherwise the next stricter one.
pub fn edge_text(threshold: Duration) -> String {
    let seconds = threshold.as_std().as_secs_f64();
    let edges = buckets::TIME_TO_FIRST_TOKEN;
    edges
        .iter()
        .rev()
        .find(|edge| **edge <= seconds + 1e-9)
        .or(edges.first())
        .map_or_else(|| "+Inf".to_owned(), ToString::to_string)
}
