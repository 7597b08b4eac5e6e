//! What the rules of a resource promise. Whether they fire is tested by promtool (`make rules-test`).
use super::*;
use crate::observability::queries::edge_text;
use candlepower_api::{deployment::LLMDeploymentSpec, names::alerts as names, value::Duration};
use serde_json::{Value, json};

fn spec(more: &Value) -> LLMDeploymentSpec {
    let mut spec = json!({"model": {"source": "pvc://models/a.gguf"}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn rules_of(more: &Value) -> Vec<Rule> {
    let file = of_resource(
        &Subject {
            namespace: "team-a",
            name: "tiny-llm",
            spec: &spec(more),
        },
        DEFAULT_RUNBOOKS,
    );
    file.groups
        .into_iter()
        .flat_map(|group| group.rules)
        .collect()
}

fn alert<'a>(rules: &'a [Rule], name: &str) -> Option<&'a Rule> {
    rules
        .iter()
        .find(|rule| rule.alert.as_deref() == Some(name))
}

fn with_objectives() -> Value {
    json!({"objectives": {"availability": "99.9%", "timeToFirstToken": {"threshold": "2s", "target": "99%"}}})
}

#[test]
fn every_alert_exists_and_says_what_to_do() {
    let rules = rules_of(&with_objectives());
    for name in names::ALL {
        let rule = alert(&rules, name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(rule.labels.contains_key("severity"), "{name}");
        assert!(rule.annotations["runbook_url"].ends_with(&format!("docs/runbooks/{name}.md")));
        assert!(!rule.annotations["summary"].contains("{{"), "{name}");
        assert!(rule.annotations["description"].contains("$labels.llmdeployment"));
    }
}

#[test]
fn every_expression_is_about_this_resource_only() {
    for rule in rules_of(&with_objectives()) {
        let selectors = rule.expr.matches('{').count();
        let own = rule
            .expr
            .matches("namespace=\"team-a\",llmdeployment=\"tiny-llm\"")
            .count();
        assert!(selectors > 0 && selectors == own, "{}", rule.expr);
    }
}

#[test]
fn groups_carry_the_resource_and_the_scrape_interval() {
    let spec = spec(&json!({"observability": {"metrics": {"interval": "5s"}}}));
    let file = of_resource(
        &Subject {
            namespace: "team-a",
            name: "tiny-llm",
            spec: &spec,
        },
        DEFAULT_RUNBOOKS,
    );
    let names: Vec<_> = file.groups.iter().map(|group| &*group.name).collect();
    assert_eq!(
        names,
        [
            "candlepower:team-a:tiny-llm:recording",
            "candlepower:team-a:tiny-llm:alerts"
        ]
    );
    assert!(
        file.groups
            .iter()
            .all(|group| group.interval.as_deref() == Some("5s"))
    );
}

#[test]
fn thresholds_holds_and_severities_are_the_resource_s_own() {
    let rules = rules_of(&json!({"alerts": {
        "window": "1m",
        "timeToFirstTokenP95": {"threshold": "1500ms", "for": "30s", "severity": "critical"},
        "errorRate": {"threshold": "0%"},
        "memoryUtilization": {"threshold": "100%"},
    }}));
    let ttft = alert(&rules, names::TIME_TO_FIRST_TOKEN_HIGH).unwrap();
    assert!(ttft.expr.ends_with("> 1.5"), "{}", ttft.expr);
    assert_eq!(ttft.hold.as_deref(), Some("30s"));
    assert_eq!(ttft.labels["severity"], "critical");
    assert!(
        alert(&rules, names::ERROR_RATE_HIGH)
            .unwrap()
            .expr
            .ends_with("> 0")
    );
    assert!(
        alert(&rules, names::MEMORY_HIGH)
            .unwrap()
            .expr
            .ends_with("> 1")
    );
    let recorded = rules
        .iter()
        .find(|rule| rule.record.as_deref() == Some(recording::TTFT_P95));
    assert!(recorded.unwrap().expr.contains("[1m]"));
}

#[test]
fn a_disabled_alert_does_not_exist() {
    let off = json!({"enabled": false});
    let rules = rules_of(&json!({"alerts": {
        "timeToFirstTokenP95": off, "memoryUtilization": off, "errorRate": off, "throughput": off,
    }, "observability": {"tracing": {"mode": "None"}}}));
    for name in &names::ALL[..4] {
        assert_eq!(alert(&rules, name), None);
    }
    assert_eq!(alert(&rules, names::TRACE_EXPORT_FAILING), None);
}

#[test]
fn gpus_bring_a_rule_for_their_memory_beside_the_container_s() {
    let memory = |resources: Value| {
        let rules = rules_of(&json!({"resources": resources}));
        let rules = rules
            .into_iter()
            .filter(|rule| rule.alert.as_deref() == Some(names::MEMORY_HIGH));
        rules
            .map(|rule| rule.labels["memory"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(memory(json!({"gpus": 0})), ["container"]);
    assert_eq!(memory(json!({"gpus": 1})), ["container", "gpu"]);
    let claims = json!([{"name": "gpu", "resourceClaimTemplateName": "a"}]);
    assert_eq!(memory(json!({"claims": claims})), ["container", "gpu"]);
}

#[test]
fn a_server_that_waits_for_its_first_request_is_not_unready() {
    let expr = |preload| {
        alert(&rules_of(&json!({"preload": preload})), names::NOT_READY)
            .unwrap()
            .expr
            .clone()
    };
    assert!(expr(true).contains("llm_model_loaded"));
    assert!(!expr(false).contains("llm_model_loaded"));
}

#[test]
fn objectives_bring_four_burn_rates_each() {
    let rules = rules_of(&with_objectives());
    let burns: Vec<_> = rules
        .iter()
        .filter(|rule| rule.alert.as_deref() == Some(names::AVAILABILITY_BUDGET_BURN))
        .map(|rule| {
            (
                &*rule.labels["window"],
                &*rule.labels["severity"],
                rule.expr.rsplit(' ').next().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        burns,
        [
            ("1h", "critical", "0.0144"),
            ("6h", "critical", "0.006"),
            ("1d", "warning", "0.003"),
            ("3d", "warning", "0.001")
        ]
    );
    assert_eq!(
        alert(&rules_of(&json!({})), names::AVAILABILITY_BUDGET_BURN),
        None
    );
}

#[test]
fn the_edge_of_an_objective_is_written_as_the_exporter_writes_it() {
    for (millis, text) in [
        (2000, "2"),
        (500, "0.5"),
        (2500, "2.5"),
        (1900, "1"),
        (0, "0.001"),
    ] {
        assert_eq!(edge_text(Duration::from_millis(millis)), text);
    }
}

#[test]
fn a_window_shorter_than_four_scrapes_is_widened() {
    let spec = spec(
        &json!({"alerts": {"window": "10s"}, "observability": {"metrics": {"interval": "15s"}}}),
    );
    assert_eq!(
        crate::observability::queries::window(&spec),
        Duration::from_secs(60)
    );
}

#[test]
fn runbooks_can_be_elsewhere() {
    let spec = spec(&json!({}));
    let file = of_resource(
        &Subject {
            namespace: "a",
            name: "b",
            spec: &spec,
        },
        "https://wiki.example/llm/",
    );
    let rule = &file.groups[1].rules[0];
    assert_eq!(
        rule.annotations["runbook_url"],
        "https://wiki.example/llm/CandlepowerTimeToFirstTokenHigh.md"
    );
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() {
    let folder = std::path::Path::new("../docs/runbooks");
    let mut pages: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    let all = names::ALL.iter().chain(&names::OPERATOR);
    let mut wanted: Vec<_> = all.map(|name| format!("{name}.md")).collect();
    wanted.sort();
    // Benchmarks of resources and of other servers have one page.
    wanted.dedup();
    assert_eq!(pages, wanted);
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for page in wanted {
        assert!(
            index.contains(&format!("({page})")),
            "docs/runbooks/README.md lacks {page}"
        );
    }
}
