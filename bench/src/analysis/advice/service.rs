//! Remedies around the server: start, replicas, queue, streaming, the way in and out.
use super::{
    Class, Patient, Priority, Projection, Recommendation, Risk, evidence, priority, seconds,
};
use crate::{objectives::Metric, record::ErrorClass};
use serde_json::json;

/// A load generator that keeps up.
pub(super) fn generator(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, _) = patient.harm(Class::OverloadedGenerator)?;
    Some(Recommendation {
        id: "load-generator".to_owned(),
        answers: Some(finding.class),
        title: "Measure again from a machine with time to spare".to_owned(),
        priority: Priority::High,
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: "Run the load generator on another node than the server, with a CPU of its own, \
                   or lower the load."
            .to_owned(),
        evidence: evidence(finding),
        impact: vec![],
        patch: None,
    })
}

/// A model that is in memory before requests come.
pub(super) fn preload(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, _) = patient.finding(Class::ColdStart)?;
    let start = patient.cold_start?;
    let off = patient.deployment.is_some_and(|spec| !spec.preload);
    let (first, steady) = (start.first as f64 / 1e6, start.steady as f64 / 1e6);
    Some(Recommendation {
        id: "preload".to_owned(),
        answers: Some(finding.class),
        title: "Load the model before the first request".to_owned(),
        priority: priority(finding),
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: if off {
            "Set preload to true: a pod is Ready only when the model is loaded and warm.".to_owned()
        } else {
            "Send a request before users do, or let readiness wait for the model's warm-up."
                .to_owned()
        },
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: "TTFT of the first request".to_owned(),
            now: seconds(first),
            projected: seconds(steady),
            formula: "the median TTFT of later requests".to_owned(),
        }],
        patch: off.then(|| json!({"preload": true})),
    })
}

/// A tokenizer that does not make requests wait.
pub(super) fn tokenizer(patient: &Patient<'_>) -> Option<Recommendation> {
    let (finding, level) = patient.finding(Class::Tokenisation)?;
    let ttft = level.figures.ttft.map(|ttft| ttft.mean / 1e6);
    let impact = ttft.map(|ttft| Projection {
        metric: "mean TTFT".to_owned(),
        now: seconds(ttft),
        projected: seconds(ttft * (1.0 - finding.share)),
        formula: "TTFT − time to encode the prompt, at its limit of none".to_owned(),
    });
    Some(Recommendation {
        id: "tokenizer".to_owned(),
        answers: Some(finding.class),
        title: "Find out what the tokenizer waits for".to_owned(),
        priority: priority(finding),
        effort: "hours".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: "Look at a slow trace's tokenize_input span beside the CPU in use: with a busy CPU, \
                   give the server one core more; with an idle one, the tokenizer is being loaded or \
                   locked for each request."
            .to_owned(),
        evidence: evidence(finding),
        impact: impact.into_iter().collect(),
        patch: None,
    })
}

/// More pods, where one cannot carry the load.
pub(super) fn replicas(patient: &Patient<'_>) -> Option<Recommendation> {
    let classes = [Class::Queueing, Class::Compute, Class::MemoryBandwidth];
    let mut worst = patient.findings.iter().map(|one| one.class);
    let class = worst.find(|class| classes.contains(class))?;
    let (finding, level) = patient.harm(class).filter(|(_, level)| level.misses())?;
    let now = patient
        .deployment
        .map_or(1, |spec| spec.desired_replicas().max(1));
    let fixed = patient.deployment.filter(|spec| spec.autoscaling.is_none());
    let then = now + 1;
    let rate = level.figures.output_tokens_per_second;
    Some(Recommendation {
        id: "replicas".to_owned(),
        answers: Some(finding.class),
        title: format!("Serve from {then} pods"),
        priority: Priority::Medium,
        effort: "minutes".to_owned(),
        risk: Risk::Low,
        problem: format!(
            "{} misses its objectives: {}",
            level.load_text(),
            finding.cause
        ),
        solution: if fixed.is_some() || patient.deployment.is_none() {
            format!("Run {then} replicas instead of {now}, each on its own cores or GPU.")
        } else {
            "Raise autoscaling.maxReplicas or lower its targets, so that pods come before the queue."
                .to_owned()
        },
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: "throughput".to_owned(),
            now: format!("{rate:.1} tokens/s"),
            projected: format!("{:.1} tokens/s", rate * f64::from(then) / f64::from(now)),
            formula: format!("throughput · {then} / {now}, where pods share nothing"),
        }],
        patch: fixed.map(|_| json!({"replicas": then})),
    })
}

/// Refused requests are answered by capacity, or by a longer queue where waiting is better.
pub(super) fn queue_depth(patient: &Patient<'_>) -> Option<Recommendation> {
    let spec = patient.deployment?;
    let refused = |level: &crate::analysis::level::Level| {
        let errors = &level.figures.errors;
        errors
            .get(&ErrorClass::Overloaded)
            .copied()
            .unwrap_or_default()
    };
    let level = patient.levels.iter().max_by_key(|level| refused(level))?;
    let count = refused(level);
    let all = level.figures.succeeded + level.figures.failed;
    if count * 100 < all.max(1) {
        return None;
    }
    let now = spec.engine.max_queue_depth;
    let then = (now * 2).max(16);
    let share = 100.0 * count as f64 / all as f64;
    Some(Recommendation {
        id: "queue-depth".to_owned(),
        answers: None,
        title: format!("Let {then} requests wait"),
        priority: Priority::Low,
        effort: "minutes".to_owned(),
        risk: Risk::Medium,
        problem: format!("{share:.1} % of the requests were refused because {now} waited already"),
        solution: format!(
            "Raise engine.maxQueueDepth from {now} to {then} where users would rather wait than \
             be refused; it does not make anything faster."
        ),
        evidence: vec![format!("{count} of {all} requests refused (client)")],
        impact: vec![Projection {
            metric: "refused requests".to_owned(),
            now: format!("{share:.1} %"),
            projected: "not projected".to_owned(),
            formula: "depends on how requests arrive; a re-run measures it".to_owned(),
        }],
        patch: Some(json!({"engine": {"maxQueueDepth": then}})),
    })
}

/// Tokens as they are made.
pub(super) fn streaming(patient: &Patient<'_>) -> Option<Recommendation> {
    if patient.workload.stream {
        return None;
    }
    let limit = |level: &crate::analysis::level::Level| {
        let all = level.verdicts.iter();
        let mut ttft = all.filter(|one| one.objective.metric == Metric::TtftP95);
        ttft.next().map(|one| one.objective.limit)
    };
    let level = patient.levels.iter().find(|level| {
        let e2e = level.figures.e2e.map(|e2e| e2e.p95 as f64);
        e2e.zip(limit(level))
            .is_some_and(|(e2e, limit)| e2e > limit)
    })?;
    let e2e = level.figures.e2e?.p95 as f64 / 1e6;
    let prefill = level.observed.first_token_seconds;
    Some(Recommendation {
        id: "streaming".to_owned(),
        answers: None,
        title: "Stream the answers".to_owned(),
        priority: Priority::High,
        effort: "hours".to_owned(),
        risk: Risk::Low,
        problem: "without a stream, users see nothing until the whole answer is there".to_owned(),
        solution: "Ask for a stream (`stream: true`) and show tokens as they come.".to_owned(),
        evidence: vec![format!(
            "P95 of the whole answer: {} (client)",
            seconds(e2e)
        )],
        impact: vec![Projection {
            metric: "time until users see something".to_owned(),
            now: seconds(e2e),
            projected: prefill.map_or_else(|| "not projected".to_owned(), seconds),
            formula: "the server's own mean time to the first token".to_owned(),
        }],
        patch: None,
    })
}

/// The way to the server and back.
pub(super) fn network(patient: &Patient<'_>) -> Option<Recommendation> {
    let found = [Class::Upstream, Class::SlowClient];
    let (finding, _) = found.iter().find_map(|&class| patient.finding(class))?;
    Some(Recommendation {
        id: "network".to_owned(),
        answers: Some(finding.class),
        title: "Look at what lies between clients and the server".to_owned(),
        priority: priority(finding),
        effort: "hours".to_owned(),
        risk: Risk::Low,
        problem: finding.cause.clone(),
        solution: "Send the same load from inside the cluster, straight to a pod: where the loss is \
                   gone, it is the proxy's (buffering of streams, connection limits) or the client's."
            .to_owned(),
        evidence: evidence(finding),
        impact: vec![Projection {
            metric: finding.share_of.clone(),
            now: "100 %".to_owned(),
            projected: format!("{:.0} %", 100.0 * (1.0 - finding.share)),
            formula: "what the server itself takes".to_owned(),
        }],
        patch: None,
    })
}
