//! Condition types of an `LLMDeployment` and of an `LLMBenchmark`, and their reasons. A failed load adds the reasons of
//! [`super::reasons::LoadFailure`].

/// Condition: every wanted pod is up to date and serves; the summary of all others.
pub const READY: &str = "Ready";
/// Condition: every pod has a node.
pub const SCHEDULED: &str = "Scheduled";
/// Condition: the model is in memory in every wanted pod.
pub const MODEL_LOADED: &str = "ModelLoaded";
/// Condition: weights, KV cache and overhead are within the memory limit, or the GPU's memory.
pub const FITS_MEMORY: &str = "FitsMemory";
/// Condition: no field is set that this version ignores.
pub const SPEC_SUPPORTED: &str = "SpecSupported";
/// Condition: metrics and traces are collected as asked for.
pub const OBSERVABILITY_READY: &str = "ObservabilityReady";

/// `Ready`: all wanted pods serve.
pub const ALL_PODS_READY: &str = "AllPodsReady";
/// Any: `replicas` is 0.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";
/// `Ready`: the resource contradicts itself in a way that its schema cannot see.
pub const INVALID_SPEC: &str = "InvalidSpec";
/// `Ready`: GPUs are asked for, but the operator knows no image for them.
pub const CUDA_IMAGE_NOT_SET: &str = "CudaImageNotSet";
/// `Ready`: device claims are asked for, but the API server does not serve them.
pub const DEVICE_CLAIMS_NOT_SERVED: &str = "DeviceClaimsNotServed";
/// `Ready`, `SpecSupported`: a field is set that this version does not act on.
pub const NOT_YET_IMPLEMENTED: &str = "NotYetImplemented";
/// `SpecSupported`: every field that is set has its effect.
pub const ALL_FIELDS_SUPPORTED: &str = "AllFieldsSupported";
/// `FitsMemory`: the sum is within the limit, by an estimate or as it was loaded.
pub const ENOUGH_MEMORY: &str = "EnoughMemory";
/// `Ready`, `FitsMemory`: by an estimate, the model does not fit, so nothing is scheduled.
pub const MEMORY_TOO_SMALL: &str = "MemoryTooSmall";
/// `FitsMemory`: only the server can tell, once it has the model.
pub const NOT_ESTIMATED: &str = "NotEstimated";
/// `Ready`: the API server refused a child.
pub const CHILD_REFUSED: &str = "ChildRefused";
/// `Ready`: pods may not be created (quota, pod security).
pub const REPLICA_FAILURE: &str = "ReplicaFailure";
/// `Ready`: no pod exists yet.
pub const PODS_PENDING: &str = "PodsPending";
/// `Scheduled`: every pod has a node.
pub const ALL_PODS_SCHEDULED: &str = "AllPodsScheduled";
/// `Ready`, `Scheduled`: no node takes a pod.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// `Ready`: a node prepares the pod.
pub const CONTAINER_STARTING: &str = "ContainerStarting";
/// `Ready`, `Complete`: a volume cannot be mounted.
pub const VOLUME_NOT_READY: &str = "VolumeNotReady";
/// `Ready`: the image cannot be pulled.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// `Ready`, `Complete`: the container cannot be created, such as for a missing Secret.
pub const CONTAINER_CONFIG_ERROR: &str = "ContainerConfigError";
/// `Ready`, `ModelLoaded`: the kernel stopped the server for its memory.
pub const OOM_KILLED: &str = "OOMKilled";
/// `Ready`, `ModelLoaded`: the server stopped without saying why it could not serve.
pub const CRASH_LOOP: &str = "CrashLoop";
/// `Ready`: the pod was evicted or lost its node.
pub const POD_FAILED: &str = "PodFailed";
/// `Ready`, `ModelLoaded`: the model is on its way into memory.
pub const LOADING: &str = "Loading";
/// `ModelLoaded`: the model is in memory.
pub const LOADED: &str = "Loaded";
/// `ModelLoaded`: `preload: false`, and no request came yet.
pub const WAITING_FOR_REQUEST: &str = "WaitingForRequest";
/// `ModelLoaded`: nothing is known, because no server has started.
pub const SERVER_NOT_STARTED: &str = "ServerNotStarted";
/// `Ready`: the model is loaded, but the readiness probe fails.
pub const NOT_ANSWERING: &str = "NotAnswering";
/// `Ready`: pods of an earlier configuration are still being replaced.
pub const ROLLOUT_IN_PROGRESS: &str = "RolloutInProgress";
/// `ObservabilityReady`: the collector that was chosen collects, as far as can be seen.
pub const COLLECTING: &str = "Collecting";
/// `ObservabilityReady`: everything is created, but whether it is scraped is not known.
pub const NOT_VERIFIED: &str = "NotVerified";
/// `ObservabilityReady`: `metrics.mode` and `tracing.mode` are None.
pub const COLLECTION_OFF: &str = "CollectionOff";
/// `ObservabilityReady`: mode PodMonitor is asked for, but the cluster does not serve that kind.
pub const POD_MONITOR_NOT_SERVED: &str = "PodMonitorNotServed";
/// `ObservabilityReady`: Prometheus does not scrape the pods.
pub const NOT_SCRAPED: &str = "NotScraped";
/// `ObservabilityReady`: Prometheus has not loaded the resource's rules.
pub const RULES_NOT_LOADED: &str = "RulesNotLoaded";
/// `ObservabilityReady`: spans are lost on their way to the collector.
pub const TRACES_NOT_EXPORTED: &str = "TracesNotExported";
/// `ObservabilityReady`: Prometheus does not answer.
pub const PROMETHEUS_UNREACHABLE: &str = "PrometheusUnreachable";
/// `ObservabilityReady`: there is no pod yet that could be scraped.
pub const WAITING_FOR_PODS: &str = "WaitingForPods";

/// Condition of a benchmark: it has measured all that it was asked for.
pub const COMPLETE: &str = "Complete";
/// Condition of a benchmark: it ended without a result. `Failed=True` is final.
pub const FAILED: &str = "Failed";
/// Condition of a schedule: the last run is worse than the one before it.
pub const REGRESSED: &str = "Regressed";

/// `Complete`: the report is written.
pub const REPORT_WRITTEN: &str = "ReportWritten";
/// `Complete`: the target does not exist.
pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
/// `Complete`: the target does not serve.
pub const TARGET_NOT_READY: &str = "TargetNotReady";
/// `Complete`: another benchmark of the same target comes first.
pub const QUEUED: &str = "Queued";
/// `Complete`: the earlier run to compare with has no result yet.
pub const BASELINE_NOT_READY: &str = "BaselineNotReady";
/// `Complete`: the job's pod does not run yet.
pub const JOB_PENDING: &str = "JobPending";
/// `Complete`: the job runs.
pub const RUNNING: &str = "Running";
/// `Complete`: the runs of a schedule are resources of their own.
pub const SCHEDULE_ACTIVE: &str = "ScheduleActive";
/// `Complete`, `Failed`: the job ended without a report.
pub const JOB_FAILED: &str = "JobFailed";
/// `Complete`, `Failed`: the job took longer than its plan allows.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// `Complete`, `Failed`: somebody deleted the job.
pub const JOB_DELETED: &str = "JobDeleted";
/// `Regressed`: there are not yet two finished runs of one workload.
pub const NOTHING_TO_COMPARE: &str = "NothingToCompare";
/// `Regressed`: the last run is worse by more than the tolerance.
pub const WORSE_THAN_BEFORE: &str = "WorseThanBefore";
/// `Regressed`: the last run is as good as the one before it.
pub const AS_BEFORE: &str = "AsBefore";

#[cfg(test)]
mod tests {
    use crate::names::reasons::LoadFailure;

    const PAGE: &str = include_str!("../../../docs/operations/conditions.md");

    /// Every condition and reason.
    fn names() -> Vec<&'static str> {
        include_str!("conditions.rs")
            .lines()
            .filter(|line| line.starts_with("pub const"))
            .filter_map(|line| line.split('"').nth(1))
            .chain(LoadFailure::ALL.map(LoadFailure::as_str))
            .collect()
    }

    /// The rows of the page's tables: the name and the cells behind it.
    fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
        PAGE.lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix("| `")?.split_once("` |")?;
                let cells = rest.trim_end().trim_end_matches('|').split(" | ");
                Some((name, cells.map(str::trim).collect()))
            })
            .collect()
    }

    #[test]
    fn the_page_for_operators_explains_every_condition_and_reason_once() {
        let rows = rows();
        for name in names() {
            let found: Vec<_> = rows.iter().filter(|row| row.0 == name).collect();
            assert_eq!(
                found.len(),
                1,
                "docs/operations/conditions.md needs one line for {name}, such as: | `{name}` | cause | cure |"
            );
        }
    }

    #[test]
    fn each_line_of_the_page_says_something() {
        for (name, cells) in rows() {
            assert!(
                cells.iter().all(|cell| cell.len() > 2),
                "docs/operations/conditions.md: a cell of {name} is empty"
            );
        }
    }

    #[test]
    fn the_page_explains_nothing_that_does_not_exist() {
        let names = names();
        let strange: Vec<_> = rows()
            .into_iter()
            .map(|row| row.0)
            .filter(|name| !names.contains(name))
            .collect();
        assert_eq!(
            strange, [""; 0],
            "docs/operations/conditions.md explains what no longer exists"
        );
    }

    #[test]
    fn a_reason_has_the_form_that_kubernetes_asks_for() {
        for name in names() {
            let is_camel_case = name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.chars().all(|each| each.is_ascii_alphanumeric());
            assert!(is_camel_case, "{name}");
        }
    }
}
