//! What is made of a resource.
use super::*;
use crate::deployment::{
    context::ServerDefaults,
    monitoring::{Choice, Plan},
    testing::{self, settings},
    validate::validate,
};
use candlepower_api::deployment::{LLMDeployment, LLMDeploymentStatus};
use serde_json::{Value, json};

fn children_of(resource: &LLMDeployment, choice: Choice, arguments: &[&str]) -> Children {
    let settings = settings(arguments);
    let plan = Plan::new(choice, &settings, &testing::observed());
    children(&testing::valid(resource), &plan).unwrap()
}

/// On a cluster without a monitoring stack.
fn bare(resource: &LLMDeployment) -> Children {
    let choice = testing::choice(resource, testing::BARE, &[]);
    children_of(resource, choice, &[])
}

fn uncollected(spec: Value) -> Children {
    let mut spec = spec;
    spec["observability"] = json!({"metrics": {"mode": "None"}, "tracing": {"mode": "None"}});
    bare(&testing::resource(spec))
}

#[test]
fn the_children_of_a_resource_that_nothing_is_collected_of() {
    let children = uncollected(json!({}));
    insta::assert_yaml_snapshot!("default_config_map", children.config_map);
    insta::assert_yaml_snapshot!("default_service", children.service);
    insta::assert_yaml_snapshot!("default_deployment", children.deployment);
    assert_eq!(children.pod_monitor, None);
    assert_eq!(children.prometheus_rule, None);
}

#[test]
fn a_fetched_model_gets_a_cache_and_what_opens_the_door() {
    let children = uncollected(json!({
        "model": {
            "source": "hf://owner/name", "revision": "v1", "file": "*Q4_K_M.gguf",
            "tokenizer": "hf://owner/other",
            "credentials": {"secretRef": {"name": "hub"}},
        },
        "cache": {"size": "50Gi", "storageClassName": "fast"},
    }));
    insta::assert_yaml_snapshot!("cache_claim", children.cache);
    insta::assert_yaml_snapshot!("fetched_config_map", children.config_map.data);
    let deployment = children.deployment.spec.unwrap();
    assert_eq!(deployment.strategy.unwrap().type_.unwrap(), "Recreate");
    let pod = deployment.template.spec.unwrap();
    insta::assert_yaml_snapshot!("fetched_volumes", pod.volumes);
    let server = &pod.containers[0];
    insta::assert_yaml_snapshot!("fetched_mounts", server.volume_mounts);
    insta::assert_yaml_snapshot!("credentials", (&server.env_from, &server.env));
}

#[test]
fn a_cache_may_be_somebody_elses_or_end_with_the_pod() {
    let volume = |cache: Value| {
        let children =
            uncollected(json!({"model": {"source": "https://host/a.gguf"}, "cache": cache}));
        assert_eq!(children.cache, None);
        let pod = children.deployment.spec.unwrap().template.spec.unwrap();
        let mut volumes = pod.volumes.unwrap().into_iter();
        let cache = volumes.find(|volume| volume.name == "cache").unwrap();
        (
            cache.persistent_volume_claim.map(|claim| claim.claim_name),
            cache.empty_dir.is_some(),
        )
    };
    assert_eq!(
        volume(json!({"existingClaim": "weights"})),
        (Some("weights".to_owned()), false)
    );
    assert_eq!(volume(Value::Null), (None, true));
}

#[test]
fn a_bare_cluster_gets_prometheus_and_jaeger_beside_the_server() {
    let children = bare(&testing::resource(json!({})));
    let pod = children.deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.containers[0].name, "server");
    assert_eq!(pod.containers.len(), 1);
    insta::assert_yaml_snapshot!("sidecars", pod.init_containers);
    insta::assert_yaml_snapshot!("sidecar_volumes", pod.volumes);
    insta::assert_yaml_snapshot!("sidecar_service", children.service.spec.unwrap().ports);
    let mut files = children.config_map.data.unwrap();
    // The rules have tests of their own.
    let rules = files.remove("rules.yaml").unwrap();
    assert!(rules.contains("- alert: CandlepowerNotReady"));
    insta::assert_yaml_snapshot!("sidecar_configurations", files);
    assert_eq!(children.pod_monitor, None);
}

#[test]
fn sidecars_get_a_cpu_limit_only_where_one_is_set() {
    let resource = testing::resource(json!({}));
    let limits = |arguments: &[&str]| {
        let choice = testing::choice(&resource, testing::BARE, arguments);
        let children = children_of(&resource, choice, arguments);
        let pod = children.deployment.spec.unwrap().template.spec.unwrap();
        let sidecars = pod.init_containers.unwrap();
        let limit = |sidecar: &k8s_openapi::api::core::v1::Container| {
            let limits = sidecar.resources.as_ref()?.limits.as_ref()?;
            limits.get("cpu").map(|limit| limit.0.clone())
        };
        sidecars.iter().map(limit).collect::<Vec<_>>()
    };
    assert_eq!(limits(&[]), [None, None]);
    let set = ["--prometheus-cpu-limit", "500m", "--jaeger-cpu-limit", "1"];
    assert_eq!(
        limits(&set),
        [Some("500m".to_owned()), Some("1".to_owned())]
    );
}

#[test]
fn a_monitoring_stack_gets_a_pod_monitor_with_the_labels_it_selects_by() {
    let resource = testing::resource(json!({"observability": {"metrics": {"interval": "30s"}}}));
    let arguments = [
        "--pod-monitor-label",
        "release=stack",
        "--otlp-endpoint",
        "http://c:4317",
    ];
    let choice = testing::choice(&resource, testing::STACK, &arguments);
    let children = children_of(&resource, choice, &arguments);
    insta::assert_yaml_snapshot!("pod_monitor", children.pod_monitor);
    let files: Vec<_> = children.config_map.data.unwrap().into_keys().collect();
    assert_eq!(files, ["server.yaml"]);
    let pod = children.deployment.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.init_containers, None);
}

#[test]
fn a_kind_that_is_not_served_is_not_written() {
    let resource = testing::resource(json!({"observability": {"metrics": {"mode": "PodMonitor"}}}));
    let children = bare(&resource);
    assert_eq!(children.pod_monitor, None);
    assert_eq!(children.prometheus_rule, None);
}

#[test]
fn a_change_of_alerts_dashboards_interval_or_network_policy_does_not_touch_the_pods() {
    let before = bare(&testing::resource(json!({})));
    let after = bare(&testing::resource(json!({
        "alerts": {"errorRate": {"threshold": "1%"}},
        "observability": {"dashboards": {"enabled": false}, "metrics": {"interval": "30s"}},
        "access": {"networkPolicy": {"enabled": false}},
    })));
    assert_eq!(after.network_policy, None);
    assert_eq!(before.deployment, after.deployment);
    assert_eq!(before.config_hash, after.config_hash);
    assert_eq!(before.service, after.service);
    let [before, after] = [before, after].map(|it| it.config_map.data.unwrap());
    assert_eq!(before["server.yaml"], after["server.yaml"]);
    assert_ne!(before["prometheus.yaml"], after["prometheus.yaml"]);
}

#[test]
fn another_number_of_replicas_does_not_touch_the_pods() {
    let template = |replicas| {
        let children = bare(&testing::resource(json!({"replicas": replicas})));
        let deployment = children.deployment.spec.unwrap();
        assert_eq!(deployment.replicas, Some(replicas));
        (deployment.template, children.config_map)
    };
    assert_eq!(template(1), template(2));
}

#[test]
fn another_default_image_of_a_new_operator_does_not_touch_the_pods() {
    let resource = testing::resource(json!({}));
    let previous = LLMDeploymentStatus {
        image: Some(testing::server().image),
        ..LLMDeploymentStatus::default()
    };
    let newer = ServerDefaults {
        image: "candlepower/server:newer".to_owned(),
        ..testing::server()
    };
    let valid = validate(&resource, &previous, &newer).unwrap();
    let settings = settings(&[]);
    let choice = testing::choice(&resource, testing::BARE, &[]);
    let plan = Plan::new(choice, &settings, &testing::observed());
    let after = children(&valid, &plan).unwrap();
    assert_eq!(after.deployment, bare(&resource).deployment);
}

#[test]
fn a_change_of_engine_precision_or_model_rolls_the_pods() {
    let hash = |spec| uncollected(spec).config_hash;
    let before = hash(json!({}));
    for spec in [
        json!({"engine": {"maxBatchSize": 4}}),
        json!({"precision": "q8_0"}),
        json!({"model": {"source": "pvc://models/b.gguf"}}),
    ] {
        assert_ne!(hash(spec.clone()), before, "{spec}");
    }
}
