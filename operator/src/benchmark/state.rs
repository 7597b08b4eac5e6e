//! Metrics about each benchmark, read from the cache when they are asked for: an alert is made of
//! them, and a fleet's board can be. Runs of a schedule have none: the schedule speaks for them.
use super::{Guarded, schedule};
use crate::{
    events::find,
    exposition::{Family, Kind, Series},
    metrics::Source,
};
use candlepower_api::names::{conditions, operator_metrics as names};
use kube::runtime::reflector::Store;
use std::sync::Arc;

/// The series of the benchmarks in these caches.
pub(super) fn source(benchmarks: Vec<Store<Guarded>>) -> Source {
    Box::new(move || {
        let all: Arc<[_]> = benchmarks.iter().flat_map(Store::state).collect();
        Box::new(REGRESSED.parts(&all))
    })
}

const REGRESSED: Family<Guarded> = Family {
    name: names::BENCHMARK_REGRESSED,
    help: "1 where the last run of a schedule is worse than the one before it, or a benchmark of its own than its baseline, 0 where it is not.",
    kind: Kind::Gauge,
    add: regressed,
};

fn regressed(benchmark: &Guarded, series: &mut Series) {
    let Ok(benchmark) = &benchmark.0 else { return };
    // Its schedule compares the last two. That of a bad night says so for ever, and is kept for long.
    if schedule::of_run(benchmark).is_some() {
        return;
    }
    let found = benchmark
        .status
        .as_ref()
        .and_then(|status| find(&status.conditions, conditions::REGRESSED));
    let value = match found.map(|condition| condition.status.as_str()) {
        Some("True") => 1.0,
        Some("False") => 0.0,
        _ => return,
    };
    let text = |found: &Option<String>| found.clone().unwrap_or_default();
    let labels = [
        (names::LABEL_LLM_BENCHMARK, &*text(&benchmark.metadata.name)),
        (
            names::LABEL_LLM_DEPLOYMENT,
            &text(&benchmark.spec.target.deployment),
        ),
        (names::LABEL_NAMESPACE, &text(&benchmark.metadata.namespace)),
    ];
    series.add(&labels, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{benchmark::testing, guard::Guard};
    use candlepower_api::benchmark::LLMBenchmark;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    fn judged(name: &str, regressed: &str, target: &str) -> LLMBenchmark {
        let spec = if target.contains("://") {
            json!({"target": {"url": target, "model": "m"}})
        } else {
            json!({"target": {"deployment": target}})
        };
        let mut benchmark = testing::named(name, testing::NOW, spec);
        let conditions = [testing::condition("Regressed", regressed)];
        benchmark.status = serde_json::from_value(json!({"conditions": conditions})).unwrap();
        benchmark
    }

    fn run_of(schedule: &LLMBenchmark, name: &str, regressed: &str) -> LLMBenchmark {
        let mut run = judged(name, regressed, "tiny");
        let owner = crate::children::owner_reference(schedule);
        run.metadata.owner_references = Some(owner.into_iter().collect());
        run
    }

    /// All series, without the name that they share and their namespace.
    fn collected(benchmarks: Vec<LLMBenchmark>) -> Vec<String> {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for benchmark in benchmarks {
            writer.apply_watcher_event(&Event::InitApply(Guard(Ok(benchmark))));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let text: String = source(vec![store])().collect();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let mut found: Vec<_> = series
            .map(|line| {
                let (_, labels) = line.split_once('{').unwrap();
                labels.replace(",namespace=\"team\"", "")
            })
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_bad_night_is_over_with_the_next_good_one() {
        let schedule = judged("nightly", "False", "tiny");
        let bad = run_of(&schedule, "nightly-1", "True");
        let good = run_of(&schedule, "nightly-2", "False");
        let found = collected(vec![schedule, bad, good]);
        assert_eq!(
            found,
            ["llmbenchmark=\"nightly\",llmdeployment=\"tiny\"} 0"]
        );
    }

    #[test]
    fn a_benchmark_of_its_own_is_judged_by_itself_and_one_of_another_server_has_no_deployment() {
        let found = collected(vec![
            judged("after", "True", "tiny"),
            judged("elsewhere", "True", "http://vllm:8000"),
            judged("unsure", "Unknown", "tiny"),
        ]);
        let expected = [
            "llmbenchmark=\"after\",llmdeployment=\"tiny\"} 1",
            "llmbenchmark=\"elsewhere\",llmdeployment=\"\"} 1",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_that_can_be_judged_is_no_series() {
        let found = collected(vec![judged("new", "Unknown", "tiny")]);
        assert_eq!(found, [""; 0]);
    }
}
