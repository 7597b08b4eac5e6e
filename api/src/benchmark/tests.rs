//! What the API server accepts and refuses, checked with the CRD's own schema and CEL rules.
use super::*;
use crate::{testing, value::Percentage};
use serde_json::{Value, json};

/// Messages of the CEL rules that `spec` breaks once the API server has filled in defaults.
fn violations(spec: &Value) -> Vec<String> {
    testing::violations::<LLMBenchmark>(&json!({
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMBenchmark",
        "metadata": {"name": "a"},
        "spec": spec,
    }))
}

#[test]
fn a_target_is_enough() {
    assert_eq!(
        violations(&json!({"target": {"deployment": "mistral"}})),
        Vec::<String>::new()
    );
}

#[test]
fn the_default_workload_is_the_reports_mix() {
    let spec: LLMBenchmarkSpec =
        serde_json::from_value(json!({"target": {"deployment": "m"}})).unwrap();
    let mix: Vec<_> = spec
        .workload
        .prompts
        .iter()
        .map(|prompt| (prompt.tokens, prompt.weight))
        .collect();
    assert_eq!(mix, [(64, 50), (128, 35), (256, 15)]);
    assert_eq!(spec.objectives.error_rate, Percentage::of_hundred(1.0));
}

/// A benchmark whose records go to a bucket, with a change.
fn records(change: &Value) -> Value {
    let mut bucket = json!({"bucket": "abc", "credentials": {"secretRef": {"name": "keys"}}});
    let fields = change.as_object().unwrap().clone();
    bucket.as_object_mut().unwrap().extend(fields);
    json!({"target": {"deployment": "m"}, "records": {"s3": bucket}})
}

#[test]
fn records_go_to_a_bucket_of_any_server() {
    for change in [
        json!({}),
        json!({"prefix": "team-a/nightly/", "endpoint": "http://minio.storage:9000", "region": "x"}),
    ] {
        assert_eq!(violations(&records(&change)), Vec::<String>::new());
    }
}

/// A benchmark of a server at `url` whose authority is in a Secret, with a change.
fn ca(url: &str, change: &Value) -> Value {
    let mut ca = json!({"secretRef": {"name": "corporate"}});
    let fields = change.as_object().unwrap().clone();
    ca.as_object_mut().unwrap().extend(fields);
    json!({"target": {"url": url, "model": "m", "ca": ca}})
}

#[test]
fn an_authority_of_an_https_server_is_under_ca_crt_unless_another_key_is_named() {
    assert_eq!(
        violations(&ca("https://a", &json!({}))),
        Vec::<String>::new()
    );
    let of_a_bundle = json!({"target": {"url": "https://a", "model": "m", "ca": {
        "configMapRef": {"name": "bundle"}, "key": "trust-bundle.pem",
    }}});
    assert_eq!(violations(&of_a_bundle), Vec::<String>::new());
    let spec: LLMBenchmarkSpec = serde_json::from_value(ca("https://a", &json!({}))).unwrap();
    assert_eq!(spec.target.ca.unwrap().key, "ca.crt");
}

#[test]
fn each_contradiction_is_refused_with_a_message_that_says_what_to_write() {
    let scenario = json!({"name": "a", "users": 1, "duration": "1s"});
    let cases = [
        (json!({"target": {}}), "either deployment"),
        (json!({"target": {"url": "http://a"}}), "name of the model"),
        (
            json!({"target": {"url": "a:80", "model": "m"}}),
            "http:// or https://",
        ),
        (
            ca("http://a", &json!({})),
            "together with an https:// address",
        ),
        (
            json!({"target": {"deployment": "m", "ca": {"secretRef": {"name": "a"}}}}),
            "together with an https:// address",
        ),
        (
            ca("https://a", &json!({"configMapRef": {"name": "b"}})),
            "either secretRef or configMapRef",
        ),
        (
            json!({"target": {"url": "https://a", "model": "m", "ca": {}}}),
            "either secretRef or configMapRef",
        ),
        (
            ca("https://a", &json!({"key": "../ca.crt"})),
            "a key of the Secret or ConfigMap",
        ),
        (
            json!({"target": {"deployment": "m", "model": "other"}}),
            "target.model: write it together with url",
        ),
        (
            json!({"target": {"deployment": "m", "metrics": {"url": "http://a/metrics"}}}),
            "target.metrics: write it together with url",
        ),
        (
            json!({"target": {"url": "http://a", "model": "m", "metrics": {"url": "a:80"}}}),
            "target.metrics.url: write the address",
        ),
        (
            json!({"target": {"url": "http://a", "model": "m", "metrics": {"url": "http://a/metrics", "gpuUrl": "a"}}}),
            "target.metrics.gpuUrl: write the address",
        ),
        (
            json!({"target": {"deployment": "m"}, "profile": "custom"}),
            "scenarios belong to profile custom",
        ),
        (
            json!({"target": {"deployment": "m"}, "scenarios": [scenario]}),
            "scenarios belong to profile custom",
        ),
        (
            json!({"target": {"deployment": "m"}, "profile": "custom", "scenarios": [{"name": "a", "duration": "1s"}]}),
            "either users",
        ),
        (
            json!({"target": {"url": "http://a", "model": "m"}, "tryRecommendations": 1}),
            "need target.deployment",
        ),
        (
            json!({"target": {"deployment": "m"}, "schedule": "every night"}),
            "five fields of cron",
        ),
        (
            json!({"target": {"deployment": "m"}, "records": {}}),
            "name an existingClaim, an s3 bucket, or both",
        ),
        (records(&json!({"bucket": "s3://a"})), "bucket's name alone"),
        (records(&json!({"prefix": "../b/"})), "end with '/'"),
        (records(&json!({"prefix": "a"})), "end with '/'"),
        (
            records(&json!({"endpoint": "https://user@minio/bucket"})),
            "without the bucket",
        ),
    ];
    assert_refused(&cases);
}

#[test]
fn a_jaeger_a_name_or_a_price_that_means_nothing_is_refused_in_the_same_way() {
    let scenario = json!({"name": "a", "users": 1, "duration": "1s"});
    let cases = [
        (
            json!({"target": {"deployment": "m", "jaegerUrl": "http://jaeger:16686"}}),
            "together with url",
        ),
        (
            json!({"target": {"url": "http://a", "model": "m", "jaegerUrl": "jaeger:16686"}}),
            "Jaeger's query API without a path",
        ),
        (
            json!({"target": {"url": "http://a", "model": "m", "jaegerUrl": "http://jaeger:16686/search"}}),
            "Jaeger's query API without a path",
        ),
        (
            json!({"target": {"deployment": "m"}, "variants": [
                {"name": "a", "patch": {}}, {"name": "b", "patch": {}}, {"name": "a", "patch": {}},
            ]}),
            "variants: give each a name of its own",
        ),
        (
            json!({"target": {"deployment": "m"}, "profile": "custom", "scenarios": [scenario, scenario]}),
            "scenarios: give each a name of its own",
        ),
        (
            json!({"target": {"deployment": "m"}, "price": {"perHour": "0.00"}}),
            "an amount above 0 in quotes",
        ),
        (
            json!({"target": {"deployment": "m"}, "price": {"perHour": "$2"}}),
            "an amount above 0 in quotes",
        ),
        (
            json!({"target": {"deployment": "m"}, "price": {"perHour": "2", "currency": "Dollar"}}),
            "three capital letters",
        ),
    ];
    assert_refused(&cases);
}

/// Each spec is refused with a message that has these words.
fn assert_refused(cases: &[(Value, &str)]) {
    for (spec, cure) in cases {
        let messages = violations(spec);
        assert!(
            messages.iter().any(|message| message.contains(cure)),
            "{spec}: {messages:?} lacks \"{cure}\""
        );
    }
}

#[test]
fn a_jaeger_variants_and_a_price_are_taken() {
    for spec in [
        json!({"target": {"url": "http://a", "model": "m", "jaegerUrl": "http://jaeger.tracing:16686"}}),
        json!({"target": {"deployment": "m"}, "variants": [
            {"name": "a", "patch": {"precision": "q8_0"}}, {"name": "b", "patch": {}},
        ]}),
        json!({"target": {"deployment": "m"}, "price": {"perHour": "2.50"}}),
        json!({"target": {"deployment": "m"}, "price": {"perHour": "10", "currency": "EUR"}}),
    ] {
        assert_eq!(violations(&spec), Vec::<String>::new(), "{spec}");
    }
    let price: Price = serde_json::from_value(json!({"perHour": "2.50"})).unwrap();
    assert_eq!(
        (price.amount(), price.currency.as_str()),
        (Some(2.5), "USD")
    );
}

#[test]
fn rates_are_such_as_one_machine_can_keep() {
    let arrival = |kind: &str, rate: &str| {
        let scenario = json!({"name": "a", "duration": "1s", "arrival": {kind: rate}});
        violations(
            &json!({"target": {"deployment": "m"}, "profile": "custom", "scenarios": [scenario]}),
        )
    };
    for kind in ["poisson", "constant"] {
        for rate in [
            "0.001/s",
            "0.0015/s",
            "0.05/s",
            "0.5/s",
            "0.10/s",
            "3/s",
            "10.0/s",
            "99999.9/s",
            "100000/s",
        ] {
            assert_eq!(arrival(kind, rate), Vec::<String>::new(), "{rate}");
        }
        for rate in [
            "0/s",
            "0.0/s",
            "0.0009/s",
            "0.00000000000000000001/s",
            "100001/s",
            "100000.1/s",
            "1000000000000/s",
            "3",
            "-1/s",
            "1e3/s",
        ] {
            let messages = arrival(kind, rate);
            assert!(
                messages
                    .iter()
                    .any(|message| message.contains("from 0.001/s to 100000/s")),
                "{rate}: {messages:?}"
            );
        }
    }
}

#[test]
fn names_leave_room_for_those_of_the_children() {
    let refused = |name: &str, spec: Value| {
        !testing::violations::<LLMBenchmark>(&json!({
            "apiVersion": "candlepower.dev/v1alpha1",
            "kind": "LLMBenchmark",
            "metadata": {"name": name},
            "spec": spec,
        }))
        .is_empty()
    };
    let once = json!({"target": {"deployment": "m"}});
    let nightly = json!({"target": {"deployment": "m"}, "schedule": "0 3 * * *"});
    assert!(!refused(&"a".repeat(50), once.clone()));
    assert!(refused(&"a".repeat(51), once.clone()));
    assert!(refused("1st", once));
    assert!(!refused(&"a".repeat(41), nightly.clone()));
    assert!(refused(&"a".repeat(42), nightly));
}
