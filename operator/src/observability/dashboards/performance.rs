//! How fast the models answer.
use super::{
    Limits,
    board::{Board, Choice},
    panel::{Bad, Kind, Panel},
};
use crate::observability::queries::Scope;
use candlepower_api::names::metrics as names;

pub(super) const MODEL: &str = "{{namespace}}/{{llmdeployment}}";

pub(super) fn board(limits: Limits) -> Board {
    Board {
        name: "performance",
        title: "Performance",
        description: "Time to first token, time per token, throughput and the batch.",
        choice: Choice::Pods,
        rows: vec![
            ("Now", now(limits)),
            ("First token", first_token(limits)),
            ("Tokens", tokens(limits)),
            ("Requests", requests()),
        ],
    }
}

/// The three quantiles that people ask for, as lines.
fn quantiles(panel: Panel, histogram: &str) -> Panel {
    let scope = Scope::of_dashboard();
    [(0.5, "P50"), (0.95, "P95"), (0.99, "P99")]
        .into_iter()
        .fold(panel, |panel, (quantile, name)| {
            panel.query(
                scope.quantile(quantile, histogram),
                &format!("{name} {MODEL}"),
            )
        })
}

fn now(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Stat,
            "TTFT P95",
            "s",
            "95th percentile of the time from request start to first token; red above the alert's threshold.",
        )
        .query(scope.quantile(0.95, names::TIME_TO_FIRST_TOKEN), MODEL)
        .bad(Bad::Above(limits.first_token))
        .width(6),
        Panel::new(
            Kind::Gauge,
            "Throughput while requests run",
            "suffix: tok/s",
            "Generated tokens by the seconds in which requests ran; red below the alert's threshold.",
        )
        .query(scope.throughput(), MODEL)
        .bad(Bad::Below(limits.throughput))
        .range(0.0, limits.throughput * 10.0)
        .width(6),
        Panel::new(
            Kind::Stat,
            "Requests running",
            "short",
            "Requests that a step is being computed for.",
        )
        .query(scope.sum(names::NUM_REQUESTS_RUNNING), MODEL)
        .width(6),
        Panel::new(
            Kind::Stat,
            "Requests waiting",
            "short",
            "Requests admitted and waiting for a place in the batch.",
        )
        .query(scope.sum(names::NUM_REQUESTS_WAITING), MODEL)
        .width(6),
    ]
}

fn first_token(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        quantiles(
            Panel::new(
                Kind::Lines,
                "Time to first token",
                "s",
                "From request start to first token. The red line is the alert's threshold for P95; the points are single requests, each with its trace.",
            )
            .bad(Bad::Above(limits.first_token))
            .with_exemplars(),
            names::TIME_TO_FIRST_TOKEN,
        ),
        Panel::new(
            Kind::Heatmap,
            "Time to first token, distribution",
            "s",
            "Requests per second in each bucket of the time to first token.",
        )
        .query(scope.buckets(names::TIME_TO_FIRST_TOKEN), "{{le}}")
        .with_exemplars(),
    ]
}

fn tokens(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        quantiles(
            Panel::new(
                Kind::Lines,
                "Time per output token",
                "s",
                "TPOT: (last token - first token) / (tokens - 1), of each request.",
            )
            .with_exemplars(),
            names::REQUEST_TIME_PER_OUTPUT_TOKEN,
        ),
        quantiles(
            Panel::new(
                Kind::Lines,
                "Inter-token latency",
                "s",
                "ITL: each gap between successive tokens.",
            ),
            names::INTER_TOKEN_LATENCY,
        ),
        Panel::new(
            Kind::Lines,
            "Throughput",
            "suffix: tok/s",
            "Tokens generated; while requests run, and with idle time included. The red line is the alert's threshold.",
        )
        .query(scope.throughput(), &format!("while running {MODEL}"))
        .query(
            scope.rate(names::GENERATION_TOKENS),
            &format!("overall {MODEL}"),
        )
        .bad(Bad::Below(limits.throughput)),
        Panel::new(
            Kind::Lines,
            "Prompt tokens",
            "suffix: tok/s",
            "Prompt tokens processed, and how many of them the prefix cache held.",
        )
        .query(
            scope.rate(names::PROMPT_TOKENS),
            &format!("processed {MODEL}"),
        )
        .query(
            scope.rate(names::PREFIX_CACHE_HITS),
            &format!("cached {MODEL}"),
        ),
    ]
}

fn requests() -> Vec<Panel> {
    let scope = Scope::of_dashboard();
    vec![
        Panel::new(
            Kind::Lines,
            "Requests running and waiting",
            "short",
            "Requests in the batch, and requests that wait for a place in it.",
        )
        .query(
            scope.sum(names::NUM_REQUESTS_RUNNING),
            &format!("running {MODEL}"),
        )
        .query(
            scope.sum(names::NUM_REQUESTS_WAITING),
            &format!("waiting {MODEL}"),
        ),
        Panel::new(
            Kind::StackedLines,
            "Where the time of requests goes",
            "percentunit",
            "Shares of queue, prefill and decode in the time of all requests; the rest is tokenising and sending.",
        )
        .query(
            scope.share_of_request_time(names::REQUEST_QUEUE_TIME),
            &format!("queue {MODEL}"),
        )
        .query(
            scope.share_of_request_time(names::REQUEST_PREFILL_TIME),
            &format!("prefill {MODEL}"),
        )
        .query(
            scope.share_of_request_time(names::REQUEST_DECODE_TIME),
            &format!("decode {MODEL}"),
        ),
        quantiles(
            Panel::new(
                Kind::Lines,
                "Time of whole requests",
                "s",
                "From request start to last byte.",
            )
            .with_exemplars(),
            names::E2E_REQUEST_LATENCY,
        ),
        Panel::new(
            Kind::Lines,
            "Batch",
            "short",
            "Sequences in a step, and rows (prompt and new tokens) in a step; means.",
        )
        .query(
            scope.mean(names::BATCH_SIZE),
            &format!("sequences {MODEL}"),
        )
        .query(
            scope.mean(names::ITERATION_TOKENS),
            &format!("rows {MODEL}"),
        ),
    ]
}
