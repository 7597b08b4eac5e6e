//! Remedies that change how requests are computed: CPU, batch, waiting, prefill.
use super::{
    Class, Patient, Priority, Projection, Recommendation, Risk, evidence, priority, seconds,
};
use crate::analysis::level::Level;
use candlepower_api::{benchmark::MetricsDialect, value::CpuQuantity};
use serde_json::json;

/// A CPU limit that does not stop threads which have work.
pub(super) fn cpu_limit(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, level) = patient.finding(Class::ThrottledCpu)?;
    let observed = &level.observed;
    let wanted = (observed.cpu_cores? + observed.throttled_seconds_per_second?) / patient.pods;
    let cores = wanted.ceil().max(1.0);
    let mut impact = vec![];
    if let Some(tpot) = level.figures.tpot {
        let tpot = tpot.mean / 1e6;
        impact.push(Projection {
            metric: "mean TPOT".to_owned(),
            now: seconds(tpot),
            projected: seconds(tpot * (1.0 - finding.share)),
            formula: "TPOT · (1 − refused CPU time / wanted CPU time)".to_owned(),
        });
    }
    let quantity: Option<CpuQuantity> = format!("{cores}").parse().ok();
    Some(Recommendation {
        id: "cpu-limit".to_owned(),
        answers: Some(finding.class),
        title: format!("Raise the CPU limit to {cores} cores"),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: format!(
            "Set resources.cpu to {cores}: the server's threads come from the limit, and each \
             needs a whole core."
        ),
        evidence: evidence(finding),
        impact,
        patch: patient
            .deployment
            .and(quantity)
            .map(|cpu| json!({"resources": {"cpu": cpu.to_string()}})),
    })
}

/// More places in the batch.
pub(super) fn batch_size(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, level) = patient.harm(Class::Queueing)?;
    let crowd = Crowd::of(level, patient.pods)?;
    let now = patient
        .deployment
        .map_or(crowd.running, |spec| f64::from(spec.engine.max_batch_size));
    if crowd.running < now || crowd.waiting < 0.5 {
        return None;
    }
    let then = places(patient, now)?;
    let option = match patient.dialect {
        Some(MetricsDialect::Vllm) => "--max-num-seqs",
        Some(MetricsDialect::Llamacpp) => "--parallel",
        _ => "engine.maxBatchSize",
    };
    let impact = [first_token(level, &crowd, then), pace(level, &crowd, then)];
    Some(Recommendation {
        id: "batch-size".to_owned(),
        answers: Some(finding.class),
        title: format!("Compute up to {then} requests at once"),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Medium,
        problem: finding.cause.clone(),
        solution: format!(
            "Raise {option} from {now:.0} to {then}, which the highest load that was measured needs \
             as far as the KV cache has memory for it. Each token takes somewhat longer in a larger \
             batch."
        ),
        evidence: evidence(finding),
        impact: impact.into_iter().flatten().collect(),
        patch: patient
            .deployment
            .map(|_| json!({"engine": {"maxBatchSize": then}})),
    })
}

/// Requests inside one pod.
struct Crowd {
    /// The most that were computed at once.
    running: f64,
    /// Those that waited, on average.
    waiting: f64,
    /// The most that waited.
    waiting_max: f64,
}

impl Crowd {
    fn of(level: &Level, pods: f64) -> Option<Self> {
        let observed = &level.observed;
        let waiting = observed.waiting?;
        Some(Self {
            running: observed.running_max? / pods,
            waiting: waiting / pods,
            waiting_max: observed.waiting_max.unwrap_or(waiting) / pods,
        })
    }

    /// Requests that find a place where there are so many.
    fn computed(&self, places: u32) -> f64 {
        (self.running + self.waiting).min(f64::from(places))
    }
}

/// Places for all requests of the highest load that was measured, at most eight times as many as `now`,
/// and no more than the KV cache has memory for; none where that is not more than there are.
fn places(patient: &Patient<'_>, now: f64) -> Option<u32> {
    let crowds = patient.levels.iter();
    let crowds = crowds.filter_map(|level| Crowd::of(level, patient.pods));
    let most = crowds
        .map(|crowd| crowd.running + crowd.waiting_max)
        .fold(0.0, f64::max);
    // A batch size is between 1 and 1024.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let wanted = (most.min(now * 8.0).ceil().clamp(2.0, 1024.0) as u32).next_power_of_two();
    let then = super::memory::sequences(patient).map_or(wanted, |room| wanted.min(room));
    (f64::from(then) > now).then_some(then)
}

/// TTFT without the wait for a place. All of it is the server's own time: the clients' is of other
/// requests, and the difference of the two would be less than a prompt takes.
fn first_token(level: &Level, crowd: &Crowd, places: u32) -> Option<Projection> {
    let observed = &level.observed;
    let (first, queue) = observed.first_token_seconds.zip(observed.queue_seconds)?;
    let inside = crowd.running + crowd.waiting;
    let left = (inside - crowd.computed(places)) / crowd.waiting;
    let least = observed.prefill_seconds.unwrap_or_default();
    Some(Projection {
        metric: "mean TTFT inside the server".to_owned(),
        now: seconds(first),
        projected: seconds((first - queue * (1.0 - left)).max(least)),
        formula:
            "TTFT − queue · (1 − requests that still wait / requests that wait), but no less than \
                  the prefill; the longer steps of a larger batch are not in it"
                .to_owned(),
    })
}

/// TPOT between the two limits of a roofline.
fn pace(level: &Level, crowd: &Crowd, places: u32) -> Option<Projection> {
    let tpot = level.figures.tpot?.mean / 1e6;
    let now = level.observed.batch.unwrap_or(crowd.running).max(1.0);
    let growth = (crowd.computed(places) / now).max(1.0);
    Some(Projection {
        metric: "mean TPOT".to_owned(),
        now: seconds(tpot),
        projected: format!("{} to {}", seconds(tpot), seconds(tpot * growth)),
        formula: format!(
            "TPOT where a step waits for the weights, which it reads once for all, to TPOT · \
             {growth:.1} where it waits for arithmetic, which each sequence adds to"
        ),
    })
}

/// No waiting for company.
pub(super) fn batch_wait(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, level) = patient.finding(Class::Queueing)?;
    let wait = patient.deployment?.engine.max_batch_wait;
    if wait.as_std().is_zero() {
        return None;
    }
    let ttft = level.figures.ttft.map(|ttft| ttft.mean / 1e6);
    let impact = ttft.map(|ttft| Projection {
        metric: "mean TTFT".to_owned(),
        now: seconds(ttft),
        projected: seconds((ttft - wait.as_std().as_secs_f64()).max(0.0)),
        formula: "TTFT − engine.maxBatchWait, where the engine was idle".to_owned(),
    });
    Some(Recommendation {
        id: "batch-wait".to_owned(),
        answers: Some(finding.class),
        title: "Begin without waiting for company".to_owned(),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: format!("an idle engine waits up to {wait} before the first step"),
        solution: "Set engine.maxBatchWait to 0s: later requests join a running batch anyway."
            .to_owned(),
        evidence: evidence(finding),
        impact: impact.into_iter().collect(),
        patch: Some(json!({"engine": {"maxBatchWait": "0s"}})),
    })
}

/// How much slower the slowest gaps may be than the usual one.
const STALL: f64 = 5.0;

/// Smaller pieces of prompts between the tokens of others.
pub(super) fn prefill_chunk(patient: &Patient<'_>) -> Option<Recommendation> {
    let spec = patient.deployment?;
    let stalled = |gaps: &crate::figures::Distribution| gaps.p99 as f64 > STALL * gaps.p50 as f64;
    let mut levels = patient.levels.iter();
    let level = levels.find(|level| {
        let gaps = level.figures.itl.as_ref();
        level.misses() && gaps.is_some_and(stalled)
    })?;
    let gaps = level.figures.itl?;
    let now = spec.engine.prefill_chunk;
    let longest = patient.longest_prompt()?;
    if longest.min(now) < 128 {
        return None;
    }
    let then = (longest.min(now) / 2).max(64);
    let (p50, p99) = (gaps.p50 as f64 / 1e6, gaps.p99 as f64 / 1e6);
    let shrink = f64::from(then) / f64::from(longest.min(now));
    Some(Recommendation {
        id: "prefill-chunk".to_owned(),
        answers: None,
        title: format!("Compute prompts in pieces of {then} tokens"),
        priority: Priority::Low,
        effort: "minutes".to_owned(),
        risk: Risk::Medium,
        problem: "answers stall while another request's prompt is computed".to_owned(),
        solution: format!(
            "Lower engine.prefillChunk from {now} to {then}. Prompts themselves take somewhat longer."
        ),
        evidence: vec![
            format!("median gap between tokens: {} (client)", seconds(p50)),
            format!("P99 of the gaps: {} (client)", seconds(p99)),
        ],
        impact: vec![Projection {
            metric: "P99 of the gaps between tokens".to_owned(),
            now: seconds(p99),
            projected: seconds(p50 + (p99 - p50) * shrink),
            formula: format!("P50 + (P99 − P50) · {shrink:.2}, the piece's new share"),
        }],
        patch: Some(json!({"engine": {"prefillChunk": then}})),
    })
}

/// Reuse of equal prompt beginnings.
pub(super) fn prefix_cache(patient: &Patient<'_>) -> Option<Recommendation> {
    let spec = patient.deployment?;
    if spec.engine.prefix_caching {
        return None;
    }
    let level = patient.levels.iter().find(|level| {
        let prefill = level.observed.prefill_seconds.unwrap_or_default();
        let ttft = level.figures.ttft.map(|ttft| ttft.mean / 1e6);
        level.misses() && ttft.is_some_and(|ttft| prefill > 0.3 * ttft)
    })?;
    let (prefill, ttft) = (level.observed.prefill_seconds?, level.figures.ttft?);
    let ttft = ttft.mean / 1e6;
    Some(Recommendation {
        id: "prefix-cache".to_owned(),
        answers: None,
        title: "Reuse equal prompt beginnings".to_owned(),
        priority: Priority::Medium,
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: "every prompt is computed from its first token, also where it begins like an \
                  earlier one"
            .to_owned(),
        solution: "Set engine.prefixCaching to true. It helps as far as real prompts share a \
                   beginning, such as a system prompt; generated load does not."
            .to_owned(),
        evidence: vec![format!(
            "mean prefill time: {} (server metrics) of a mean TTFT of {} (client)",
            seconds(prefill),
            seconds(ttft)
        )],
        impact: vec![Projection {
            metric: "mean TTFT".to_owned(),
            now: seconds(ttft),
            projected: format!("down to {}", seconds((ttft - prefill).max(0.0))),
            formula: "TTFT − prefill · shared share of the prompt, here at its limit of 1"
                .to_owned(),
        }],
        patch: Some(json!({"engine": {"prefixCaching": true}})),
    })
}
