//! What a report cannot say, and why, so that nothing of it is taken for a figure. Pure.
use super::model::Report;
use crate::{
    analysis::{level::Level, observed::Observed},
    evidence::{Missing, gpus::CURE},
    figures::{output_tokens, succeeded},
    record::{RequestRecord, Run},
};

/// Times of tokens that answers did not have, although they were whole.
pub(super) fn of_tokens(run: &Run) -> Vec<Missing> {
    let mut missing = vec![];
    for scenario in &run.scenarios {
        let answers = || scenario.requests.iter().filter(|one| succeeded(one));
        let all = answers().count();
        let whole = answers().filter(|one| one.tokens.is_empty()).count();
        if whole > 0 {
            let why = if run.workload.stream {
                format!(
                    "{whole} of {all} answers came in one piece: the target did not stream them, although it was asked to"
                )
            } else {
                "answers were not streamed; set workload.stream".to_owned()
            };
            missing.push(lack(
                format!("TTFT, TPOT and gaps between tokens in {}", scenario.name),
                why,
            ));
        }
        let short = |one: &&RequestRecord| !one.tokens.is_empty() && output_tokens(one) < 2;
        if all > 0 && answers().filter(short).count() == all {
            let why = "every answer had a single token; ask for more by workload.outputTokens";
            missing.push(lack(format!("TPOT in {}", scenario.name), why.to_owned()));
        }
    }
    missing
}

/// Everything that a report lacks: what was noted while it was measured, and what it has no figure for.
pub(super) fn all(report: &Report) -> Vec<Missing> {
    let mut missing = report.missing.clone();
    let found = [
        versions(report),
        machine(report),
        resources(report),
        intervals(report),
        ends(report),
    ];
    for one in found.into_iter().flatten() {
        if missing.iter().all(|known| known.what != one.what) {
            missing.push(one);
        }
    }
    missing
}

/// Whether the model runs on the CPU, so that nothing of a GPU is missing.
pub(super) fn runs_on_cpu(report: &Report) -> bool {
    let device = report
        .model
        .as_ref()
        .and_then(|model| model.device.as_deref());
    device == Some("cpu")
}

fn versions(report: &Report) -> Vec<Missing> {
    let silent = "it does not say which version it is";
    let model = report.model.as_ref();
    [
        (
            report.server.is_some() && report.versions.server.is_none(),
            "version of the server",
            silent,
        ),
        (
            report.traces_source.is_some() && report.versions.traces.is_none(),
            "version of what keeps the traces",
            silent,
        ),
        (
            report.metrics_source.is_some() && report.versions.metrics.is_none(),
            "version of what collected the metrics",
            silent,
        ),
        (
            report.server.is_none(),
            "name of the server's software",
            "its list of models does not say who owns them",
        ),
        (
            model.is_none_or(|model| model.precision.is_none()),
            "precision of the model",
            "the server does not export it",
        ),
    ]
    .into_iter()
    .filter_map(said)
    .collect()
}

fn machine(report: &Report) -> Vec<Missing> {
    let Some(machine) = &report.machine else {
        // Why nothing is known of it is noted where it was looked for.
        return vec![];
    };
    let unread = "Linux does not say it where it was looked for";
    let gpus = !runs_on_cpu(report) && machine.gpus.is_empty();
    let unnamed = format!("nothing that was read names one; {CURE}");
    [
        (gpus, "name of the GPU", unnamed.as_str()),
        (machine.cpu.is_none(), "name of the CPU", unread),
        (machine.cores.is_none(), "number of cores", unread),
        (machine.memory_bytes.is_none(), "size of the RAM", unread),
        (machine.system.is_none(), "operating system", unread),
        (machine.kernel.is_none(), "version of the kernel", unread),
        (
            machine.disks.is_empty(),
            "storage of the server's machine",
            unread,
        ),
    ]
    .into_iter()
    .filter_map(said)
    .collect()
}

/// Series that the server did not export in any scenario.
fn resources(report: &Report) -> Vec<Missing> {
    let never = |value: fn(&Observed) -> Option<f64>| {
        let known = |level: &Level| value(&level.observed).is_some();
        !report.levels.is_empty() && !report.levels.iter().any(known)
    };
    let why = if report.metrics_source.is_some() {
        "the server's metrics do not have it"
    } else {
        "there are no metrics of the server"
    };
    let gpu = !runs_on_cpu(report);
    let why_gpu = if report.gpu_source.is_some() {
        "what dcgm-exporter said of the GPUs does not have it".to_owned()
    } else {
        format!("{why}; {CURE}")
    };
    let why_gpu = why_gpu.as_str();
    [
        (
            gpu && never(|one| one.gpu_utilization),
            "GPU utilisation",
            why_gpu,
        ),
        (
            gpu && never(|one| one.gpu_memory_max),
            "GPU memory",
            why_gpu,
        ),
        (
            gpu && never(|one| one.gpu_temperature_max),
            "GPU temperature",
            why_gpu,
        ),
        (gpu && never(|one| one.gpu_power), "GPU power", why_gpu),
        (never(|one| one.cpu_cores), "CPU usage", why),
        (never(|one| one.throttled_periods), "CPU throttling", why),
        (never(|one| one.memory_max), "RAM usage", why),
        (never(|one| one.disk_read_per_second), "disk I/O", why),
        (never(|one| one.network_sent_per_second), "network I/O", why),
        (never(|one| one.kv_cache_max), "use of the KV cache", why),
        (
            never(|one| one.restarts),
            "restarts of the server",
            "they are seen by scrapes alone; kubectl get pods counts them",
        ),
        (
            never(|one| one.node_cpu_cores),
            "what the whole node used",
            "it is read where the load generator runs on the server's machine",
        ),
    ]
    .into_iter()
    .filter_map(said)
    .collect()
}

/// What stands where nobody told how the target's containers fare.
pub(super) const ENDS: &str = "containers of the target that ended, such as for lack of memory";

fn ends(report: &Report) -> Vec<Missing> {
    let why = "ends of containers are read of an LLMDeployment only, by an LLMBenchmark or by the command that is given its name; \
               kubectl describe pod says how one ended";
    said((report.container_ends.is_none(), ENDS, why))
        .into_iter()
        .collect()
}

/// Figures whose interval needs more requests than there were.
fn intervals(report: &Report) -> Vec<Missing> {
    let without = |known: fn(&Level) -> bool| {
        let all = report.levels.iter().filter(|level| !known(level));
        let names: Vec<_> = all
            .map(|level| format!("{} ({} requests)", level.name, level.figures.succeeded))
            .collect();
        names.join(", ")
    };
    let lacks = [
        (
            "TTFT P95",
            without(|one| one.figures.ttft.is_none() || one.intervals.ttft_p95.is_some()),
        ),
        (
            "TPOT",
            without(|one| one.figures.tpot.is_none() || one.intervals.tpot.is_some()),
        ),
    ];
    lacks
        .into_iter()
        .filter(|(_, scenarios)| !scenarios.is_empty())
        .map(|(figure, scenarios)| {
            let what = format!("95 % confidence interval of {figure}");
            lack(what, format!("too few requests: {scenarios}"))
        })
        .collect()
}

fn said((is_missing, what, why): (bool, &str, &str)) -> Option<Missing> {
    is_missing.then(|| lack(what.to_owned(), why.to_owned()))
}

const fn lack(what: String, why: String) -> Missing {
    Missing { what, why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::testing::Plant,
        evidence::{facts::Machine, series::Quantity},
    };

    fn whats(report: &Report) -> Vec<String> {
        all(report).into_iter().map(|one| one.what).collect()
    }

    #[test]
    fn what_is_printed_as_not_known_is_listed_as_missing_once() {
        let mut report = Plant::report(&[Plant::default()]);
        report.machine = Some(Machine::default());
        let missing = whats(&report);
        for what in [
            "version of what keeps the traces",
            "operating system",
            "storage of the server's machine",
            "disk I/O",
        ] {
            let times = missing.iter().filter(|one| *one == what).count();
            assert_eq!(times, 1, "{what} in {missing:?}");
        }
        report.missing = all(&report);
        assert_eq!(
            whats(&report),
            missing,
            "said once, however often it is asked"
        );
    }

    #[test]
    fn a_model_on_the_cpu_lacks_no_gpu_and_another_does() {
        let mut report = Plant::report(&[Plant::default()]);
        report.machine = Some(Machine::default());
        report.missing.clear();
        assert!(!whats(&report).iter().any(|what| what.contains("GPU")));
        report.model.as_mut().unwrap().device = Some("cuda".to_owned());
        let missing = whats(&report);
        for what in ["name of the GPU", "GPU memory", "GPU temperature"] {
            assert!(missing.iter().any(|one| one == what), "{what}: {missing:?}");
        }
        let why = |report: &Report, what: &str| {
            let found = all(report).into_iter().find(|one| one.what == what);
            found.unwrap().why
        };
        assert!(why(&report, "GPU power").contains("--gpu-metrics-url"));
        assert!(why(&report, "name of the GPU").contains("target.metrics.gpuUrl"));
        report.gpu_source = Some("scrapes".to_owned());
        assert!(why(&report, "GPU power").contains("dcgm-exporter said"));
    }

    #[test]
    fn how_containers_ended_is_missing_only_where_nobody_told() {
        let mut report = Plant::report(&[Plant::default()]);
        assert!(whats(&report).iter().any(|what| what == ENDS));
        report.missing.clear();
        report.container_ends = Some(vec![]);
        assert!(!whats(&report).iter().any(|what| what == ENDS));
    }

    #[test]
    fn what_was_measured_is_not_missing() {
        let measured = Plant::with(|plant| plant.gauges.push((Quantity::KvCacheUsage, 0.4)));
        let missing = whats(&Plant::report(&[measured]));
        for what in ["CPU usage", "RAM usage", "use of the KV cache"] {
            assert!(!missing.iter().any(|one| one == what), "{missing:?}");
        }
    }
}
