use super::*;
use crate::report::tests::report;

/// The template's headings, in its order.
const HEADINGS: [&str; 38] = [
    "Executive Summary",
    "System Architecture",
    "Overview",
    "Technology Stack",
    "Hardware Configuration",
    "Methodology",
    "Test Configuration",
    "Metrics Collected",
    "Tools Used",
    "Baseline Performance",
    "Test Results",
    "Resource Utilization",
    "Latency Distribution",
    "Bottleneck Analysis",
    "Trace Analysis",
    "Identified Bottlenecks",
    "Load Testing Results",
    "1 users",
    "Breaking Points",
    "Optimization Recommendations",
    "High Priority (Quick Wins)",
    "Medium Priority",
    "Long-term Improvements",
    "Performance Improvements",
    "Before vs After",
    "Cost-Benefit Analysis",
    "Monitoring and Alerts",
    "Recommended Dashboards",
    "Alert Rules",
    "Conclusions",
    "Summary of Findings",
    "Recommended Actions",
    "Next Steps",
    "Appendices",
    "References",
    "Related Documentation",
    "Test Data",
    "Document Control",
];

/// A report whose every text tries to be something else.
fn hostile() -> Report {
    let mut report = report();
    let evil = "</title><script>alert(1)</script>\"' ]]> &amp; | `x` [a](b) \u{1}";
    evil.clone_into(&mut report.title);
    evil.clone_into(&mut report.run.model);
    evil.clone_into(&mut report.run.prompt_lengths);
    report.server = Some(evil.to_owned());
    evil.clone_into(&mut report.levels[0].name);
    evil.clone_into(&mut report.breakdowns[0].root.name);
    report.deployment = Some(serde_json::json!({ "x": evil }));
    report
}

/// Lines that are headings, in the order of the text.
fn headings(text: &str, is: impl Fn(&str) -> bool) -> Vec<&str> {
    text.lines()
        .map(str::trim)
        .filter(|line| is(line))
        .collect()
}

#[test]
fn every_form_has_all_sections_of_the_template_in_its_order() {
    let report = report();
    for (format, mark) in [
        (Format::Html, "<h"),
        (Format::Md, "#"),
        (Format::Confluence, "<h"),
    ] {
        let text = render(&report, format).unwrap();
        let headings = headings(&text, |line| line.starts_with(mark));
        let mut left = headings.iter();
        for expected in HEADINGS {
            assert!(
                left.any(|line| line.contains(expected)),
                "{format:?}: {expected} is not where it should be in {headings:#?}"
            );
        }
    }
}

#[test]
fn the_conclusion_comes_before_everything_else() {
    let report = report();
    let html = render(&report, Format::Html).unwrap();
    let body = html.split("<body>").nth(1).unwrap();
    let conclusion = body.find("TL;DR").unwrap();
    assert!(conclusion < 1500, "{conclusion}");
    assert!(conclusion < body.find("<table").unwrap());
    assert!(conclusion < body.find("<nav").unwrap());
}

#[test]
fn a_page_asks_for_nothing_outside_itself_and_runs_nothing() {
    let html = render(&hostile(), Format::Html).unwrap();
    for loads in [
        "<script",
        "src=",
        "url(",
        "@import",
        "<link rel=\"stylesheet\"",
    ] {
        assert!(!html.contains(loads), "{loads}");
    }
    assert!(html.contains("default-src &#x27;none&#x27;") || html.contains("default-src 'none'"));
    assert!(html.contains("&lt;script&gt;"));
}

#[test]
fn code_in_confluence_cannot_leave_its_section() {
    let text = render(&hostile(), Format::Confluence).unwrap();
    let mut parts = text.split("<![CDATA[");
    assert!(!parts.next().unwrap().contains("<script"));
    for part in parts {
        let (inside, outside) = part.split_once("]]>").unwrap();
        assert!(!inside.contains("<ac:"), "{inside}");
        assert!(!outside.contains("<script"), "{outside}");
    }
    assert!(!text.contains('\u{1}'));
}

#[test]
fn tables_in_markdown_have_the_same_number_of_columns_in_every_row() {
    let text = render(&hostile(), Format::Md).unwrap();
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    let lines: Vec<_> = text.lines().collect();
    let mut tables = 0;
    for pair in lines.windows(2) {
        if pair[0].starts_with('|') && pair[1].starts_with('|') {
            assert_eq!(columns(pair[0]), columns(pair[1]), "{pair:?}");
            tables += 1;
        }
    }
    assert!(tables > 20, "{tables}");
}

#[test]
fn json_reads_back_as_the_same_report() {
    let report = report();
    let text = render(&report, Format::Json).unwrap();
    let back: Report = serde_json::from_str(&text).unwrap();
    let classes = |report: &Report| {
        report
            .findings
            .iter()
            .map(|one| one.class)
            .collect::<Vec<_>>()
    };
    assert_eq!(classes(&back), classes(&report));
    assert_eq!(
        render(&back, Format::Md).unwrap(),
        render(&report, Format::Md).unwrap()
    );
}

#[test]
fn plots_have_words_for_those_who_cannot_see_them() {
    let html = render(&report(), Format::Html).unwrap();
    let plots = html.matches("<figure").count();
    assert!(plots >= 9, "{plots}");
    assert_eq!(html.matches("role=\"img\" aria-labelledby").count(), plots);
    assert!(!html.contains("NaN") && !html.contains("inf\""));
}

/// A report that a cluster made, with variants and a last round of the deployment.
fn example() -> Report {
    let text = include_str!("../../../../docs/examples/smollm2-quick/report.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn ids_of_a_page_are_unique() {
    let html = render(&example(), Format::Html).unwrap();
    let mut ids: Vec<_> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(all > 50, "{all}");
    assert_eq!(ids.len(), all);
}

#[test]
fn every_form_says_what_its_tables_show() {
    let report = example();
    let caption = "Figures against their objectives";
    for (format, written) in [
        (Format::Html, format!("<caption>{caption}</caption>")),
        (Format::Md, format!("*{caption}*")),
        (Format::Confluence, format!("<em>{caption}</em>")),
    ] {
        let text = render(&report, format).unwrap();
        assert!(text.contains(&written), "{format:?}");
    }
}

#[test]
fn only_addresses_by_http_become_links() {
    let mut report = report();
    report.run.url = "http://tiny:8080".to_owned();
    report.traces_source = Some("Jaeger at javascript:alert(1)".to_owned());
    let html = render(&report, Format::Html).unwrap();
    assert!(
        html.contains("<a href=\"http:&#x2f;&#x2f;tiny:8080\">Target"),
        "{html}"
    );
    assert!(!html.contains("href=\"javascript"));
    let markdown = render(&report, Format::Md).unwrap();
    assert!(markdown.contains("[Target: http://tiny:8080](http://tiny:8080)"));
}
