//! What every dashboard promises to its reader.
use super::{board::COLUMNS, *};
use crate::observability::{
    queries::{PROCESS_RESIDENT_MEMORY, PROCESS_START_TIME},
    rules::recording,
};
use candlepower_api::deployment::LLMDeploymentSpec;
use serde_json::json;
use std::collections::BTreeSet;

fn spec(alerts: &Value) -> LLMDeploymentSpec {
    serde_json::from_value(json!({"model": {"source": "pvc://models/a.gguf"}, "alerts": alerts}))
        .unwrap()
}

fn of(spec: &LLMDeploymentSpec, name: &str) -> BTreeMap<String, Value> {
    of_resource(&Subject {
        namespace: "team",
        name,
        spec,
    })
    .into_iter()
    .map(|(file, text)| (file, serde_json::from_str(&text).unwrap()))
    .collect()
}

fn all() -> Vec<Value> {
    generic()
        .into_values()
        .chain(of(&spec(&json!({})), "tiny").into_values())
        .collect()
}

fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    let panels = board["panels"].as_array().unwrap();
    panels.iter().filter(|panel| panel["type"] != "row")
}

fn queries(board: &Value) -> Vec<String> {
    panels(board)
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

/// Every name of a series that the constants hold.
fn known_series() -> BTreeSet<String> {
    let constants = [
        include_str!("../../../../api/src/names/metrics.rs"),
        include_str!("../../../../api/src/names/operator_metrics.rs"),
    ];
    let plain = constants
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| line.starts_with("pub const") && !line.contains("const LABEL"))
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned));
    plain
        .flat_map(|name| ["", "_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")))
        .chain([PROCESS_START_TIME, PROCESS_RESIDENT_MEMORY].map(str::to_owned))
        .chain(recording::ALL.map(str::to_owned))
        .collect()
}

/// The words that a `{` follows: names of series.
fn series_of(query: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    query
        .match_indices('{')
        .map(|(at, _)| {
            query[..at]
                .rsplit(|c| !is_name(c))
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    for board in all() {
        for panel in panels(&board) {
            for text in ["title", "description"] {
                assert!(!panel[text].as_str().unwrap().is_empty(), "{panel}");
            }
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{panel}"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
            assert!(!panel["targets"].as_array().unwrap().is_empty());
        }
    }
}

#[test]
fn every_query_names_only_series_that_exist_and_uses_the_reader_s_choice() {
    let known = known_series();
    for board in all() {
        for query in queries(&board) {
            let series = series_of(&query);
            assert!(!series.is_empty(), "{query}");
            for name in series {
                assert!(known.contains(&name), "{name} in {query}");
            }
            assert!(
                query.contains("$namespace") || query.contains("$operator"),
                "{query}"
            );
            let pods = board["uid"].as_str().unwrap() != "candlepower-fleet";
            assert_eq!(query.contains("$pod"), pods, "{query}");
        }
    }
}

#[test]
fn rates_adapt_to_the_time_that_is_shown() {
    for query in all().iter().flat_map(queries) {
        for window in query
            .split('[')
            .skip(1)
            .map(|rest| rest.split(']').next().unwrap())
        {
            assert!(
                ["$__rate_interval", "$__range", "15m"].contains(&window),
                "{query}"
            );
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for board in all() {
        let mut taken = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(at("x") + at("w") <= u64::from(COLUMNS));
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{} overlaps", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn identities_are_short_stable_and_different() {
    let spec = spec(&json!({}));
    let uids: BTreeSet<_> = ["tiny", "other"]
        .iter()
        .flat_map(|name| of(&spec, name).into_values())
        .chain(generic().into_values())
        .map(|board| board["uid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uids.len(), 3 + 3 + 4);
    assert!(uids.iter().all(|uid| uid.len() <= 40), "{uids:?}");
    assert!(all().iter().all(|board| board["editable"] == false));
    assert_eq!(of(&spec, "tiny"), of(&spec, "tiny"));
}

#[test]
fn a_resource_s_dashboards_show_the_resource_and_its_thresholds() {
    let boards = of(
        &spec(&json!({"timeToFirstTokenP95": {"threshold": "1500ms"}})),
        "tiny",
    );
    let files: Vec<_> = boards.keys().map(String::as_str).collect();
    assert_eq!(
        files,
        [
            "team-tiny-errors.json",
            "team-tiny-performance.json",
            "team-tiny-resources.json"
        ]
    );
    let board = &boards["team-tiny-performance.json"];
    let current = |variable: &str| {
        let variables = board["templating"]["list"].as_array().unwrap();
        let found = variables
            .iter()
            .find(|one| one["name"] == variable)
            .unwrap();
        found["current"]["value"][0].clone()
    };
    assert_eq!(
        (current("namespace"), current("llmdeployment")),
        (json!("team"), json!("tiny"))
    );
    let panel = panels(board)
        .find(|panel| panel["title"] == "Time to first token")
        .unwrap();
    assert_eq!(
        panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"],
        1.5
    );
}

#[test]
fn latency_panels_lead_to_traces() {
    let board = &generic()["performance"];
    let panel = panels(board)
        .find(|panel| panel["title"] == "Time to first token")
        .unwrap();
    assert_eq!(panel["targets"][0]["exemplar"], true);
    let link = panel["fieldConfig"]["defaults"]["links"][0]["url"]
        .as_str()
        .unwrap();
    assert!(
        link.contains("${traces}") && link.contains("trace_id"),
        "{link}"
    );
}
