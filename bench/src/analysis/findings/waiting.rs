//! Losses inside the server around the model: CPU quota, queue, KV cache, memory, tokenizer.
use super::{Class, Confidence, Finding, Proof, Severity, Source, View, ms, percent, proof};
use candlepower_api::names::spans;

/// Fewer throttled periods than this are bursts that nobody waits for.
const THROTTLED_PERIODS: f64 = 0.25;
/// The share of the CPU time that was wanted and refused.
const THROTTLED_TIME: f64 = 0.1;
/// Waiting less than this is the wait for the next step.
const QUEUE_SECONDS: f64 = 0.02;
const QUEUE_SHARE: f64 = 0.2;
const KV_FULL: f64 = 0.9;
const WEIGHTS_SHARE: f64 = 0.75;
const TOKENISE_SHARE: f64 = 0.1;
const TOKENISE_SECONDS: f64 = 0.005;

/// The container's quota stops its threads.
pub(super) fn throttled(view: View<'_>) -> Option<Finding> {
    let observed = &view.level.observed;
    let periods = observed.throttled_periods?;
    let refused = observed.throttled_seconds_per_second?;
    let used = observed.cpu_cores.unwrap_or_default();
    let share = refused / (refused + used).max(f64::MIN_POSITIVE);
    if periods < THROTTLED_PERIODS || share < THROTTLED_TIME {
        return None;
    }
    let limit = observed.cpu_limit.map(|limit| limit / view.pods);
    let limit = limit.map(|limit| format!("{limit:.2} cores"));
    let cause = format!(
        "the CPU limit of {}{} stops the server's threads in most periods while requests wait",
        limit.as_deref().unwrap_or("the container"),
        if view.pods > 1.0 { " in each pod" } else { "" }
    );
    let of = "the CPU time that was wanted";
    let finding = view.finding(Class::ThrottledCpu, (share, of), cause);
    let severity = match finding.severity {
        Severity::Acceptable => Severity::Moderate,
        other => other,
    };
    Some(finding.with_severity(severity).shown_by([
        proof(
            "scheduler periods that used up the quota",
            percent(periods),
            Source::Metrics,
        ),
        proof(
            "threads stood still",
            format!("{refused:.2} s per second"),
            Source::Metrics,
        ),
        proof("CPU in use", format!("{used:.2} cores"), Source::Metrics),
    ]))
}

/// A share, what it is a share of, and the figures for it.
type Share = (f64, &'static str, Vec<Proof>);

/// Share of TTFT, or of the requests' time, that is spent waiting for a place.
fn queue(view: &View<'_>) -> Option<Share> {
    let (times, lengths) = (queue_times(view), queue_lengths(view));
    if matches!(times, Some((seconds, _)) if seconds < QUEUE_SECONDS) {
        return None;
    }
    let times = times.map(|(_, share)| share);
    match (times, lengths) {
        (Some(times), Some(lengths)) => {
            let (mut worse, other) = if lengths.0 > times.0 {
                (lengths, times)
            } else {
                (times, lengths)
            };
            worse.2.extend(other.2);
            Some(worse)
        }
        (times, lengths) => times.or(lengths),
    }
}

/// Mean seconds that requests waited, and what share that is.
fn queue_times(view: &View<'_>) -> Option<(f64, Share)> {
    let waited = |seconds, source| proof("mean time in the queue", ms(seconds), source);
    if let Some((seconds, ttft)) = view.level.observed.queue_seconds.zip(view.ttft()) {
        let evidence = vec![
            waited(seconds, Source::Metrics),
            proof("mean TTFT", ms(ttft), Source::Client),
        ];
        return Some((seconds, (seconds / ttft, "the mean TTFT", evidence)));
    }
    let (seconds, share) = view.operation(spans::QUEUE)?;
    let evidence = vec![waited(seconds, Source::Traces)];
    Some((seconds, (share, "the requests' time", evidence)))
}

/// The share of the requests in flight that wait at any moment, which is the share of the requests'
/// time that is spent waiting (Little's law). Mean times leave out what waits still when the window
/// ends: where requests are long and few, those are the ones that wait longest.
fn queue_lengths(view: &View<'_>) -> Option<Share> {
    let observed = &view.level.observed;
    let waiting = observed.waiting?;
    let in_flight = view.level.concurrency;
    let counted = |mean: f64, most: Option<f64>| {
        let most = most.unwrap_or(mean);
        format!("{mean:.1} on average, {most:.0} at most")
    };
    let mut evidence = vec![proof(
        "requests that waited",
        counted(waiting, observed.waiting_max),
        Source::Metrics,
    )];
    evidence.extend(observed.running.map(|running| {
        let value = counted(running, observed.running_max);
        proof("requests that were computed", value, Source::Metrics)
    }));
    evidence.push(proof(
        "requests in flight",
        format!("{in_flight:.1} on average"),
        Source::Client,
    ));
    (in_flight > 0.0).then(|| {
        let share = (waiting / in_flight).min(1.0);
        (share, "the requests' time", evidence)
    })
}

/// Requests wait for a place in the batch.
pub(super) fn queueing(view: View<'_>) -> Option<Finding> {
    let (share, of, evidence) = queue(&view).filter(|(share, ..)| *share >= QUEUE_SHARE)?;
    let engine = view.deployment.map(|spec| &spec.engine);
    let full = view.level.observed.running_max.zip(view.places());
    let cause = match (full, engine) {
        (Some((most, places)), _) if most >= places => {
            let of = match view.pods {
                pods if pods > 1.0 => format!("the batches of {pods:.0} pods"),
                _ => "the batch".to_owned(),
            };
            format!("all {places:.0} places of {of} were taken, and the others waited for one")
        }
        (_, Some(engine)) if !engine.max_batch_wait.as_std().is_zero() => format!(
            "places were free, but the engine waits up to {} for company before it begins",
            engine.max_batch_wait
        ),
        _ => "requests come faster than they are answered, and wait for their turn".to_owned(),
    };
    let finding = view.finding(Class::Queueing, (share, of), cause);
    Some(finding.shown_by(evidence))
}

/// The KV cache has no room, so requests wait although the batch has places, or lose theirs.
pub(super) fn kv_cache(view: View<'_>) -> Option<Finding> {
    let observed = &view.level.observed;
    let usage = observed.kv_cache_max.filter(|usage| *usage >= KV_FULL)?;
    let lost = observed.preemptions.unwrap_or_default();
    let waits = observed.waiting_max.is_some_and(|most| most > 0.0);
    let batch_full = view
        .places()
        .zip(observed.running_max)
        .is_some_and(|(places, most)| most >= places);
    if lost == 0.0 && (!waits || batch_full) {
        return None;
    }
    let (share, of, evidence) = queue(&view).unwrap_or((0.0, "the mean TTFT", vec![]));
    let cause = if lost > 0.0 {
        format!("the KV cache ran full, and {lost:.0} sequences lost their place and began again")
    } else {
        "the KV cache is full before the batch is, so requests wait for another's memory".to_owned()
    };
    Some(
        view.finding(Class::KvCachePressure, (share, of), cause)
            .shown_by([proof(
                "KV cache in use, at most",
                percent(usage),
                Source::Metrics,
            )])
            .shown_by(evidence),
    )
}

/// The weights leave little memory for anything else.
pub(super) fn capacity(view: View<'_>) -> Option<Finding> {
    let weights = view.model?.weights_bytes? as f64;
    let observed = &view.level.observed;
    let (total, of) = match (observed.gpu_memory_total, observed.memory_limit) {
        (Some(total), _) if total > 0.0 => (total / view.pods, "the GPU's memory"),
        (_, Some(limit)) if limit > 0.0 => (limit / view.pods, "the memory limit"),
        _ => return None,
    };
    let share = weights / total;
    if share <= WEIGHTS_SHARE {
        return None;
    }
    let cause = format!("the weights take {} of {of}", percent(share));
    let gib = |bytes: f64| format!("{:.2} GiB", bytes / f64::from(1 << 30));
    let severity = if view.level.misses() && share > KV_FULL {
        Severity::Critical
    } else {
        Severity::Moderate
    };
    Some(
        view.finding(Class::Capacity, (share, of), cause)
            .with_severity(severity)
            .shown_by([
                proof("weights in memory", gib(weights), Source::Metrics),
                proof(of, gib(total), Source::Metrics),
            ]),
    )
}

/// Encoding the prompt takes a noticeable part of the wait for the first token.
pub(super) fn tokenisation(view: View<'_>) -> Option<Finding> {
    let (seconds, share_of_all) = view.operation(spans::TOKENIZE_INPUT)?;
    let (share, of) = match view.ttft() {
        Some(ttft) if ttft > 0.0 => (seconds / ttft, "the mean TTFT"),
        _ => (share_of_all, "the requests' time"),
    };
    if share < TOKENISE_SHARE || seconds < TOKENISE_SECONDS {
        return None;
    }
    let cause = "the tokenizer takes long for each prompt: it waits for a CPU, or does its work anew \
                 each time";
    Some(
        view.finding(Class::Tokenisation, (share, of), cause.to_owned())
            .with_confidence(Confidence::High)
            .shown_by([
                proof("mean time to encode a prompt", ms(seconds), Source::Traces),
                proof(
                    "its share of the requests' whole time",
                    percent(share_of_all),
                    Source::Traces,
                ),
            ]),
    )
}
