//! Remedies that change what lies in memory: precision, KV cache, context, limits.
use super::{
    Class, Patient, Priority, Projection, Recommendation, Risk, evidence, priority, seconds,
};
use crate::evidence::facts::bits_per_weight;
use candlepower_api::{
    deployment::Device, memory::OVERHEAD, precision::Precision, value::ByteSize,
};
use serde_json::json;

fn gib(bytes: f64) -> String {
    format!("{:.2} GiB", bytes / f64::from(1 << 30))
}

/// The next smaller precision that loses little.
fn smaller(precision: &str) -> Option<Precision> {
    match bits_per_weight(precision)? {
        bits if bits >= 16.0 => Some(Precision::Q8_0),
        bits if bits > 6.0 => Some(Precision::Q4_1),
        _ => None,
    }
}

/// Fewer bits for each weight: less to read for each token, and less memory.
pub(super) fn quantise(patient: &Patient<'_>) -> Option<Recommendation> {
    let found = patient.finding(Class::MemoryBandwidth);
    let full = patient.finding(Class::OutOfMemory);
    let full = full.or_else(|| patient.harm(Class::Capacity));
    let (finding, level) = full.or(found)?;
    let model = patient.model?;
    let now = model.precision.as_deref()?;
    let next = smaller(now)?;
    let ratio = bits_per_weight(next.as_str())? / bits_per_weight(now)?;
    let weights = model.weights_bytes? as f64;
    let mut impact = vec![Projection {
        metric: "weights in memory".to_owned(),
        now: gib(weights),
        projected: gib(weights * ratio),
        formula: format!("weights · bits of {next} / bits of {now}"),
    }];
    if let (Some((bound, _)), Some(tpot)) = (found, level.figures.tpot) {
        let tpot = tpot.mean / 1e6;
        let share = bound.share;
        impact.push(Projection {
            metric: "mean TPOT".to_owned(),
            now: seconds(tpot),
            projected: seconds(tpot * (1.0 - share + share * ratio)),
            formula: format!(
                "TPOT · (1 − MBU + MBU · {ratio:.2}), because only the reading of weights shrinks"
            ),
        });
    }
    Some(Recommendation {
        id: "quantise".to_owned(),
        answers: Some(finding.class),
        title: format!("Serve the weights in {next}"),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Medium,
        problem: finding.cause.clone(),
        solution: format!(
            "Set precision to {next} instead of {now}, and compare the answers' quality before it \
             reaches users."
        ),
        evidence: evidence(finding),
        impact,
        patch: patient
            .deployment
            .map(|_| json!({"precision": next.as_str()})),
    })
}

/// Sequences of the workload's longest request that one pod's memory for KV has room for; none where
/// that is not known, as on a GPU.
pub(super) fn sequences(patient: &Patient<'_>) -> Option<u32> {
    let (spec, model) = (patient.deployment?, patient.model?);
    let tokens = u64::try_from(patient.longest_prompt()? + patient.workload.output_tokens).ok()?;
    let left = || {
        let taken = model.weights_bytes? + OVERHEAD.bytes();
        let on_cpu = spec.resources.device() == Device::Cpu;
        on_cpu.then(|| spec.resources.memory.bytes().saturating_sub(taken))
    };
    let fixed = spec.engine.kv_cache_memory.map(ByteSize::bytes);
    let each = model.kv_bytes_per_token? * tokens.max(1);
    u32::try_from(fixed.or_else(left)?.checked_div(each)?).ok()
}

/// More memory for the KV cache.
pub(super) fn kv_cache(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, level) = patient.finding(Class::KvCachePressure)?;
    let most = level.observed.running_max.unwrap_or_default() / patient.pods;
    let engine = patient.deployment.map(|spec| &spec.engine);
    let now = engine.and_then(|engine| engine.kv_cache_memory);
    let places = engine.map_or(2.0 * most, |engine| f64::from(engine.max_batch_size));
    // Room for as many sequences as the batch has places, by what the present ones took.
    let factor = (places / most.max(1.0)).clamp(1.5, 16.0);
    let bytes = now.map(|now| {
        // A size in bytes is positive and far below 2^63.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let mebibytes = (now.bytes() as f64 * factor / f64::from(1 << 20)).ceil() as u64;
        ByteSize::mebibytes(mebibytes)
    });
    Some(Recommendation {
        id: "kv-cache-memory".to_owned(),
        answers: Some(finding.class),
        title: "Give the KV cache more memory".to_owned(),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: match bytes {
            Some(bytes) => format!(
                "Raise engine.kvCacheMemory to {bytes}, and the memory limit by as much where it \
                 leaves no room."
            ),
            None => "Raise the memory of the KV cache (the memory limit, or for vLLM \
                     --gpu-memory-utilization), or lower the longest sequence."
                .to_owned(),
        },
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: "sequences at once".to_owned(),
            now: format!("{most:.0}"),
            projected: format!("{:.0}", (most * factor).floor()),
            formula: format!("sequences at most · {factor:.1}, the growth of the cache"),
        }],
        patch: bytes.map(|bytes| json!({"engine": {"kvCacheMemory": bytes.to_string()}})),
    })
}

/// A shorter longest sequence, where requests are far shorter than it.
pub(super) fn context_limit(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, _) = patient
        .finding(Class::OutOfMemory)
        .or_else(|| patient.harm(Class::Capacity))
        .or_else(|| patient.finding(Class::KvCachePressure))?;
    let limit = patient.model?.context_length?;
    let longest = patient.longest_prompt()?;
    let needed = u64::try_from(longest + patient.workload.output_tokens).ok()?;
    // With half as much again for what tests do not show.
    let proposed = (needed + needed / 2).next_multiple_of(64);
    if proposed * 2 > limit {
        return None;
    }
    let engine = patient.deployment.map(|spec| &spec.engine);
    // A cache of a fixed size is shared by need, however long a sequence may be.
    if engine.is_some_and(|engine| engine.kv_cache_memory.is_some()) {
        return None;
    }
    Some(Recommendation {
        id: "context-limit".to_owned(),
        answers: Some(finding.class),
        title: format!("Limit sequences to {proposed} tokens"),
        priority: Priority::Low,
        effort: "minutes".to_owned(),
        risk: Risk::Medium,
        problem: format!(
            "memory is set aside for sequences of {limit} tokens, and the longest request needs \
             {needed}"
        ),
        solution: format!(
            "Set engine.maxContextLength to {proposed} where no user needs more: longer requests \
             are then refused."
        ),
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: "KV cache of a sequence of full length".to_owned(),
            now: "100 %".to_owned(),
            projected: format!("{:.0} %", 100.0 * proposed as f64 / limit as f64),
            formula: format!("{proposed} / {limit}, because a token's share is constant"),
        }],
        patch: patient
            .deployment
            .map(|_| json!({"engine": {"maxContextLength": proposed}})),
    })
}

/// A smaller KV cache of a fixed size, where the kernel ended the server for lack of memory.
pub(super) fn smaller_kv_cache(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, _) = patient.finding(Class::OutOfMemory)?;
    let spec = patient
        .deployment
        .filter(|spec| spec.resources.device() == Device::Cpu)?;
    let now = spec.engine.kv_cache_memory?;
    let then = ByteSize::mebibytes((now.bytes() / 2) >> 20);
    Some(Recommendation {
        id: "smaller-kv-cache".to_owned(),
        answers: Some(finding.class),
        title: format!("Give the KV cache {then} at most"),
        priority: Priority::Medium,
        effort: "minutes".to_owned(),
        risk: Risk::Medium,
        problem: finding.cause.clone(),
        solution: format!(
            "Set engine.kvCacheMemory to {then} instead of {now}, where the node has no more memory to give: \
             fewer requests are then computed at once, and the others wait."
        ),
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: "memory of the KV cache".to_owned(),
            now: gib(now.bytes() as f64),
            projected: gib(then.bytes() as f64),
            formula: "kvCacheMemory / 2".to_owned(),
        }],
        patch: Some(json!({"engine": {"kvCacheMemory": then.to_string()}})),
    })
}

/// A larger memory limit. That of a pod with a GPU is of the memory beside it, which the kernel ends servers for, too.
pub(super) fn more_memory(patient: &Patient<'_>) -> Option<Recommendation> {
    let spec = patient.deployment?;
    let full = || {
        let on_cpu = spec.resources.device() == Device::Cpu;
        patient.harm(Class::Capacity).filter(|_| on_cpu)
    };
    let killed = patient.finding(Class::OutOfMemory);
    let (finding, _) = killed.or_else(full)?;
    let now = spec.resources.memory;
    let then = ByteSize::mebibytes((now.bytes() * 2).div_ceil(1 << 20));
    Some(Recommendation {
        id: "memory-limit".to_owned(),
        answers: Some(finding.class),
        title: format!("Raise the memory limit to {then}"),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: format!("Set resources.memory to {then}, on a node that has as much."),
        evidence: evidence(finding),
        impact: vec![if finding.class == Class::OutOfMemory {
            Projection {
                metric: "memory limit".to_owned(),
                now: gib(now.bytes() as f64),
                projected: gib(then.bytes() as f64),
                formula: "twice the limit that was too little; how much is needed nobody saw"
                    .to_owned(),
            }
        } else {
            Projection {
                metric: "weights' share of memory".to_owned(),
                now: format!("{:.0} %", finding.share * 100.0),
                projected: format!("{:.0} %", finding.share * 50.0),
                formula: "weights / limit".to_owned(),
            }
        }],
        patch: Some(json!({"resources": {"memory": then.to_string()}})),
    })
}

/// Attention that does not write its scores to memory, for long prompts on a GPU.
pub(super) fn flash_attention(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, level) = patient.finding(Class::Compute)?;
    let on_gpu = patient.model?.device.as_deref() == Some("cuda");
    let long = patient
        .longest_prompt()
        .is_some_and(|tokens| tokens >= 2048);
    let prefill = level.observed.prefill_seconds?;
    if !on_gpu || !long {
        return None;
    }
    Some(Recommendation {
        id: "flash-attention".to_owned(),
        answers: Some(finding.class),
        title: "Use fused (flash) attention for prompts".to_owned(),
        priority: Priority::Low,
        effort: "days".to_owned(),
        risk: Risk::Medium,
        problem: "the prefill of long prompts is bound by arithmetic, of which attention's part \
                  grows with the square of the length"
            .to_owned(),
        solution: "Check that the server's image was built with fused attention for this GPU."
            .to_owned(),
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: "mean prefill time".to_owned(),
            now: seconds(prefill),
            projected: "not projected".to_owned(),
            formula: "attention's share is not exported; a re-run measures it".to_owned(),
        }],
        patch: None,
    })
}
