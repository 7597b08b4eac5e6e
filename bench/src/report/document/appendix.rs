//! Section 10: sources, settings, and what could not be measured.
use super::{Block, Item, Section, code, list, table, text};
use crate::report::{
    gaps,
    model::{Outcome, Report},
};

/// Pages of Candlepower's documentation that explain what stands here.
const DOCUMENTATION: [(&str, &str); 4] = [
    (
        "docs/benchmark.md",
        "how load is applied, and how figures, findings and recommendations are made",
    ),
    (
        "docs/observability.md",
        "metrics, traces, alerts and dashboards",
    ),
    (
        "docs/resources.md",
        "the fields of LLMDeployment that recommendations change",
    ),
    (
        "docs/reference/report.schema.json",
        "this report's JSON form",
    ),
];

pub(super) fn section(report: &Report) -> Section {
    Section::new("10", "Appendices").under([
        Section::new("10.1", "References").with([Block::List {
            items: references(report),
        }]),
        Section::new("10.2", "Related Documentation").with([Block::List {
            items: DOCUMENTATION.map(page).into(),
        }]),
        Section::new("10.3", "Test Data").with(data(report)),
        Section::new("10.4", "What Was Not Measured").with([missing(report)]),
        Section::new("10.5", "Document Control").with([control(report)]),
    ])
}

fn page((file, about): (&str, &str)) -> Item {
    let text = format!("{file}: {about}");
    match repository() {
        Some(repository) => Item::link(text, &format!("{repository}/blob/main/{file}")),
        None => text.into(),
    }
}

/// Where the sources are, if the package says so.
fn repository() -> Option<&'static str> {
    Some(env!("CARGO_PKG_REPOSITORY")).filter(|address| !address.is_empty())
}

fn references(report: &Report) -> Vec<Item> {
    let address = |source: &str| {
        let mut words = source.split_whitespace();
        words
            .find(|word| word.starts_with("http"))
            .unwrap_or_default()
            .trim_end_matches(',')
            .to_owned()
    };
    let mut all = vec![Item::link(
        format!("Target: {}", report.run.url),
        &report.run.url,
    )];
    let jaeger = report.traces_source.as_deref().map(address);
    for (name, source) in [
        ("Traces", &report.traces_source),
        ("Metrics", &report.metrics_source),
        ("GPUs", &report.gpu_source),
    ] {
        let source = source.as_deref();
        all.extend(source.map(|source| Item::link(format!("{name}: {source}"), &address(source))));
    }
    all.extend(repository().map(|address| Item::link(format!("Repository: {address}"), address)));
    all.extend(results(report).into_iter().map(Item::from));
    for one in &report.breakdowns {
        if let Some(id) = &one.root.trace_id {
            let text = format!("Trace of {:?} in {}: {id}", one.role, one.scenario);
            let base = jaeger.as_deref().unwrap_or_default().trim_end_matches('/');
            all.push(Item::link(text, &format!("{base}/trace/{id}")));
        }
    }
    all
}

/// Where the record of each request is, as far as the benchmark says.
fn results(report: &Report) -> Vec<String> {
    let field = |pointer: &str| report.benchmark.as_ref()?.pointer(pointer)?.as_str();
    let mut places = vec![];
    let claim = field("/records/existingClaim");
    places.extend(claim.map(|claim| {
        format!(
            "Load test results: folder {} of the claim {claim}",
            report.title
        )
    }));
    let bucket = field("/records/s3/bucket");
    places.extend(bucket.map(|bucket| {
        format!(
            "Load test results: s3://{bucket}/{}{}/",
            field("/records/s3/prefix").unwrap_or_default(),
            report.title
        )
    }));
    if places.is_empty() {
        places.push(
            "Load test results: this report in JSON; records of single requests are where they were \
             written to, beside it or nowhere"
                .to_owned(),
        );
    }
    places
}

/// The first prompt of each length.
fn prompts(report: &Report) -> Vec<Block> {
    let made = format!(
        "Prompts are no text of people. Each is made of words of a list, drawn by a generator from the seed {}, so that it \
         has exactly the tokens that were asked for under the target's tokenizer; the same seed makes the same prompts.",
        report.run.workload.seed
    );
    let samples = &report.run.prompts;
    if samples.is_empty() {
        return vec![text(format!("{made} The run kept none of them."))];
    }
    let rows = samples
        .iter()
        .map(|one| [one.tokens.to_string().into(), one.text.as_str().into()]);
    let head = ["Tokens", "Prompt, or its beginning"];
    vec![text(made), table("Sample Prompts Used", head, rows)]
}

fn data(report: &Report) -> Vec<Block> {
    let json = |value: &serde_json::Value| {
        code(
            "json",
            serde_json::to_string_pretty(value).unwrap_or_default(),
        )
    };
    let workload = serde_json::to_value(&report.run.workload).unwrap_or_default();
    let mut blocks = prompts(report);
    blocks.extend([text("The workload that prompts follow:"), json(&workload)]);
    if let Some(spec) = &report.benchmark {
        blocks.extend([text("The LLMBenchmark's spec:"), json(spec)]);
    }
    if let Some(spec) = &report.deployment {
        blocks.extend([text("The LLMDeployment's spec:"), json(spec)]);
    }
    blocks
}

fn missing(report: &Report) -> Block {
    let missing = gaps::all(report);
    if missing.is_empty() {
        return text("Everything that the report asks for was measured.");
    }
    let rows = missing
        .iter()
        .map(|one| [one.what.as_str().into(), one.why.as_str().into()]);
    table("Missing, and why", ["What", "Why"], rows)
}

fn control(report: &Report) -> Block {
    list([
        "Version: 1.0".to_owned(),
        format!("Last Updated: {}", report.run.started_at),
        format!(
            "Owner: {}",
            report.author.as_deref().unwrap_or("not named (--author)")
        ),
        "Reviewers: not named".to_owned(),
        format!("Status: {}", status(report)),
        format!("Written by: {}", report.written_by),
    ])
}

/// A report without a verdict is not the last word.
fn status(report: &Report) -> &'static str {
    match report.conclusion.outcome {
        _ if report.run.stopped.is_some() => "Draft: scenarios are missing",
        Outcome::Met | Outcome::Missed => "Final",
        Outcome::Inconclusive | Outcome::Void | Outcome::NoAnswers => "Draft: there is no verdict",
    }
}
