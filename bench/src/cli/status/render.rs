//! A deployment's report as one screen of text.
use super::{Report, Tool, pods::PodSummary};
use crate::{
    cli::text::{Paint, age, table},
    evidence::places::Place,
};
use candlepower_api::{
    deployment::status::{LLMDeploymentStatus, Percentiles},
    names::alerts as names,
    value::ByteSize,
};
use k8s_openapi::jiff::Timestamp;
use std::fmt::Write as _;

/// The screen.
pub(super) fn screen(report: &Report, now: Timestamp, paint: Paint) -> String {
    let verdict = paint.verdict(
        report.ready,
        if report.ready { "Ready" } else { "Not ready" },
    );
    let since = report.created.as_deref().and_then(|time| time.parse().ok());
    let since = since.map_or_else(String::new, |time| format!(", {} old", age(time, now)));
    let mut text = format!(
        "{}  {verdict}, {}/{} pods serve{since}\n",
        paint.bold(&format!("{}/{}", report.namespace, report.name)),
        report.status.ready_replicas,
        report.status.replicas,
    );
    text += &model(&report.status);
    let sections = [
        ("Conditions", conditions(&report.status, now)),
        ("Figures", figures(&report.status, now)),
        ("Alerts", alerts(&report.status, paint)),
        ("Pods", pods(&report.pods)),
        ("Prometheus", tool(&report.prometheus)),
        ("Jaeger", tool(&report.jaeger)),
    ];
    for (title, body) in sections {
        let _ = writeln!(text, "\n{}", paint.bold(title));
        for line in body.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn model(status: &LLMDeploymentStatus) -> String {
    let mut text = String::new();
    if let Some(url) = &status.url {
        let _ = writeln!(text, "url    {url}");
    }
    match &status.model {
        Some(model) => {
            let [weights, cache] =
                [model.weights_bytes, model.kv_cache_bytes].map(|size| ByteSize::new(size).human());
            let _ = writeln!(
                text,
                "model  {}: {} {} on {}, context of {} tokens, weights {weights}, KV cache up to {cache}",
                model.name, model.architecture, model.precision, model.device, model.context_length
            );
        }
        None => text += "model  not loaded\n",
    }
    if let Some(load) = &status.load {
        let left = load
            .remaining
            .map_or_else(String::new, |left| format!(", {left} left"));
        let _ = writeln!(text, "load   {:?}, {} %{left}", load.stage, load.percent);
    }
    text
}

fn conditions(status: &LLMDeploymentStatus, now: Timestamp) -> String {
    let rows: Vec<_> = status
        .conditions
        .iter()
        .map(|one| {
            [
                one.type_.clone(),
                one.status.clone(),
                one.reason.clone(),
                age(one.last_transition_time.0, now),
                one.message.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "none yet; does the operator run?".to_owned();
    }
    table(["TYPE", "STATUS", "REASON", "AGE", "MESSAGE"], &rows)
}

fn figures(status: &LLMDeploymentStatus, now: Timestamp) -> String {
    let Some(figures) = &status.performance else {
        return "none: no request came in the window".to_owned();
    };
    let taken: Option<Timestamp> = figures.observed_at.parse().ok();
    let taken = taken.map_or_else(String::new, |time| format!(", {} ago", age(time, now)));
    let row = |name: &str, times: &Option<Percentiles>| {
        let cells = match times {
            Some(times) => [times.p50, times.p95, times.p99].map(|time| time.to_string()),
            None => ["-"; 3].map(ToOwned::to_owned),
        };
        let [p50, p95, p99] = cells;
        [name.to_owned(), p50, p95, p99]
    };
    let rows = [
        row("time to first token", &figures.ttft),
        row("time per output token", &figures.tpot),
    ];
    format!(
        "{} tokens/s, {} requests/s, {} errors (over {}{taken})\n{}",
        figures.tokens_per_second,
        figures.requests_per_second,
        figures.error_rate,
        figures.window,
        table(["", "P50", "P95", "P99"], &rows)
    )
}

fn alerts(status: &LLMDeploymentStatus, paint: Paint) -> String {
    let told = status.alerts.iter();
    let folder = told.clone().find_map(|told| told.runbooks_url.as_deref());
    // An operator of before did not tell.
    let folder = folder.unwrap_or(names::DEFAULT_RUNBOOKS);
    let firing = told.flat_map(|told| &told.firing);
    let lines: Vec<_> = firing
        .map(|name| {
            let page = names::runbook(folder, name);
            format!("{}  see {page}", paint.verdict(false, name))
        })
        .collect();
    if lines.is_empty() {
        "none fires".to_owned()
    } else {
        lines.join("\n")
    }
}

fn pods(pods: &[PodSummary]) -> String {
    if pods.is_empty() {
        return "none".to_owned();
    }
    let dash = || "-".to_owned();
    let rows: Vec<_> = pods
        .iter()
        .map(|pod| {
            [
                pod.name.clone(),
                pod.phase.clone(),
                format!("{}/{}", pod.ready, pod.containers),
                pod.restarts.to_string(),
                pod.last_end.clone().unwrap_or_else(dash),
                pod.node.clone().unwrap_or_else(dash),
            ]
        })
        .collect();
    table(
        ["NAME", "PHASE", "READY", "RESTARTS", "LAST END", "NODE"],
        &rows,
    )
}

fn tool(tool: &Tool) -> String {
    let mut lines = match &tool.place {
        Place::Pods { port } => vec![format!("beside the model in each pod, port {port}")],
        Place::Address { address, .. } => vec![address.clone()],
        Place::Absent { .. } => vec![],
    };
    lines.extend(tool.absent.iter().map(|why| format!("not found: {why}")));
    lines.extend(tool.commands.iter().cloned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::testing, evidence::places};

    fn report(deployment: candlepower_api::deployment::LLMDeployment) -> Report {
        let tool = |place| Tool {
            place,
            commands: vec!["kubectl -n team port-forward pod/tiny-1 16686".to_owned()],
            absent: None,
        };
        Report {
            namespace: "team".to_owned(),
            name: "tiny".to_owned(),
            created: Some("2026-11-24T10:00:00Z".to_owned()),
            ready: crate::cli::fleet::is_ready(&deployment),
            prometheus: tool(places::prometheus(&deployment)),
            jaeger: tool(places::jaeger(&deployment)),
            status: deployment.status.unwrap_or_default(),
            pods: vec![],
        }
    }

    fn text(deployment: candlepower_api::deployment::LLMDeployment) -> String {
        let now = "2026-11-24T10:10:00Z".parse().unwrap();
        screen(&report(deployment), now, Paint::off())
    }

    #[test]
    fn the_screen_says_what_serves_how_fast_and_what_is_wrong() {
        let text = text(testing::serving());
        for expected in [
            "team/tiny  Ready, 1/2 pods serve, 10m old",
            "model  tiny-1b: llama q4_1 on cpu, context of 2048 tokens, weights 136.4 MiB",
            "load   Loaded, 100 %",
            "ObservabilityReady  True    Collecting    10m  the pods are scraped",
            "64.2 tokens/s, 1.5 requests/s, 0.5% errors (over 1m, 30s ago)",
            "time to first token    110ms  450ms  900ms",
            "CandlepowerMemoryHigh  see https://wiki.example/CandlepowerMemoryHigh.md",
            "http://prometheus.monitoring:9090",
            "beside the model in each pod, port 16686",
            "kubectl -n team port-forward pod/tiny-1 16686",
        ] {
            assert!(text.contains(expected), "{expected} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_status_that_names_no_runbooks_leads_to_the_project_s_own() {
        let alerts = serde_json::json!({"alerts": {"firing": ["CandlepowerQueueFull"]}});
        let text = text(testing::deployment("team", "tiny", &alerts));
        let page = "see https://github.com/candlepower/candlepower/blob/main/docs/runbooks/CandlepowerQueueFull.md";
        assert!(text.contains(page), "{text}");
    }

    #[test]
    fn a_resource_that_nobody_has_looked_at_yet_says_so() {
        let text = text(testing::deployment(
            "team",
            "tiny",
            &serde_json::Value::Null,
        ));
        assert!(text.contains("Not ready, 0/0 pods serve"), "{text}");
        assert!(text.contains("none yet; does the operator run?"), "{text}");
        assert!(text.contains("none fires"), "{text}");
    }
}
