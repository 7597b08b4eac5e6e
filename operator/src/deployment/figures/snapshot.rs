//! What one answer of a pod's `/metrics` says, of the few series that figures and alerts need.
use super::histogram::Histogram;
use candlepower_api::names::{buckets, metrics as names};
use std::collections::BTreeMap;

/// More GPUs than any pod has: a bound, so that rubbish takes no memory.
const MOST_GPUS: usize = 64;

/// The counters of one pod at one moment, or what was added to them in a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counters {
    pub(super) first_token: Histogram,
    pub(super) per_token: Histogram,
    pub(super) tokens: f64,
    pub(super) succeeded: f64,
    pub(super) failed_by_server: f64,
    pub(super) queue_full: f64,
    /// Spans that were dropped, and batches of them that could not be sent.
    pub(super) spans_lost: f64,
    pub(super) busy_seconds: f64,
}

/// What one pod said at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snapshot {
    pub(super) counters: Counters,
    /// Requests that run.
    pub(super) running: f64,
    /// Requests that wait for a place in the batch.
    pub(super) waiting: f64,
    /// Largest share of a memory (the container's or a GPU's) that is in use, 0 to 1.
    pub(super) memory: Option<f64>,
    /// When the process started, in seconds since 1970.
    pub(super) started: Option<f64>,
}

impl Counters {
    /// Those of a server that has just started.
    pub(super) fn zero() -> Self {
        Self {
            first_token: Histogram::new(buckets::TIME_TO_FIRST_TOKEN),
            per_token: Histogram::new(buckets::TOKEN_GAP),
            tokens: 0.0,
            succeeded: 0.0,
            failed_by_server: 0.0,
            queue_full: 0.0,
            spans_lost: 0.0,
            busy_seconds: 0.0,
        }
    }

    /// Adds what came between two moments of one pod.
    pub(super) fn add_increase(&mut self, before: &Self, after: &Self) {
        self.first_token
            .add_increase(&before.first_token, &after.first_token);
        self.per_token
            .add_increase(&before.per_token, &after.per_token);
        self.tokens += increase(before.tokens, after.tokens);
        self.succeeded += increase(before.succeeded, after.succeeded);
        self.failed_by_server += increase(before.failed_by_server, after.failed_by_server);
        self.queue_full += increase(before.queue_full, after.queue_full);
        self.spans_lost += increase(before.spans_lost, after.spans_lost);
        self.busy_seconds += increase(before.busy_seconds, after.busy_seconds);
    }

    /// Requests that were answered, or failed through the server's fault.
    pub(super) fn requests(&self) -> f64 {
        self.succeeded + self.failed_by_server
    }
}

impl Snapshot {
    /// A server that has just started.
    pub(super) fn empty() -> Self {
        Self {
            counters: Counters::zero(),
            running: 0.0,
            waiting: 0.0,
            memory: None,
            started: None,
        }
    }

    /// Requests that run or wait.
    pub(super) fn in_progress(&self) -> f64 {
        self.running + self.waiting
    }
}

/// A counter that fell was started anew.
fn increase(before: f64, after: f64) -> f64 {
    if after < before {
        after
    } else {
        after - before
    }
}

/// An answer that is not a server's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the answer holds none of the server's series")]
pub(super) struct NotOurs;

/// Reads Prometheus' text format.
pub(super) fn read(text: &str) -> Result<Snapshot, NotOurs> {
    let mut snapshot = Snapshot::empty();
    let mut memory = Memory::default();
    let mut known = false;
    for line in text.lines() {
        let Some(sample) = Sample::parse(line) else {
            continue;
        };
        known |= take(&mut snapshot, &mut memory, &sample);
    }
    if !known {
        return Err(NotOurs);
    }
    snapshot.memory = memory.share();
    Ok(snapshot)
}

/// Puts a sample where it belongs; false where it is of no use here.
fn take(snapshot: &mut Snapshot, memory: &mut Memory, sample: &Sample<'_>) -> bool {
    let value = sample.value;
    let counters = &mut snapshot.counters;
    if let Some(base) = sample.name.strip_suffix("_bucket") {
        let histogram = match base {
            names::TIME_TO_FIRST_TOKEN => &mut counters.first_token,
            names::REQUEST_TIME_PER_OUTPUT_TOKEN => &mut counters.per_token,
            _ => return false,
        };
        if let Some(le) = sample.label("le") {
            histogram.set(le, whole(value));
        }
        return true;
    }
    match sample.name {
        names::GENERATION_TOKENS => counters.tokens += value,
        names::REQUEST_SUCCESS => counters.succeeded += value,
        names::REQUEST_ERRORS => {
            if sample.label(names::LABEL_FAULT) == Some(names::FAULT_SERVER) {
                counters.failed_by_server += value;
            }
            if sample.label(names::LABEL_ERROR_TYPE) == Some("queue_full") {
                counters.queue_full += value;
            }
        }
        names::TRACE_SPANS_DROPPED | names::TRACE_EXPORT_FAILURES => counters.spans_lost += value,
        names::ENGINE_BUSY_SECONDS => counters.busy_seconds += value,
        names::NUM_REQUESTS_RUNNING => snapshot.running += value,
        names::NUM_REQUESTS_WAITING => snapshot.waiting += value,
        names::CONTAINER_MEMORY => memory.container.0 = value,
        names::CONTAINER_MEMORY_LIMIT => memory.container.1 = value,
        names::GPU_MEMORY_USED => memory.gpu(sample, |gpu| gpu.0 = value),
        names::GPU_MEMORY_TOTAL => memory.gpu(sample, |gpu| gpu.1 = value),
        "process_start_time_seconds" => {
            snapshot.started = Some(value);
            return false; // any program has it, so it does not tell a server
        }
        _ => return false,
    }
    true
}

/// Used and total, of the container and of each GPU.
#[derive(Default)]
struct Memory {
    container: (f64, f64),
    gpus: BTreeMap<String, (f64, f64)>,
}

impl Memory {
    fn gpu(&mut self, sample: &Sample<'_>, set: impl FnOnce(&mut (f64, f64))) {
        let index = sample.label(names::LABEL_GPU).unwrap_or_default();
        if self.gpus.len() < MOST_GPUS || self.gpus.contains_key(index) {
            set(self.gpus.entry(index.to_owned()).or_default());
        }
    }

    fn share(&self) -> Option<f64> {
        let share = |(used, total): &(f64, f64)| (*total > 0.0).then(|| used / total);
        if self.gpus.is_empty() {
            return share(&self.container);
        }
        self.gpus.values().filter_map(share).reduce(f64::max)
    }
}

/// One line of the text format.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (name, labels, rest) = if let Some(open) = line.find('{') {
            let close = line.rfind('}').filter(|close| *close > open)?;
            (&line[..open], &line[open + 1..close], &line[close + 1..])
        } else {
            let (name, rest) = line.split_once(' ')?;
            (name, "", rest)
        };
        let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self {
            name,
            labels,
            value,
        })
        .filter(|sample| sample.value.is_finite() && sample.value >= 0.0)
    }

    /// A label's value. The values that are asked for hold neither commas nor quotes.
    fn label(&self, name: &str) -> Option<&'a str> {
        self.labels.split(',').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key == name).then(|| value.trim_matches('"'))
        })
    }
}

/// Counts are whole numbers, written as floats.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "negative samples are left out, and no counter reaches 2^53"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "\
# HELP llm_time_to_first_token_seconds TTFT
# TYPE llm_time_to_first_token_seconds histogram
llm_time_to_first_token_seconds_bucket{le=\"0.5\"} 3
llm_time_to_first_token_seconds_bucket{le=\"2\"} 4
llm_time_to_first_token_seconds_bucket{le=\"+Inf\"} 5
llm_generation_tokens_total 120
llm_request_success_total{finished_reason=\"stop\"} 3
llm_request_success_total{finished_reason=\"length\"} 1
llm_request_errors_total{error_type=\"queue_full\",fault=\"server\"} 2
llm_request_errors_total{error_type=\"invalid_request\",fault=\"client\"} 7
llm_engine_busy_seconds_total 2.5
llm_num_requests_running 1
llm_num_requests_waiting 3
llm_trace_spans_dropped_total 3
llm_trace_export_failures_total 2
llm_container_memory_working_set_bytes 512
llm_container_memory_limit_bytes 1024
process_start_time_seconds 1764000000.5
";

    #[test]
    fn an_answer_is_read_with_the_label_that_tells_whose_fault_an_error_is() {
        let snapshot = read(ANSWER).unwrap();
        assert_eq!(snapshot.counters.first_token.count(), 5);
        assert!((snapshot.counters.tokens - 120.0).abs() < 1e-9);
        assert!((snapshot.counters.succeeded - 4.0).abs() < 1e-9);
        assert!((snapshot.counters.failed_by_server - 2.0).abs() < 1e-9);
        assert!((snapshot.counters.queue_full - 2.0).abs() < 1e-9);
        assert!((snapshot.counters.spans_lost - 5.0).abs() < 1e-9);
        assert!((snapshot.running - 1.0).abs() < 1e-9);
        assert!((snapshot.waiting - 3.0).abs() < 1e-9);
        assert_eq!(snapshot.memory, Some(0.5));
        assert_eq!(snapshot.started, Some(1_764_000_000.5));
    }

    #[test]
    fn the_fullest_gpu_counts_where_there_are_gpus() {
        let gpus = "\
llm_gpu_memory_used_bytes{gpu=\"0\"} 20
llm_gpu_memory_total_bytes{gpu=\"0\"} 100
llm_gpu_memory_used_bytes{gpu=\"1\"} 95
llm_gpu_memory_total_bytes{gpu=\"1\"} 100
";
        let snapshot = read(&format!("{ANSWER}{gpus}")).unwrap();
        assert_eq!(snapshot.memory, Some(0.95));
    }

    #[test]
    fn rubbish_is_refused_and_broken_lines_within_an_answer_are_skipped() {
        for text in [
            "",
            "<html>not found</html>",
            "{{{{ }}}} =\n\0\n",
            "a{b=\"c\"} 1",
        ] {
            assert_eq!(read(text), Err(NotOurs), "{text}");
        }
        let broken = "llm_generation_tokens_total NaN\nllm_generation_tokens_total -3\n}{\nx{ 1\n";
        let snapshot = read(&format!("{broken}{ANSWER}")).unwrap();
        assert!((snapshot.counters.tokens - 120.0).abs() < 1e-9);
    }

    #[test]
    fn labels_take_no_memory_however_many_there_are() {
        use std::fmt::Write;
        let mut text = ANSWER.to_owned();
        for model in 0..3000 {
            writeln!(text, "llm_gpu_memory_used_bytes{{gpu=\"{model}\"}} 1").unwrap();
            writeln!(text, "llm_model_info{{model_name=\"m{model}\"}} 1").unwrap();
        }
        let mut memory = Memory::default();
        for line in text.lines() {
            if let Some(sample) = Sample::parse(line) {
                take(&mut Snapshot::empty(), &mut memory, &sample);
            }
        }
        assert_eq!(memory.gpus.len(), MOST_GPUS);
    }
}
