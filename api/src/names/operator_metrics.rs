//! Metrics that the operator exports about each resource. All carry [`LABEL_NAMESPACE`] and
//! [`LABEL_LLM_DEPLOYMENT`].

/// Gauge, always 1: what the resource asks for, in its labels.
pub const INFO: &str = "candlepower_llmdeployment_info";
/// Gauge by [`LABEL_CONDITION`] and [`LABEL_STATUS`]: 1 for the status that the condition has, 0
/// for the others.
pub const CONDITION: &str = "candlepower_llmdeployment_condition";
/// Gauge by [`LABEL_STATE`]: `desired` or `ready`.
pub const REPLICAS: &str = "candlepower_llmdeployment_replicas";
/// Counter by [`LABEL_POD`]: how often the pod's server was started again, by the pod's own count.
pub const RESTARTS: &str = "candlepower_llmdeployment_restarts_total";
/// Gauge, seconds: from the resource's creation or its last change, or from the moment in which it
/// was Ready no more, to Ready.
pub const TIME_TO_READY: &str = "candlepower_llmdeployment_time_to_ready_seconds";
/// Gauge by [`LABEL_ALERT`] and `severity`: 1 while the operator sees the alert fire.
pub const ALERT_FIRING: &str = "candlepower_llmdeployment_alert_firing";
/// Gauge by [`LABEL_LLM_BENCHMARK`]: 1 where the last run of a schedule is worse than the one before
/// it, or a benchmark of its own than its baseline. Its [`LABEL_LLM_DEPLOYMENT`] is what was measured, and empty where that
/// is another server.
pub const BENCHMARK_REGRESSED: &str = "candlepower_llmbenchmark_regressed";
/// Counter by [`LABEL_RESULT`]: scrapes of pods.
pub const SCRAPES: &str = "candlepower_operator_scrapes_total";
/// Histogram, seconds: how long a scrape of all pods takes.
pub const SCRAPE_DURATION: &str = "candlepower_operator_scrape_duration_seconds";
/// Counter: reconciles that ended, by `controller` and `result`.
pub const RECONCILES: &str = "candlepower_operator_reconciles_total";
/// Counter: reconciles that failed, by `controller` and `category`.
pub const RECONCILE_FAILURES: &str = "candlepower_operator_reconcile_failures_total";
/// Histogram, seconds: how long a reconcile takes.
pub const RECONCILE_DURATION: &str = "candlepower_operator_reconcile_duration_seconds";
/// Gauge: reconciles that run now.
pub const RECONCILES_RUNNING: &str = "candlepower_operator_reconciles_running";
/// Counter: objects written to the API server, by `controller` and `kind`.
pub const WRITES: &str = "candlepower_operator_writes_total";
/// Counter: watches that broke off, by `controller` and `kind`.
pub const WATCH_ERRORS: &str = "candlepower_operator_watch_errors_total";
/// Gauge by `controller`: objects whose last reconcile failed, and that wait to be tried again.
pub const RETRIES_PENDING: &str = "candlepower_operator_retries_pending";
/// Counter by [`LABEL_VERB`], [`LABEL_RESOURCE`] and [`LABEL_STATUS`]: requests to the API server.
pub const API_REQUESTS: &str = "candlepower_operator_api_requests_total";
/// Gauge: 1 while this process leads, or where there is no election; 0 while it waits.
pub const LEADER: &str = "candlepower_operator_leader";
/// Counter: spans of the operator that the collector took.
pub const TRACE_SPANS_EXPORTED: &str = "candlepower_operator_trace_spans_exported_total";
/// Counter: spans of the operator that were lost.
pub const TRACE_SPANS_DROPPED: &str = "candlepower_operator_trace_spans_dropped_total";
/// Counter: batches of spans that could not be sent.
pub const TRACE_EXPORT_FAILURES: &str = "candlepower_operator_trace_export_failures_total";

/// The resource's namespace.
pub const LABEL_NAMESPACE: &str = "namespace";
/// The resource's name.
pub const LABEL_LLM_DEPLOYMENT: &str = "llmdeployment";
/// A benchmark's name.
pub const LABEL_LLM_BENCHMARK: &str = "llmbenchmark";
/// A condition's type.
pub const LABEL_CONDITION: &str = "condition";
/// What is asked of the API server, in its own words: `get`, `list`, `watch`, `create`, `update`, `patch`.
pub const LABEL_VERB: &str = "verb";
/// The kind of object that is asked for, such as `pods` or `llmdeployments/status`.
pub const LABEL_RESOURCE: &str = "resource";
/// A condition's `true`, `false` or `unknown`; a request's HTTP status, or `none` without an answer.
pub const LABEL_STATUS: &str = "status";
/// `desired` or `ready`.
pub const LABEL_STATE: &str = "state";
/// A pod's name.
pub const LABEL_POD: &str = "pod";
/// An alert's name.
pub const LABEL_ALERT: &str = "alert";
/// `success` or `failure`.
pub const LABEL_RESULT: &str = "result";
