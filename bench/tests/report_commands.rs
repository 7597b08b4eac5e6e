//! `candlepower report` and `compare` as they are called.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests may stop at the first surprise, and share modules"
)]
mod cluster;

use candlepower_bench::{record::Run, record_files::Writer};
use cluster::{Cluster, code, json_of, printed, said};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A run of 400 requests of two users, whose first token takes `first` milliseconds and a tenth.
fn run(first: u64) -> Run {
    let requests = (0..400_u64).map(|index| {
        let sent = index / 2 * 1_000_000;
        let first = first * (900 + (index * 37) % 201);
        let tokens: Vec<_> = (0..10).map(|token| sent + first + token * 20_000).collect();
        json!({
            "index": index, "traceId": format!("{index:032x}"), "askedPromptTokens": 64,
            "askedOutputTokens": 10, "due": sent, "sent": sent, "tokens": tokens,
            "finished": tokens[9], "promptTokens": 64, "outputTokens": 10,
            "outcome": {"kind": "success", "finish_reason": null},
        })
    });
    let run = json!({
        "startedAt": 1_764_000_000_000_000_u64, "url": "http://server:8080", "model": "tiny",
        "workload": {}, "promptLengths": "exact", "generator": "test",
        "scenarios": [{
            "name": "users-2", "load": {"kind": "users", "users": 2, "spawn_rate": 2},
            "started": 0, "window": [0, 200_000_000], "ended": 200_000_000,
            "requests": requests.collect::<Vec<_>>(),
            "generator": {"lagP99": 0, "cpuCores": 0.1, "cpuAvailable": 2.0, "peakMemory": 1},
        }],
    });
    serde_json::from_value(run).unwrap()
}

/// Writes a run as `bench --out` does.
fn folder(place: &Path, name: &str, run: &Run) -> String {
    let folder = place.join(name);
    Writer::new(&folder).unwrap().write(run).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn path(place: &Path, name: &str) -> (PathBuf, String) {
    let path = place.join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

/// A cluster with a finished LLMBenchmark `quick`, whose report this is, and one that goes on.
fn cluster_with(report: &str) -> Cluster {
    let benchmark = |name: &str, status: Value| {
        json!({
            "apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMBenchmark",
            "metadata": {"name": name, "namespace": "demo"},
            "spec": {"target": {"url": "http://server:8080"}}, "status": status,
        })
    };
    let place = "/apis/candlepower.dev/v1alpha1/namespaces/demo/llmbenchmarks";
    Cluster::holding(&[
        (
            &format!("{place}/quick"),
            benchmark("quick", json!({"reportRef": "quick-report"})),
        ),
        (&format!("{place}/begun"), benchmark("begun", json!({}))),
        (
            "/api/v1/namespaces/demo/configmaps/quick-report",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "quick-report"},
                "data": {"report.json": report}}),
        ),
    ])
}

#[test]
fn a_run_becomes_a_report_in_every_form() {
    let place = tempfile::tempdir().unwrap();
    let nowhere = cluster_with("{}");
    let run = folder(place.path(), "run", &run(100));
    for (form, sign) in [
        ("html", "<!doctype html>"),
        ("md", "# tiny at http://server:8080"),
        ("json", "\"title\""),
        ("confluence", "<ac:structured-macro"),
    ] {
        let output = nowhere.run(&["report", &run, "-o", form]);
        assert_eq!(code(&output), 0, "{output:?}");
        let text = printed(&output).to_lowercase();
        assert!(text.contains(sign), "{form}: {text}");
        let (file, name) = path(place.path(), form);
        let output = nowhere.run(&["report", &run, "-o", form, "-f", &name]);
        assert_eq!((code(&output), printed(&output).as_str()), (0, ""));
        assert!(
            std::fs::read_to_string(file)
                .unwrap()
                .to_lowercase()
                .contains(sign)
        );
    }
}

#[test]
fn a_report_is_found_by_its_llmbenchmarks_name_and_by_its_file() {
    let place = tempfile::tempdir().unwrap();
    let run = folder(place.path(), "run", &run(100));
    let report = printed(&cluster_with("{}").run(&["report", &run, "-o", "json"]));
    let (file, name) = path(place.path(), "report.json");
    std::fs::write(file, &report).unwrap();
    let cluster = cluster_with(&report);
    for from in ["quick", &name] {
        let output = cluster.run(&["report", from, "-o", "md", "--title", "Ours"]);
        assert_eq!(code(&output), 0, "{output:?}");
        assert!(printed(&output).starts_with("# Ours"), "{output:?}");
    }
    let begun = cluster.run(&["report", "begun"]);
    assert_eq!(code(&begun), 1);
    assert!(said(&begun).contains("has no report yet"), "{begun:?}");
    let absent = cluster.run(&["report", "absent"]);
    assert!(
        said(&absent).contains("no LLMBenchmark in namespace demo"),
        "{absent:?}"
    );
}

#[test]
fn a_price_acts_on_a_report_and_what_cannot_act_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let run = folder(place.path(), "run", &run(100));
    let priced = ["--price-per-hour", "3.6", "--currency", "EUR", "-o", "json"];
    let report = printed(&cluster_with("{}").run(&["report", &run, "-o", "json"]));
    let cluster = cluster_with(&report);
    let of = |name: &str| json_of(&cluster.run(&[&["report", name], &priced[..]].concat()));
    let (by_name, by_folder) = (of("quick"), of(&run));
    assert_eq!(by_name["costs"], by_folder["costs"]);
    assert_eq!(by_name["price"]["currency"], "EUR");
    // 20 tokens a second, and a tenth of a cent each second.
    let cost = by_name["costs"][0]["perMillionTokens"].as_f64().unwrap();
    assert!((cost - 50.0).abs() < 1.0, "{cost}");
    for flags in [
        &["--objective", "tpot=1ms"][..],
        &["--prometheus-url", "http://127.0.0.1:9"],
        &["--jaeger-url", "http://127.0.0.1:9"],
        &["--same-machine"],
    ] {
        let output = cluster.run(&[&["report", "quick"], flags].concat());
        assert_eq!(code(&output), 1, "{flags:?}");
        let said = said(&output);
        assert!(said.contains(&format!("leave out {}", flags[0])), "{said}");
    }
}

#[test]
fn what_cannot_be_read_or_written_is_named_with_its_cure() {
    let place = tempfile::tempdir().unwrap();
    let nowhere = cluster_with("{}");
    let run = folder(place.path(), "run", &run(100));
    let (_, lost) = path(place.path(), "absent/report.html");
    let output = nowhere.run(&["report", &run, "-f", &lost]);
    assert_eq!(code(&output), 1);
    let text = said(&output);
    assert!(
        text.contains(&format!("{lost} cannot be written")),
        "{text}"
    );
    assert!(text.contains("a folder that is there"), "{text}");
    let (file, broken) = path(place.path(), "broken.json");
    std::fs::write(file, "{\"title\": 1").unwrap();
    for name in [broken.as_str(), "quick"] {
        let output = nowhere.run(&["report", name]);
        assert_eq!(code(&output), 1);
        let text = said(&output);
        assert!(
            text.contains(&format!("{name} holds no report in JSON")),
            "{text}"
        );
        assert!(text.contains("report -o json"), "{text}");
    }
}

#[test]
fn compare_ends_with_3_only_where_something_became_worse() {
    let place = tempfile::tempdir().unwrap();
    let nowhere = cluster_with("{}");
    let quick = folder(place.path(), "quick-one", &run(100));
    let slow = folder(place.path(), "slow-one", &run(300));
    let worse = nowhere.run(&["compare", &quick, &slow]);
    assert_eq!(code(&worse), 3, "{worse:?}");
    let text = printed(&worse);
    assert!(
        text.contains("TTFT P50") && text.contains("worse"),
        "{text}"
    );
    assert_eq!(code(&nowhere.run(&["compare", &slow, &quick])), 0);
    let same = nowhere.run(&["compare", &quick, &quick, "-o", "json"]);
    assert_eq!(code(&same), 0);
    assert_eq!(json_of(&same)["levels"][0]["scenario"], "users-2");
}

#[test]
fn compare_refuses_runs_of_unlike_work() {
    let place = tempfile::tempdir().unwrap();
    let one = folder(place.path(), "one", &run(100));
    let mut other = run(100);
    other.workload.output_tokens += 1;
    let other = folder(place.path(), "other", &other);
    let output = cluster_with("{}").run(&["compare", &one, &other]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(!said(&output).is_empty());
}

#[test]
fn a_report_compares_itself_with_the_run_before() {
    let place = tempfile::tempdir().unwrap();
    let before = folder(place.path(), "before", &run(300));
    let after = folder(place.path(), "after", &run(100));
    let flags = ["report", &after, "--before", &before, "-o", "json"];
    let report = json_of(&cluster_with("{}").run(&flags));
    let rows = &report["comparisons"][0]["levels"][0]["rows"];
    let better = |row: &Value| row["verdict"] == "better";
    assert!(rows.as_array().unwrap().iter().any(better), "{rows}");
}
