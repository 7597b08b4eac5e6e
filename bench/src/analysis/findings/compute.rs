//! What limits the model's own work: memory bandwidth, arithmetic, or neither.
use super::{Class, Confidence, Finding, Severity, Source, View, percent, proof};

/// From this share of the memory bandwidth on, it counts as used up.
pub(crate) const MEMORY_BOUND: f64 = 0.6;
const COMPUTE_BOUND: f64 = 0.5;
const UNUSED: f64 = 0.3;
/// Overhead is what is left where nothing else explains as much.
const EXPLAINED: f64 = 0.3;
const BUSY: f64 = 0.8;

/// The limit of the model's own work. It does harm only where pace itself misses its objectives.
pub(super) fn limit(view: View<'_>, explained: f64) -> Option<Finding> {
    let finding = by_probe(view, explained).or_else(|| by_gpu(view))?;
    let slow = view.misses_by(finding.class);
    let severity = match (slow, explained < EXPLAINED) {
        (true, true) => Severity::Critical,
        (true, false) => Severity::Moderate,
        (false, _) => Severity::Acceptable,
    };
    Some(finding.with_severity(severity))
}

fn by_probe(view: View<'_>, explained: f64) -> Option<Finding> {
    let used = view.utilisation?;
    // More than the whole means that the peak is not what the server multiplies with, or reads from.
    let is_share = |share: &f64| *share <= 1.0;
    let mbu = used.mbu.filter(is_share);
    let mfu = used.mfu.into_iter().chain(used.prefill_mfu);
    let mfu = mfu.filter(is_share).reduce(f64::max);
    let mut evidence = vec![];
    if let Some(mbu) = mbu {
        evidence.push(proof(
            "model bandwidth utilisation of decoding",
            percent(mbu),
            Source::Probe,
        ));
    }
    if let Some(mfu) = mfu {
        evidence.push(proof(
            "model FLOP/s utilisation",
            percent(mfu),
            Source::Probe,
        ));
    }
    if let Some(tpot) = view.level.figures.tpot {
        let value = format!("{:.2} ms", tpot.p50 as f64 / 1e3);
        evidence.push(proof("median TPOT", value, Source::Client));
    }
    let finding = |class, share, of, cause: &str| {
        Some(
            view.finding(class, (share, of), cause.to_owned())
                .with_confidence(Confidence::Medium)
                .shown_by(evidence.clone()),
        )
    };
    let bound = mbu.filter(|mbu| *mbu >= MEMORY_BOUND);
    if let Some(mbu) = bound.filter(|mbu| mfu.is_none_or(|mfu| mfu < *mbu)) {
        let cause = "each token reads all weights, and memory gives them no faster";
        return finding(Class::MemoryBandwidth, mbu, "the memory's bandwidth", cause);
    }
    let mfu = mfu?;
    if mfu >= COMPUTE_BOUND {
        let cause = "the arithmetic of prompts and batches takes all that the machine has";
        return finding(Class::Compute, mfu, "the machine's arithmetic", cause);
    }
    let mbu = mbu?;
    let busy = view.level.observed.busy.is_some_and(|busy| busy >= BUSY);
    if busy && mbu < UNUSED && mfu < UNUSED && explained < EXPLAINED {
        let cause = "the engine is busy, but uses neither memory nor arithmetic well: launches, \
                     synchronisation or host code take the time";
        let left = 1.0 - mbu.max(mfu);
        return finding(Class::Overhead, left, "the machine", cause)
            .map(|finding| finding.with_confidence(Confidence::Low));
    }
    None
}

/// By what the GPU says about itself.
fn by_gpu(view: View<'_>) -> Option<Finding> {
    let observed = &view.level.observed;
    let (busy, memory) = observed.gpu_utilization.zip(observed.gpu_memory_activity)?;
    let evidence = [
        proof("time in which a kernel ran", percent(busy), Source::Metrics),
        proof(
            "time in which the memory controller worked",
            percent(memory),
            Source::Metrics,
        ),
    ];
    let (class, share, of, cause) = if memory >= MEMORY_BOUND {
        let cause = "the GPU's memory works most of the time: each token reads all weights";
        (Class::MemoryBandwidth, memory, "the time", cause)
    } else if busy >= 0.9 {
        let cause = "the GPU computes all the time while its memory has time to spare";
        (Class::Compute, busy, "the time", cause)
    } else if busy < 0.5 && observed.busy.is_some_and(|busy| busy >= BUSY) {
        let cause = "requests are being computed all the time, but the GPU stands still for more \
                     than half of it: launches, synchronisation or host code";
        (Class::Overhead, 1.0 - busy, "the time", cause)
    } else {
        return None;
    };
    Some(
        view.finding(class, (share, of), cause.to_owned())
            .with_confidence(Confidence::Medium)
            .shown_by(evidence),
    )
}
