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

/// The links of a panel: titles and queries of the traces' data source.
fn links(panel: &Value) -> Vec<(String, Value)> {
    let links = panel["fieldConfig"]["defaults"]["links"].as_array();
    links
        .into_iter()
        .flatten()
        .map(|link| {
            let url = link["url"].as_str().unwrap();
            let text = url.strip_prefix("/explore?schemaVersion=1&panes=").unwrap();
            let explored: Value = serde_json::from_str(text).unwrap();
            assert_eq!(explored["traces"]["datasource"], "${traces}", "{url}");
            assert_eq!(explored["traces"]["range"]["from"], "${__from}", "{url}");
            let query = explored["traces"]["queries"][0].clone();
            assert_eq!(query["datasource"]["uid"], "${traces}", "{url}");
            (link["title"].as_str().unwrap().to_owned(), query)
        })
        .collect()
}

fn title(panel: &Value) -> String {
    panel["title"].as_str().unwrap().to_owned()
}

#[test]
fn every_panel_with_exemplars_leads_to_the_trace_of_each() {
    let board = &generic()["performance"];
    let marked: Vec<_> = panels(board)
        .filter(|panel| panel["targets"][0]["exemplar"] == true)
        .collect();
    let titles: Vec<_> = marked.iter().map(|panel| title(panel)).collect();
    assert_eq!(
        titles,
        [
            "Time to first token",
            "Time to first token, distribution",
            "Time per output token",
            "Time of whole requests"
        ]
    );
    for panel in marked {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["exemplar"], true, "{}", title(panel));
        }
        let links = links(panel);
        assert_eq!(links.len(), 1, "{}", title(panel));
        assert_eq!(links[0].1["query"], "${__data.fields.trace_id}");
    }
}

#[test]
fn errors_and_the_fleet_lead_to_the_traces_that_explain_them() {
    let found: Vec<_> = ["errors", "fleet"]
        .into_iter()
        .flat_map(|name| {
            panels(&generic()[name])
                .map(Value::clone)
                .collect::<Vec<_>>()
        })
        .flat_map(|panel| {
            let links = links(&panel).into_iter();
            links.map(move |(link, query)| (title(&panel), link, query))
        })
        .collect();
    let told: Vec<_> = found
        .iter()
        .map(|(panel, link, query)| {
            let by = query["tags"].as_str().or(query["minDuration"].as_str());
            format!("{panel}: {link} {}", by.unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            "Error rate over time: Failed requests error=true",
            "Errors by type over time: Failed requests error=true",
            "TTFT P95: Slow requests 2000ms",
            "Error rate: Failed requests error=true",
        ]
    );
    for (_, _, query) in found {
        assert_eq!(query["queryType"], "search");
        assert_eq!(query["service"], "candlepower-server");
    }
}

#[test]
fn a_board_asks_for_the_traces_only_where_a_link_leads_there() {
    for board in all() {
        let variables = board["templating"]["list"].as_array().unwrap();
        let asked = variables
            .iter()
            .any(|variable| variable["name"] == "traces");
        let used = board["panels"].to_string().contains("${traces}");
        assert_eq!(asked, used, "{}", board["uid"]);
    }
}

#[test]
fn a_query_that_finds_nothing_is_not_shown_as_zero() {
    for query in all().iter().flat_map(queries) {
        assert!(!query.contains("vector("), "{query}");
    }
}

#[test]
fn a_board_is_the_same_text_whether_its_panels_were_remembered_or_not() {
    let limits = Limits::from(&spec(&json!({"errorRate": {"threshold": "7%"}})).alerts);
    let view = View::Resource {
        namespace: "team",
        name: "tiny",
    };
    for _ in 0..2 {
        let remembered = drawn(limits);
        for (board, (_, panels)) in of_models(limits).iter().zip(&*remembered) {
            assert_eq!(
                board.text(view, panels),
                sorted(board.json(view)).to_string()
            );
        }
    }
}

#[test]
fn each_resource_has_its_own_limits_however_many_there_are() {
    for percent in 1..=REMEMBERED + 2 {
        let own = spec(&json!({"errorRate": {"threshold": format!("{percent}%")}}));
        let boards = of(&own, "tiny");
        let text = serde_json::to_string(&boards).unwrap();
        let expected = Limits::from(&own.alerts).errors;
        assert!(
            text.contains(&format!("\"value\":{expected}")),
            "{expected}"
        );
    }
}
