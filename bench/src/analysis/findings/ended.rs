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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::testing::{Plant, objectives, out_of_memory},
        evidence::ends::ContainerEnd,
        report::{Options, Report, build},
    };

    /// The report of a healthy run with these ends.
    fn with_ends(ends: Vec<ContainerEnd>) -> Report {
        let at = |users| Plant {
            users,
            ..Plant::default()
        };
        let (run, mut evidence) = Plant::run(&[at(4), at(8)]);
        evidence.container_ends = Some(ends);
        let options = Options {
            objectives: objectives(),
            ..Options::default()
        };
        build(&run, &evidence, &options)
    }

    #[test]
    fn a_server_that_was_ended_for_lack_of_memory_is_the_primary_bottleneck() {
        let crashed = ContainerEnd {
            reason: "Error".to_owned(),
            exit_code: 1,
            ..out_of_memory(10_000_000)
        };
        let report = with_ends(vec![crashed, out_of_memory(70_000_000)]);
        let first = &report.findings[0];
        assert_eq!(
            (first.class, first.severity, first.confidence),
            (Class::OutOfMemory, Severity::Critical, Confidence::High)
        );
        assert_eq!(
            report.conclusion.primary_bottleneck,
            Some(Class::OutOfMemory)
        );
        assert_eq!((first.scenario.as_str(), first.share), ("8 users", 0.5));
        let told = &first.evidence[0].value;
        assert!(
            told.contains("70 s after the run had begun, under 8 users"),
            "{told}"
        );
        assert!(first.evidence.iter().any(|one| one.what == "memory limit"));
    }

    #[test]
    fn a_server_that_was_ended_for_another_reason_or_a_sidecar_is_no_lack_of_memory() {
        let crashed = ContainerEnd {
            reason: "Error".to_owned(),
            ..out_of_memory(10_000_000)
        };
        let sidecar = ContainerEnd {
            container: "prometheus".to_owned(),
            ..out_of_memory(10_000_000)
        };
        let report = with_ends(vec![crashed, sidecar]);
        let out = |one: &Finding| one.class == Class::OutOfMemory;
        assert!(!report.findings.iter().any(out), "{:?}", report.findings);
    }
}
