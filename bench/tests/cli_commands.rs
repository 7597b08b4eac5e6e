//! `candlepower` as it is called, beside a stand-in for the API server and for Jaeger.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests may stop at the first surprise"
)]

mod cluster;

use cluster::{Cluster, candlepower, code, json_of, printed, said};
use serde_json::{Value, json};
use std::path::Path;

fn deployment(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment",
        "metadata": {"name": name, "namespace": "demo",
            "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"model": {"source": "pvc://models/tiny.gguf"}},
        "status": {
            "replicas": 1, "readyReplicas": 1,
            "conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "m",
                "lastTransitionTime": "2026-11-24T10:00:00Z"}],
            "model": {"name": "smollm2", "architecture": "llama", "precision": "q4_1",
                "device": "cpu", "contextLength": 1, "weightsBytes": 1, "kvCacheBytes": 1},
        },
    })
}

#[test]
fn top_prints_the_table_as_json() {
    let cluster = Cluster::with(json!([
        deployment("other", "False"),
        deployment("smollm2", "True")
    ]));
    let output = cluster.run(&["top", "-o", "json"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let rows = json_of(&output);
    assert_eq!(rows[0]["name"], "other");
    assert_eq!(rows[0]["ready"], false);
    assert_eq!(rows[1]["model"], "smollm2");
}

#[test]
fn traces_prints_operations_and_slowest_traces_as_json() {
    let cluster = Cluster::with(json!([deployment("smollm2", "True")]));
    let output = cluster.run(&[
        "traces",
        "smollm2",
        "--jaeger-url",
        &cluster.url,
        "-o",
        "json",
    ]);
    assert_eq!(code(&output), 0, "{output:?}");
    let report = json_of(&output);
    assert_eq!(report["deployment"], "smollm2");
    assert_eq!(report["traces"], 1);
    assert_eq!(report["slowest"].as_array().unwrap().len(), 1);
    let operations = report["operations"].as_array().unwrap();
    assert!(
        operations.iter().any(|one| one["name"] == "decode"),
        "{report}"
    );
}

#[test]
fn status_ends_with_3_where_something_is_not_ready() {
    let well = Cluster::with(json!([deployment("smollm2", "True")]));
    assert_eq!(code(&well.run(&["status"])), 0);
    assert_eq!(code(&well.run(&["status", "smollm2"])), 0);
    let unwell = Cluster::with(json!([
        deployment("other", "False"),
        deployment("smollm2", "True")
    ]));
    assert_eq!(code(&unwell.run(&["status"])), 3);
    let output = unwell.run(&["status", "other", "-o", "json"]);
    assert_eq!(code(&output), 3);
    assert_eq!(json_of(&output)["ready"], false, "it is told all the same");
}

#[test]
fn a_failure_ends_with_1_and_a_wrong_command_line_with_2() {
    let cluster = Cluster::with(json!([deployment("smollm2", "True")]));
    let output = cluster.run(&["status", "absent"]);
    assert_eq!(code(&output), 1);
    let said = said(&output);
    assert!(said.contains("no LLMDeployment absent"), "{said}");
    assert!(said.contains("there: smollm2"), "{said}");
    let nowhere = Path::new("/nonexistent/kubeconfig");
    assert_eq!(code(&candlepower(nowhere, &["top"])), 1);
    for wrong in [&["statsu"][..], &["traces"], &["top", "--interval", "soon"]] {
        assert_eq!(code(&cluster.run(wrong)), 2, "{wrong:?}");
    }
}

#[test]
fn dashboards_says_why_nothing_opens_and_ends_with_1() {
    let cluster = Cluster::with(json!([deployment("smollm2", "True")]));
    let output = cluster.run(&["dashboards", "smollm2", "-o", "json"]);
    assert_eq!(code(&output), 1, "{output:?}");
    let tools = json_of(&output);
    let names: Vec<_> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["tool"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Prometheus", "Jaeger", "Grafana"]);
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["links"], json!([]));
        assert!(tool["absent"].is_string(), "{tool}");
    }
}

#[test]
fn analyze_ranks_the_operations_of_a_service_under_both_of_its_names() {
    let cluster = Cluster::with(json!([]));
    let by_flags = ["analyze", "chat & co", "--lookback", "2h", "--limit", "77"];
    let by_place = ["analyze_traces", "chat & co", "2h", "77"];
    for arguments in [&by_flags[..], &by_place] {
        let at = ["--jaeger-url", &cluster.url, "-o", "json"];
        let output = cluster.run(&[arguments, &at].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        let report = json_of(&output);
        assert_eq!(report["service"], "chat & co");
        assert_eq!(
            report["traces"], 1,
            "a model's load is no request: {report}"
        );
        let operations = report["operations"].as_array().unwrap();
        assert!(operations.iter().any(|one| one["name"] == "decode"));
    }
    // The clock is asked for first, by any answer's date.
    let searches = || cluster.asked().into_iter().filter(|path| path != "/");
    assert_eq!(searches().count(), 2);
    for path in searches() {
        let asked = path.contains("service_name=chat%20%26%20co&");
        assert!(asked && path.ends_with("num_traces=77"), "{path}");
        let time = |name: &str| -> k8s_openapi::jiff::Timestamp {
            let found = path.split('&').find_map(|part| part.strip_prefix(name));
            found.unwrap().replace("%3A", ":").parse().unwrap()
        };
        let (from, to) = (time("query.start_time_min="), time("query.start_time_max="));
        assert_eq!(to.as_second() - from.as_second(), 7_200);
    }
}

#[test]
fn analyze_prints_a_table_and_the_slowest_trace_and_is_listed_with_its_other_name() {
    let cluster = Cluster::with(json!([]));
    let output = cluster.run(&["analyze", "chat", "--jaeger-url", &cluster.url]);
    let text = printed(&output);
    for part in [
        "1 traced request of chat in the last 1h",
        "OPERATION",
        "slow: trace",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let help = printed(&cluster.run(&["--help"]));
    assert!(help.contains("[alias: analyze_traces]"), "{help}");
}

#[test]
fn analyze_ends_with_1_where_the_command_line_asks_twice_or_nothing_answers() {
    let cluster = Cluster::with(json!([]));
    let twice = ["analyze", "chat", "1h", "--lookback", "2h"];
    assert_eq!(code(&cluster.run(&twice)), 2);
    let nobody = ["analyze", "chat", "--jaeger-url", "http://127.0.0.1:9"];
    assert_eq!(code(&cluster.run(&nobody)), 1);
}
