use super::*;
use crate::{analysis::testing::Plant, evidence::series::Quantity};

fn advice(change: impl FnOnce(&mut Plant)) -> Vec<Recommendation> {
    Plant::report(&[Plant::with(change)]).recommendations
}

fn patch(all: &[Recommendation], id: &str) -> serde_json::Value {
    let found = all.iter().find(|one| one.id == id);
    let found = found.unwrap_or_else(|| panic!("{id} is not among {all:#?}"));
    found.patch.clone().unwrap_or_default()
}

/// A deployment with a patch in its spec, as Kubernetes merges it.
fn patched(patch: &serde_json::Value) -> LLMDeploymentSpec {
    let mut spec = serde_json::to_value(crate::analysis::testing::deployment()).unwrap();
    for (key, value) in patch.as_object().unwrap() {
        match (
            spec.get_mut(key).and_then(|old| old.as_object_mut()),
            value.as_object(),
        ) {
            (Some(old), Some(new)) => old.extend(new.clone()),
            _ => spec[key] = value.clone(),
        }
    }
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_healthy_run_needs_nothing() {
    assert_eq!(advice(|_| {}), []);
}

#[test]
fn a_batch_of_one_is_to_be_larger() {
    let all = advice(|plant| {
        plant.queue = 4_000.0;
        plant.deployment.engine.max_batch_size = 1;
        plant
            .gauges
            .retain(|(quantity, _)| !matches!(quantity, Quantity::Running | Quantity::Waiting));
        plant
            .gauges
            .extend([(Quantity::Running, 1.0), (Quantity::Waiting, 7.0)]);
    });
    assert_eq!(all[0].id, "batch-size", "{all:#?}");
    let spec = patched(&patch(&all, "batch-size"));
    assert_eq!(spec.engine.max_batch_size, 8);
    let impact = &all[0].impact[0];
    assert_eq!(impact.metric, "mean TTFT");
    assert!(impact.formula.contains("queue"), "{impact:?}");
}

#[test]
fn a_model_that_is_bound_by_memory_is_to_be_quantised_and_the_projection_follows_its_formula() {
    let all = advice(|plant| {
        plant.tpot = 150.0;
        plant.weights = 1_200_000_000;
    });
    let spec = patched(&patch(&all, "quantise"));
    assert_eq!(spec.precision.as_str(), "q4_1");
    let one = all.iter().find(|one| one.id == "quantise").unwrap();
    assert_eq!(one.impact[0].now, "1.12 GiB");
    assert_eq!(one.impact[0].projected, "0.66 GiB");
}

#[test]
fn a_throttled_server_is_to_have_as_many_cores_as_it_wanted() {
    let all = advice(|plant| {
        plant.tpot = 80.0;
        plant.counters = vec![
            (Quantity::CpuSeconds, 0.5),
            (Quantity::CpuPeriods, 10.0),
            (Quantity::ThrottledPeriods, 9.5),
            (Quantity::ThrottledSeconds, 1.4),
        ];
    });
    let patch = patch(&all, "cpu-limit");
    assert_eq!(patch, serde_json::json!({"resources": {"cpu": "2"}}));
    patched(&patch);
}

#[test]
fn a_cold_start_without_preload_is_to_be_preloaded() {
    let all = advice(|plant| {
        plant.cold = 3_000.0;
        plant.deployment.preload = false;
    });
    assert!(patched(&patch(&all, "preload")).preload);
}

#[test]
fn a_full_kv_cache_is_to_be_larger() {
    let all = advice(|plant| {
        plant.queue = 3_000.0;
        plant.deployment.engine.kv_cache_memory = Some("64Mi".parse().unwrap());
        plant.gauges.retain(|(quantity, _)| {
            !matches!(
                quantity,
                Quantity::Running | Quantity::Waiting | Quantity::KvCacheUsage
            )
        });
        plant.gauges.extend([
            (Quantity::Running, 2.0),
            (Quantity::Waiting, 6.0),
            (Quantity::KvCacheUsage, 0.97),
        ]);
    });
    let spec = patched(&patch(&all, "kv-cache-memory"));
    assert_eq!(spec.engine.kv_cache_memory.unwrap().to_string(), "512Mi");
}

#[test]
fn refused_requests_bring_up_the_queues_depth_with_what_it_costs() {
    let all = advice(|plant| plant.refused = 30);
    let one = all.iter().find(|one| one.id == "queue-depth").unwrap();
    assert!(one.solution.contains("does not make anything faster"));
    assert_eq!(one.impact[0].projected, "not projected");
}

#[test]
fn every_recommendation_says_what_it_costs_and_why() {
    let all = advice(|plant| {
        plant.queue = 4_000.0;
        plant.tokenize = 900.0;
        plant.cold = 30_000.0;
        plant.refused = 30;
    });
    assert!(all.len() >= 4, "{all:#?}");
    for one in &all {
        assert!(
            !one.evidence.is_empty() && !one.effort.is_empty(),
            "{one:?}"
        );
        assert!(one.impact.iter().all(|impact| !impact.formula.is_empty()));
    }
    let ids: std::collections::BTreeSet<_> = all.iter().map(|one| &one.id).collect();
    assert_eq!(ids.len(), all.len(), "each once");
    let in_order = all
        .windows(2)
        .all(|pair| pair[0].priority <= pair[1].priority);
    assert!(in_order);
}
