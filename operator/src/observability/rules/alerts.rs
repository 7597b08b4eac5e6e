//! Alerts on symptoms that users notice, and on the few causes that come before them.
use super::{
    Alert, CRASH_LOOP, CRASH_LOOP_RESTARTS, Rule, number, recording as recorded, text_map,
};
use crate::observability::{
    Subject,
    queries::{self, Scope},
};
use candlepower_api::{
    deployment::{Device, Severity, TracingMode},
    names::{alerts as names, conditions, metrics},
};

/// Share of the time that requests must run before their throughput is judged.
const BUSY_ENOUGH: f64 = 0.05;
/// Seconds; a model that loads faster is not worth an alert.
const LOAD_FLOOR: f64 = 10.0;

pub(super) fn rules(subject: &Subject<'_>, runbooks: &str) -> Vec<Rule> {
    let scope = Scope::of_resource(subject);
    let mut rules: Vec<Rule> = [
        first_token(subject, &scope),
        error_rate(subject, &scope),
        throughput(subject, &scope),
        Some(not_ready(subject, &scope)),
        Some(not_serving(subject, &scope)),
        Some(crash_looping(&scope)),
        Some(queue_full(subject, &scope)),
        trace_export_failing(subject, &scope),
        Some(cold_start_slow(&scope)),
        Some(benchmark_regressed(&scope)),
    ]
    .into_iter()
    .flatten()
    .map(|alert| alert.into_rule(runbooks))
    .collect();
    rules.extend(memory(subject, &scope, runbooks));
    rules
}

fn first_token(subject: &Subject<'_>, scope: &Scope) -> Option<Alert<'static>> {
    let alert = &subject.spec.alerts.time_to_first_token_p95;
    let threshold = alert.threshold.as_std().as_secs_f64();
    alert.enabled.then(|| Alert {
        name: names::TIME_TO_FIRST_TOKEN_HIGH,
        expr: format!("{} > {}", scope.each(recorded::TTFT_P95), number(threshold)),
        hold: alert.r#for.to_string(),
        severity: alert.severity,
        summary: "The slowest twentieth of the requests waits too long for its first token.",
        description: format!(
            "the 95th percentile of the time to first token is {{{{ $value | humanizeDuration }}}}, above {}.",
            alert.threshold
        ),
    })
}

/// One rule for the container, and one for the GPUs where there are any: either can run out.
fn memory(subject: &Subject<'_>, scope: &Scope, runbooks: &str) -> Vec<Rule> {
    let alert = &subject.spec.alerts.memory_utilization;
    if !alert.enabled {
        return Vec::new();
    }
    let has_gpus = subject.spec.resources.device() == Device::Cuda;
    let gpus = has_gpus.then_some((recorded::GPU_MEMORY, "gpu", "a GPU"));
    [(recorded::MEMORY, "container", "a pod")]
        .into_iter()
        .chain(gpus)
        .map(|(series, memory, owner)| {
            let mut rule = Alert {
                name: names::MEMORY_HIGH,
                expr: format!(
                    "{} > {}",
                    scope.each(series),
                    number(alert.threshold.fraction())
                ),
                hold: alert.r#for.to_string(),
                severity: alert.severity,
                summary: "Memory runs out.",
                description: format!(
                    "{owner} uses {{{{ $value | humanizePercentage }}}} of its memory, above {}.",
                    alert.threshold
                ),
            }
            .into_rule(runbooks);
            rule.labels
                .extend(text_map([("memory", memory.to_owned())]));
            rule
        })
        .collect()
}

fn error_rate(subject: &Subject<'_>, scope: &Scope) -> Option<Alert<'static>> {
    let alert = &subject.spec.alerts.error_rate;
    alert.enabled.then(|| Alert {
        name: names::ERROR_RATE_HIGH,
        expr: format!(
            "{} > {}",
            scope.each(recorded::ERROR_RATIO),
            number(alert.threshold.fraction())
        ),
        hold: alert.r#for.to_string(),
        severity: alert.severity,
        summary: "Too many requests fail through the server's fault.",
        description: format!(
            "{{{{ $value | humanizePercentage }}}} of the requests fail, above {}.",
            alert.threshold
        ),
    })
}

fn throughput(subject: &Subject<'_>, scope: &Scope) -> Option<Alert<'static>> {
    let alert = &subject.spec.alerts.throughput;
    alert.enabled.then(|| Alert {
        name: names::THROUGHPUT_LOW,
        expr: format!(
            "{} < {} and {} > {BUSY_ENOUGH}",
            scope.each(recorded::THROUGHPUT),
            alert.threshold,
            scope.each(recorded::BUSY)
        ),
        hold: alert.r#for.to_string(),
        severity: alert.severity,
        summary: "Too few tokens per second while requests run.",
        description: format!(
            "{{{{ $value | humanize }}}} tokens per second while requests run, below {}.",
            alert.threshold
        ),
    })
}

/// Seen by Prometheus itself, and by the operator where its series are there: Prometheus does not
/// see a pod that does not exist, and the operator does not know whether it can be scraped.
fn not_ready(subject: &Subject<'_>, scope: &Scope) -> Alert<'static> {
    // Without preloading, a server without a model is as it should be.
    let loaded = if subject.spec.preload {
        format!("{} == 0 or ", scope.loaded())
    } else {
        String::new()
    };
    Alert {
        name: names::NOT_READY,
        expr: format!(
            "{} == 0 or {loaded}({} == 0 and {} > 0) or {} == 1",
            scope.reachable(),
            scope.condition(conditions::READY),
            scope.replicas("desired"),
            scope.ready_in_name_only()
        ),
        hold: "10m".to_owned(),
        severity: Severity::Critical,
        summary: "Nothing serves, or not everything that should.",
        description:
            "a pod cannot be scraped, has no model loaded, or the resource is not Ready, or is so although no pod serves."
                .to_owned(),
    }
}

fn not_serving(subject: &Subject<'_>, scope: &Scope) -> Alert<'static> {
    Alert {
        name: names::NOT_SERVING,
        expr: format!("{} > 0", scope.held_without_token()),
        hold: "2m".to_owned(),
        severity: Severity::Critical,
        summary: "Requests are accepted, but no token comes.",
        description: format!(
            "{{{{ $value }}}} requests run or wait in pods that have generated no token for {}.",
            queries::window(subject.spec)
        ),
    }
}

/// Seen by Prometheus itself, and by the operator: of a server that lives for a second, Prometheus
/// scrapes hardly any life.
fn crash_looping(scope: &Scope) -> Alert<'static> {
    Alert {
        name: names::CRASH_LOOPING,
        expr: format!(
            "{} >= {CRASH_LOOP_RESTARTS} or {} >= {CRASH_LOOP_RESTARTS}",
            scope.over("15m").restarts(),
            scope
                .over(&format!("{}m", CRASH_LOOP.as_secs() / 60))
                .counted_restarts()
        ),
        hold: "0s".to_owned(),
        severity: Severity::Critical,
        summary: "The server ends and starts again and again.",
        description:
            "the server of one pod was started again {{ $value | humanize }} times within 20 minutes."
                .to_owned(),
    }
}

fn queue_full(subject: &Subject<'_>, scope: &Scope) -> Alert<'static> {
    Alert {
        name: names::QUEUE_FULL,
        expr: format!("{} > 0", scope.refused_by_full_queue()),
        hold: "2m".to_owned(),
        severity: Severity::Warning,
        summary: "Requests are refused because as many wait as may.",
        description: format!(
            "about {{{{ $value | humanize }}}} requests were refused in the last {}.",
            queries::window(subject.spec)
        ),
    }
}

fn trace_export_failing(subject: &Subject<'_>, scope: &Scope) -> Option<Alert<'static>> {
    let traced = subject.spec.observability.tracing.mode != TracingMode::None;
    traced.then(|| Alert {
        name: names::TRACE_EXPORT_FAILING,
        expr: format!(
            "{} > 0 or {} > 0",
            scope.increase(metrics::TRACE_SPANS_DROPPED),
            scope.increase(metrics::TRACE_EXPORT_FAILURES)
        ),
        hold: "10m".to_owned(),
        severity: Severity::Warning,
        summary: "Spans do not reach the collector.",
        description: "spans are dropped or their export fails; requests are not affected."
            .to_owned(),
    })
}

fn cold_start_slow(scope: &Scope) -> Alert<'static> {
    let now = scope.each(recorded::LOAD_SECONDS);
    Alert {
        name: names::COLD_START_SLOW,
        // The last hour is left out of the average, so that a slow load does not excuse itself.
        expr: format!(
            "{now} > {LOAD_FLOOR} and {now} > 2 * avg_over_time({now}[7d] offset 1h)"
        ),
        hold: "0s".to_owned(),
        severity: Severity::Warning,
        summary: "The model takes far longer to load than it used to.",
        description:
            "loading took {{ $value | humanizeDuration }}, more than twice the average of the last 7 days."
                .to_owned(),
    }
}

fn benchmark_regressed(scope: &Scope) -> Alert<'static> {
    Alert {
        name: names::BENCHMARK_REGRESSED,
        expr: format!("{} == 1", scope.regressed()),
        hold: "0s".to_owned(),
        severity: Severity::Warning,
        summary: "A benchmark of the model got worse.",
        description: "the last run of a benchmark is worse than the one that it is compared with."
            .to_owned(),
    }
}
