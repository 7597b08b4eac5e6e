//! Alert names. Each has a page of the same name in docs/runbooks/.

/// Where the runbooks are, unless the operator is told otherwise.
pub const DEFAULT_RUNBOOKS: &str =
    "https://github.com/candlepower/candlepower/blob/main/docs/runbooks";

/// The page of an alert in a folder of runbooks.
pub fn runbook(folder: &str, alert: &str) -> String {
    format!("{}/{alert}.md", folder.trim_end_matches('/'))
}

/// The slowest twentieth of the requests waits too long for its first token.
pub const TIME_TO_FIRST_TOKEN_HIGH: &str = "CandlepowerTimeToFirstTokenHigh";
/// Memory, of the GPU where there is one, runs out.
pub const MEMORY_HIGH: &str = "CandlepowerMemoryHigh";
/// Too many requests fail through the server's fault.
pub const ERROR_RATE_HIGH: &str = "CandlepowerErrorRateHigh";
/// Too few tokens per second while requests run.
pub const THROUGHPUT_LOW: &str = "CandlepowerThroughputLow";
/// Nothing serves, or not everything that should.
pub const NOT_READY: &str = "CandlepowerNotReady";
/// Requests are accepted, but no token comes.
pub const NOT_SERVING: &str = "CandlepowerNotServing";
/// The server ends and starts again and again.
pub const CRASH_LOOPING: &str = "CandlepowerCrashLooping";
/// Requests are refused because as many wait as may.
pub const QUEUE_FULL: &str = "CandlepowerQueueFull";
/// Spans do not reach the collector.
pub const TRACE_EXPORT_FAILING: &str = "CandlepowerTraceExportFailing";
/// The model takes far longer to load than it used to.
pub const COLD_START_SLOW: &str = "CandlepowerColdStartSlow";
/// The error budget of the availability objective burns too fast.
pub const AVAILABILITY_BUDGET_BURN: &str = "CandlepowerAvailabilityBudgetBurn";
/// The error budget of the objective for the time to first token burns too fast.
pub const LATENCY_BUDGET_BURN: &str = "CandlepowerLatencyBudgetBurn";
/// The last run of a benchmark's schedule is worse than the one before it, or a benchmark than its baseline.
pub const BENCHMARK_REGRESSED: &str = "CandlepowerBenchmarkRegressed";

/// No operator works.
pub const OPERATOR_DOWN: &str = "CandlepowerOperatorDown";
/// Reconciles fail again and again.
pub const OPERATOR_RECONCILE_ERRORS: &str = "CandlepowerOperatorReconcileErrors";

/// Every alert that the operator has for itself, and for what belongs to no resource: benchmarks of other servers.
pub const OPERATOR: [&str; 3] = [
    OPERATOR_DOWN,
    OPERATOR_RECONCILE_ERRORS,
    BENCHMARK_REGRESSED,
];

/// Every alert that a resource can have.
pub const ALL: [&str; 13] = [
    TIME_TO_FIRST_TOKEN_HIGH,
    MEMORY_HIGH,
    ERROR_RATE_HIGH,
    THROUGHPUT_LOW,
    NOT_READY,
    NOT_SERVING,
    CRASH_LOOPING,
    QUEUE_FULL,
    TRACE_EXPORT_FAILING,
    COLD_START_SLOW,
    AVAILABILITY_BUDGET_BURN,
    LATENCY_BUDGET_BURN,
    BENCHMARK_REGRESSED,
];
