use super::*;
use crate::{
    analysis::testing::{Plant, objectives, out_of_memory},
    evidence::series::Quantity,
    report::{Options, build},
};
use candlepower_api::deployment::LLMDeployment;
use kube::CustomResourceExt;
use std::collections::BTreeMap;

/// Every patch of the catalogue, by the recommendation's name.
const PATCHES: &str = include_str!("../../../../e2e/faults/recommendations.json");

fn advice(change: impl FnOnce(&mut Plant)) -> Vec<Recommendation> {
    Plant::report(&[Plant::with(change)]).recommendations
}

fn patch(all: &[Recommendation], id: &str) -> serde_json::Value {
    let found = all.iter().find(|one| one.id == id);
    let found = found.unwrap_or_else(|| panic!("{id} is not among {all:#?}"));
    found.patch.clone().unwrap_or_default()
}

/// A deployment with a patch in its spec.
fn patched(patch: &serde_json::Value) -> LLMDeploymentSpec {
    let fields = serde_json::from_value(patch.clone()).unwrap();
    let spec = crate::analysis::testing::deployment();
    spec.patched_within_limits(&fields).unwrap()
}

/// What the CEL rules of the resource say of a deployment.
fn violations(spec: &LLMDeploymentSpec) -> Vec<String> {
    let crd = serde_json::to_value(LLMDeployment::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let object = serde_json::json!({
        "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment",
        "metadata": {"name": "tiny"}, "spec": spec,
    });
    let checked = kube_cel::Validator::new().validate(schema, &object, None);
    let errors = checked.err().map(kube_cel::ValidationErrors::into_vec);
    let errors = errors.unwrap_or_default().into_iter();
    errors.map(|error| error.message).collect()
}

fn set(plant: &mut Plant, gauges: &[(Quantity, f64)]) {
    let kept = |quantity: &Quantity| gauges.iter().all(|(set, _)| set != quantity);
    plant.gauges.retain(|(quantity, _)| kept(quantity));
    plant.gauges.extend(gauges);
}

/// What is to be done about a server with a KV cache of 256 MiB that was ended for lack of memory.
fn killed() -> Vec<Recommendation> {
    let plant = Plant::with(|plant| {
        plant.deployment.engine.kv_cache_memory = Some("256Mi".parse().unwrap());
    });
    let (run, mut evidence) = Plant::run(&[plant]);
    evidence.container_ends = Some(vec![out_of_memory(20_000_000)]);
    build(&run, &evidence, &Options::default()).recommendations
}

fn one_by_one(plant: &mut Plant) {
    plant.queue = 4_000.0;
    plant.deployment.engine.max_batch_size = 1;
    set(plant, &[(Quantity::Running, 1.0), (Quantity::Waiting, 7.0)]);
}

fn throttled(plant: &mut Plant) {
    plant.tpot = 80.0;
    plant.counters = vec![
        (Quantity::CpuSeconds, 0.5),
        (Quantity::CpuPeriods, 10.0),
        (Quantity::ThrottledPeriods, 9.5),
        (Quantity::ThrottledSeconds, 1.4),
    ];
}

fn full_cache(plant: &mut Plant) {
    plant.queue = 3_000.0;
    plant.deployment.engine.kv_cache_memory = Some("64Mi".parse().unwrap());
    let full = [
        (Quantity::Running, 2.0),
        (Quantity::Waiting, 6.0),
        (Quantity::KvCacheUsage, 0.97),
    ];
    set(plant, &full);
}

/// Answers that stall now and then.
fn stalled() -> Vec<Recommendation> {
    let (mut run, evidence) = Plant::run(&[Plant::with(|plant| plant.queue = 4_000.0)]);
    for request in &mut run.scenarios[0].requests {
        let mut times: Vec<_> = request.tokens.iter().collect();
        if let Some(last) = times.last_mut() {
            *last += 400_000;
            request.finished = *last;
        }
        request.tokens = times.into_iter().collect();
    }
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    build(&run, &evidence, &options).recommendations
}

#[test]
fn the_resource_takes_every_patch_of_the_catalogue() {
    let all = [
        advice(one_by_one),
        advice(throttled),
        advice(full_cache),
        stalled(),
        advice(|plant| {
            plant.queue = 4_000.0;
            plant.deployment.engine.max_batch_wait = "500ms".parse().unwrap();
        }),
        advice(|plant| plant.weights = 3_500_000_000),
        advice(|plant| {
            plant.cold = 3_000.0;
            plant.deployment.preload = false;
        }),
        advice(|plant| plant.refused = 30),
        advice(|plant| {
            plant.prefill = 900.0;
            plant.deployment.engine.prefix_caching = false;
        }),
        killed(),
    ];
    let mut seen = BTreeMap::new();
    for one in all.iter().flatten() {
        if let Some(patch) = &one.patch {
            assert_eq!(violations(&patched(patch)), Vec::<String>::new(), "{one:?}");
            seen.insert(one.id.as_str(), patch);
        }
    }
    // What can be done by a patch at all. A real API server is asked about the same ones (make faults).
    let asked: serde_json::Value = serde_json::from_str(PATCHES).unwrap();
    let seen = serde_json::json!(seen);
    assert_eq!(
        seen, asked,
        "e2e/faults/recommendations.json is to be\n{seen:#}"
    );
}

#[test]
fn the_rules_that_patches_are_checked_by_refuse_what_the_resource_does_not_take() {
    let mut spec = patched(&serde_json::json!({"replicas": 2}));
    spec.autoscaling = serde_json::from_value(serde_json::json!({"maxReplicas": 3})).unwrap();
    assert_eq!(violations(&spec).len(), 1);
}

#[test]
fn a_patch_that_the_resource_would_refuse_is_not_offered() {
    let all = advice(|plant| {
        plant.refused = 30;
        plant.deployment.engine.max_queue_depth = 60_000;
    });
    let one = all.iter().find(|one| one.id == "queue-depth").unwrap();
    assert_eq!(one.patch, None);
    assert!(one.solution.contains("write 100000 or less"), "{one:?}");
}

#[test]
fn a_healthy_run_needs_nothing() {
    assert_eq!(advice(|_| {}), []);
}

#[test]
fn a_batch_of_one_is_to_be_larger() {
    let all = advice(one_by_one);
    assert_eq!(all[0].id, "batch-size", "{all:#?}");
    let spec = patched(&patch(&all, "batch-size"));
    assert_eq!(spec.engine.max_batch_size, 8);
    let impact = &all[0].impact[0];
    assert_eq!(impact.metric, "mean TTFT inside the server");
    assert!(impact.formula.contains("queue"), "{impact:?}");
    // Tokenising and prefill are left of 4061 ms.
    assert_eq!(
        (impact.now.as_str(), impact.projected.as_str()),
        ("4.06 s", "61.0 ms")
    );
    let pace = &all[0].impact[1];
    assert_eq!(pace.metric, "mean TPOT");
    assert!(pace.projected.contains(" ms to 1"), "{pace:?}");
    assert!(
        pace.formula.contains("TPOT · 8.0"),
        "eight at once: {pace:?}"
    );
}

#[test]
fn no_first_token_is_projected_to_come_before_its_prompt_is_computed() {
    let all = advice(|plant| {
        one_by_one(plant);
        plant.tokenize = -500.0;
    });
    let one = all.iter().find(|one| one.id == "batch-size").unwrap();
    assert_eq!(one.impact[0].projected, "60.0 ms", "the prefill: {one:?}");
}

#[test]
fn a_batch_is_to_have_no_more_places_than_its_memory_has_room_for() {
    // 288 tokens of 20 kB each: two of them in 16 MiB.
    let small = |plant: &mut Plant| {
        one_by_one(plant);
        plant.deployment.engine.kv_cache_memory = Some("16Mi".parse().unwrap());
    };
    let (run, mut evidence) = Plant::run(&[Plant::with(small)]);
    let longest = run
        .workload
        .prompts
        .iter()
        .map(|one| one.tokens)
        .max()
        .unwrap();
    let tokens = u64::try_from(longest + run.workload.output_tokens).unwrap();
    let each = (16 << 20) / (2 * tokens);
    if let Some(model) = &mut evidence.model {
        model.kv_bytes_per_token = Some(each);
    }
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    let all = build(&run, &evidence, &options).recommendations;
    let size = patch(&all, "batch-size");
    assert_eq!(size, serde_json::json!({"engine": {"maxBatchSize": 2}}));
}

#[test]
fn a_batch_is_to_have_places_for_the_highest_load_that_was_measured() {
    let levels = [
        Plant::with(one_by_one),
        Plant::with(|plant| {
            one_by_one(plant);
            plant.users = 4;
            plant.queue = 9_000.0;
            set(plant, &[(Quantity::Running, 1.0), (Quantity::Waiting, 3.0)]);
        }),
    ];
    let all = Plant::report(&levels).recommendations;
    let size = patch(&all, "batch-size");
    assert_eq!(size, serde_json::json!({"engine": {"maxBatchSize": 8}}));
}

/// Recommendations for a server with two pods.
fn of_two_pods(change: impl FnOnce(&mut Plant)) -> Vec<Recommendation> {
    let (run, mut evidence) = Plant::run(&[Plant::with(change)]);
    evidence.replicas = 2;
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    build(&run, &evidence, &options).recommendations
}

#[test]
fn what_two_pods_need_together_is_divided_among_them() {
    let batch = of_two_pods(|plant| {
        one_by_one(plant);
        set(plant, &[(Quantity::Running, 2.0), (Quantity::Waiting, 6.0)]);
    });
    let four = serde_json::json!({"engine": {"maxBatchSize": 4}});
    assert_eq!(patch(&batch, "batch-size"), four);
    let cpu = of_two_pods(throttled);
    let one = serde_json::json!({"resources": {"cpu": "1"}});
    assert_eq!(patch(&cpu, "cpu-limit"), one, "1.9 cores of two pods");
    let cache = of_two_pods(|plant| {
        full_cache(plant);
        set(plant, &[(Quantity::Running, 4.0), (Quantity::Waiting, 6.0)]);
    });
    let memory = serde_json::json!({"engine": {"kvCacheMemory": "512Mi"}});
    assert_eq!(patch(&cache, "kv-cache-memory"), memory, "two in each pod");
}

#[test]
fn the_first_advice_answers_the_primary_bottleneck() {
    // A throttled CPU is critical too, its remedy has less risk than a larger batch, and it does not come
    // first: the queue takes the larger share.
    let report = Plant::report(&[Plant::with(|plant| {
        one_by_one(plant);
        plant.counters = vec![
            (Quantity::CpuSeconds, 0.5),
            (Quantity::CpuPeriods, 10.0),
            (Quantity::ThrottledPeriods, 9.5),
            (Quantity::ThrottledSeconds, 0.7),
        ];
        plant.cold = 60_000.0;
        plant.deployment.preload = false;
        plant.generator.lag_p99 = 12_000;
    })]);
    let primary = report.conclusion.primary_bottleneck;
    assert_eq!(primary, Some(Class::Queueing));
    assert_eq!(report.recommendations[0].answers, primary);
    let ids: Vec<_> = report
        .recommendations
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    assert!(ids.contains(&"cpu-limit"), "{ids:?}");
    assert!(ids.contains(&"preload"), "{ids:?}");
    let acceptable = !ids.contains(&"load-generator");
    assert!(
        acceptable,
        "a lag that changes no verdict needs no other machine: {ids:?}"
    );
}

#[test]
fn a_generator_without_cpu_is_the_first_thing_to_mend() {
    let all = advice(|plant| {
        one_by_one(plant);
        plant.generator.cpu_cores = 2.0;
    });
    assert_eq!(all[0].id, "load-generator");
}

#[test]
fn long_prompts_that_are_bound_by_a_gpus_arithmetic_bring_up_fused_attention() {
    let flash = |device: &str, tokens| {
        let (mut run, mut evidence) = Plant::run(&[Plant::with(|plant| {
            plant.tpot = 150.0;
            let busy = [
                (Quantity::GpuUtilization, 0.97),
                (Quantity::GpuMemoryActivity, 0.2),
            ];
            set(plant, &busy);
        })]);
        for prompt in &mut run.workload.prompts {
            prompt.tokens = tokens;
        }
        if let Some(model) = &mut evidence.model {
            model.device = Some(device.to_owned());
        }
        let options = Options {
            objectives: objectives(),
            ..Options::default()
        };
        let all = build(&run, &evidence, &options).recommendations;
        all.into_iter().find(|one| one.id == "flash-attention")
    };
    let one = flash("cuda", 4096).unwrap();
    assert_eq!(one.answers, Some(Class::Compute));
    assert_eq!(one.impact[0].projected, "not projected");
    assert_eq!(
        flash("cuda", 128),
        None,
        "attention is little of a short prompt"
    );
    assert_eq!(flash("cpu", 4096), None);
}

#[test]
fn whole_answers_that_take_longer_than_a_first_token_may_are_to_be_streamed() {
    let streaming = |stream, tpot| {
        let (mut run, evidence) = Plant::run(&[Plant::with(|plant| plant.tpot = tpot)]);
        run.workload.stream = stream;
        let options = Options {
            objectives: objectives(),
            ..Options::default()
        };
        let all = build(&run, &evidence, &options).recommendations;
        all.into_iter().find(|one| one.id == "streaming")
    };
    // 31 gaps of 60 ms: more than the second that TTFT may take.
    let one = streaming(false, 60.0).unwrap();
    assert_eq!(one.impact[0].projected, "65.0 ms", "the server's own TTFT");
    assert_eq!(streaming(true, 60.0), None);
    assert_eq!(streaming(false, 10.0), None);
}

#[test]
fn time_lost_outside_the_server_sends_people_to_the_way_between() {
    let network = |all: Vec<Recommendation>| all.into_iter().find(|one| one.id == "network");
    let one = network(advice(|plant| plant.way_in = 700.0)).unwrap();
    assert_eq!(one.answers, Some(Class::Upstream));
    assert_eq!(one.impact[0].metric, "the mean TTFT");
    let one = network(advice(|plant| plant.way_out = 60.0)).unwrap();
    assert_eq!(one.answers, Some(Class::SlowClient));
    assert_eq!(one.impact[0].projected, "25 %", "20 of 80 ms a token");
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
    let all = advice(throttled);
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
    let all = advice(full_cache);
    let spec = patched(&patch(&all, "kv-cache-memory"));
    assert_eq!(spec.engine.kv_cache_memory.unwrap().to_string(), "512Mi");
}

#[test]
fn a_server_that_ran_out_of_memory_is_to_have_more_or_to_need_less() {
    let all = killed();
    let ids: Vec<_> = all.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(ids, ["memory-limit", "quantise", "smaller-kv-cache"]);
    assert!(
        all.iter()
            .all(|one| one.answers == Some(Class::OutOfMemory))
    );
    let limit = &all[0];
    assert_eq!(limit.priority, Priority::High);
    assert_eq!(limit.impact[0].projected, "8.00 GiB");
    assert!(limit.evidence[0].contains("OOMKilled"), "{limit:?}");
    let spec = patched(&patch(&all, "smaller-kv-cache"));
    assert_eq!(spec.engine.kv_cache_memory.unwrap().to_string(), "128Mi");
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
    let of_one = |pair: &[Recommendation]| pair[0].answers == pair[1].answers;
    let mut pairs = all.windows(2).filter(|pair| of_one(pair));
    assert!(pairs.all(|pair| pair[0].priority <= pair[1].priority));
}
