//! Servers that were ended while the load was on.
use super::{Class, Confidence, Finding, Proof, Scene, Severity, Source, proof};
use crate::analysis::{ends::EndUnderLoad, level::Level};
use candlepower_api::value::ByteSize;

/// So many ends are quoted.
const QUOTED: usize = 3;

/// The kernel ended a server for lack of memory: nothing that was measured beside it weighs more.
pub(super) fn out_of_memory(scene: Scene<'_>) -> Option<Finding> {
    let servers = || {
        let all = scene.levels.iter().flat_map(|level| {
            let ended = level.ended.iter();
            ended.map(move |one| (level, one))
        });
        all.filter(|(_, one)| one.end.is_of_server())
    };
    let mut killed: Vec<_> = servers()
        .filter(|(_, one)| one.end.is_out_of_memory())
        .collect();
    killed.sort_by_key(|(_, one)| one.end.at);
    let (level, first) = *killed.first()?;
    let mut evidence: Vec<Proof> = killed.iter().take(QUOTED).map(|one| told(*one)).collect();
    if killed.len() > QUOTED {
        let count = format!("{} in all", killed.len());
        evidence.push(proof("containers out of memory", count, Source::Kubernetes));
    }
    evidence.extend(limit(scene, level));
    evidence.extend(level.observed.memory_max.map(|most| {
        let most = format!(
            "{} at most, as far as it was scraped",
            human(most / scene.pods)
        );
        proof("memory in use", most, Source::Metrics)
    }));
    Some(Finding {
        class: Class::OutOfMemory,
        severity: Severity::Critical,
        confidence: Confidence::High,
        scenario: level.name.clone(),
        share: killed.len() as f64 / servers().count().max(1) as f64,
        share_of: "the times that a server ended".to_owned(),
        cause: format!(
            "the kernel ended the server for lack of memory, first under {} with {:.1} requests in flight",
            level.load_text(),
            first.in_flight
        ),
        evidence,
    })
}

fn told((level, one): (&Level, &EndUnderLoad)) -> Proof {
    let load = format!(
        "under {} in {}, with {:.1} requests in flight",
        level.load_text(),
        level.name,
        one.in_flight
    );
    proof(
        "out of memory",
        format!("{one}, {load}"),
        Source::Kubernetes,
    )
}

fn limit(scene: Scene<'_>, level: &Level) -> Option<Proof> {
    let asked = scene.deployment.map(|spec| {
        let limit = spec.resources.memory.human();
        proof("memory limit", limit, Source::Kubernetes)
    });
    let exported = level.observed.memory_limit;
    asked.or_else(|| {
        let limit = human(exported? / scene.pods);
        Some(proof("memory limit", limit, Source::Metrics))
    })
}

fn human(bytes: f64) -> String {
    // Byte counts are positive and far below 2^63.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let whole = bytes.max(0.0) as u64;
    ByteSize::new(whole).human()
}
