//! Metrics about each benchmark, read from the cache when they are asked for: an alert is made of
//! them, and a fleet's board can be. Runs of a schedule have none: the schedule speaks for them.
use super::{Guarded, schedule};
use crate::events::find;
use candlepower_api::names::{conditions, operator_metrics as names};
use kube::{ResourceExt, runtime::reflector::Store};
use prometheus::{
    GaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// The state of all benchmarks.
pub(super) struct State {
    benchmarks: Vec<Store<Guarded>>,
    descriptions: Vec<Desc>,
}

impl State {
    /// The state of the benchmarks in these caches.
    pub(super) fn new(benchmarks: Vec<Store<Guarded>>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            benchmarks,
            descriptions: regressed()?.desc().into_iter().cloned().collect(),
        })
    }
}

fn regressed() -> Result<GaugeVec, prometheus::Error> {
    GaugeVec::new(
        Opts::new(
            names::BENCHMARK_REGRESSED,
            "1 where the last run of a schedule is worse than the one before it, or a benchmark of its own than its baseline, 0 where it is not.",
        ),
        &[
            names::LABEL_NAMESPACE,
            names::LABEL_LLM_BENCHMARK,
            names::LABEL_LLM_DEPLOYMENT,
        ],
    )
}

impl Collector for State {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(series) = regressed() else {
            return Vec::new();
        };
        for guarded in self.benchmarks.iter().flat_map(Store::state) {
            let Ok(benchmark) = &guarded.0 else { continue };
            // Its schedule compares the last two. That of a bad night says so for ever, and is kept for long.
            if schedule::of_run(benchmark).is_some() {
                continue;
            }
            let found = benchmark
                .status
                .as_ref()
                .and_then(|status| find(&status.conditions, conditions::REGRESSED));
            let value = match found.map(|condition| condition.status.as_str()) {
                Some("True") => 1.0,
                Some("False") => 0.0,
                _ => continue,
            };
            let labels = [
                benchmark.namespace().unwrap_or_default(),
                benchmark.name_any(),
                benchmark.spec.target.deployment.clone().unwrap_or_default(),
            ];
            series.with_label_values(&labels).set(value);
        }
        let families = series.collect();
        families
            .into_iter()
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
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

    /// Names, deployments and values of all series.
    fn collected(benchmarks: Vec<LLMBenchmark>) -> Vec<(String, String, f64)> {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        for benchmark in benchmarks {
            writer.apply_watcher_event(&Event::InitApply(Guard(Ok(benchmark))));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let families = State::new(vec![store]).unwrap().collect();
        let series = families.iter().flat_map(MetricFamily::get_metric);
        let mut found: Vec<_> = series
            .map(|metric| {
                let label = |name: &str| {
                    let mut all = metric.get_label().iter();
                    let found = all.find(|label| label.name() == name).unwrap();
                    found.value().to_owned()
                };
                let names = (
                    label(names::LABEL_LLM_BENCHMARK),
                    label(names::LABEL_LLM_DEPLOYMENT),
                );
                (names.0, names.1, metric.get_gauge().get_value())
            })
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        found
    }

    #[test]
    fn a_bad_night_is_over_with_the_next_good_one() {
        let schedule = judged("nightly", "False", "tiny");
        let bad = run_of(&schedule, "nightly-1", "True");
        let good = run_of(&schedule, "nightly-2", "False");
        let found = collected(vec![schedule, bad, good]);
        assert_eq!(found, [("nightly".into(), "tiny".into(), 0.0)]);
    }

    #[test]
    fn a_benchmark_of_its_own_is_judged_by_itself_and_one_of_another_server_has_no_deployment() {
        let found = collected(vec![
            judged("after", "True", "tiny"),
            judged("elsewhere", "True", "http://vllm:8000"),
            judged("unsure", "Unknown", "tiny"),
        ]);
        let expected = [
            ("after".into(), "tiny".into(), 1.0),
            ("elsewhere".into(), String::new(), 1.0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_that_can_be_judged_is_no_series() {
        assert_eq!(collected(vec![judged("new", "Unknown", "tiny")]), []);
    }
}
