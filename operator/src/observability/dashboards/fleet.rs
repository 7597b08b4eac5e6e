//! All resources side by side, and the operator's own health.
use super::{
    Limits,
    board::{Board, Choice},
    panel::{Bad, Kind, Panel, Searched},
    performance::MODEL,
};
use crate::observability::{
    queries::{PROCESS_RESIDENT_MEMORY, Scope},
    rules::recording as recorded,
};
use candlepower_api::names::{conditions, operator_metrics as names};

pub(super) fn board(limits: Limits) -> Board {
    Board {
        name: "fleet",
        title: "Fleet",
        description: "All LLMDeployments side by side, and the operator's own health.",
        choice: Choice::Fleet,
        rows: vec![
            ("Deployments", deployments()),
            ("Service", service(limits)),
            ("Operator", operator()),
        ],
    }
}

fn deployments() -> Vec<Panel> {
    let scope = Scope::of_fleet();
    vec![
        Panel::new(
            Kind::Stat,
            "Ready",
            "short",
            "1 where the condition Ready is true.",
        )
        .query(scope.condition(conditions::READY), MODEL)
        .bad(Bad::Below(1.0))
        .width(8),
        Panel::new(
            Kind::Stat,
            "Ready, but nothing serves",
            "short",
            "1 where the condition Ready is true although pods are wanted and none serves.",
        )
        .query(scope.ready_in_name_only(), MODEL)
        .bad(Bad::Above(1.0))
        .width(8),
        Panel::new(
            Kind::Stat,
            "Alerts firing",
            "short",
            "Alerts that the operator sees fire.",
        )
        .query(
            scope.max_by(names::ALERT_FIRING, names::LABEL_ALERT),
            "{{alert}} {{namespace}}/{{llmdeployment}}",
        )
        .bad(Bad::Above(1.0))
        .width(8),
        Panel::new(
            Kind::Lines,
            "Replicas",
            "short",
            "Pods that are wanted, and pods that serve.",
        )
        .query(scope.replicas("desired"), &format!("desired {MODEL}"))
        .query(scope.replicas("ready"), &format!("ready {MODEL}")),
        Panel::new(
            Kind::Lines,
            "Time to ready",
            "s",
            "To Ready, from a resource's creation or last change, or from when it was Ready no more. Time at 0 replicas does not count.",
        )
        .query(scope.max(names::TIME_TO_READY), MODEL),
        Panel::new(
            Kind::Lines,
            "Restarts in the last 15 minutes",
            "short",
            "How often the server of the least steady pod was started again, by the pods' own counts.",
        )
        .query(scope.over("15m").counted_restarts(), MODEL),
        Panel::new(
            Kind::Stat,
            "Precisions",
            "short",
            "Resources by precision and device.",
        )
        .query(
            scope.count_by(names::INFO, "precision, device"),
            "{{precision}} on {{device}}",
        ),
    ]
}

fn service(limits: Limits) -> Vec<Panel> {
    let scope = Scope::of_fleet();
    let each = |series: &str| scope.each(series);
    vec![
        Panel::new(
            Kind::Lines,
            "TTFT P95",
            "s",
            "95th percentile of the time to first token, as the alerts see it; the red line is the default threshold.",
        )
        .query(each(recorded::TTFT_P95), MODEL)
        .bad(Bad::Above(limits.first_token))
        .leads_to(Searched::Slow(limits.first_token)),
        Panel::new(
            Kind::Lines,
            "Error rate",
            "percentunit",
            "Share of failed requests, as the alerts see it; the red line is the default threshold.",
        )
        .query(each(recorded::ERROR_RATIO), MODEL)
        .bad(Bad::Above(limits.errors))
        .leads_to(Searched::Failed),
        Panel::new(
            Kind::Lines,
            "Tokens",
            "suffix: tok/s",
            "Tokens generated, idle time included.",
        )
        .query(each(recorded::TOKEN_RATE), MODEL),
        Panel::new(
            Kind::Lines,
            "Memory",
            "percentunit",
            "Memory by limit of the pod that is nearest to it; the red line is the default threshold.",
        )
        .query(each(recorded::MEMORY), MODEL)
        .bad(Bad::Above(limits.memory)),
    ]
}

fn operator() -> Vec<Panel> {
    let scope = Scope::of_operator();
    vec![
        Panel::new(
            Kind::Lines,
            "Reconciles",
            "ops",
            "Reconciles that ended, by result.",
        )
        .query(
            scope.total_rate_by(names::RECONCILES, names::LABEL_RESULT),
            "{{result}}",
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "Failures",
            "ops",
            "Reconciles that failed, by category, and watches that broke off.",
        )
        .query(
            scope.total_rate_by(names::RECONCILE_FAILURES, "category"),
            "reconcile {{category}}",
        )
        .query(
            scope.total_rate_by(names::WATCH_ERRORS, "kind"),
            "watch {{kind}}",
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "Reconciles running",
            "short",
            "Reconciles that run now, and objects that wait to be tried again.",
        )
        .query(scope.total(names::RECONCILES_RUNNING), "running")
        .query(
            scope.total(names::RETRIES_PENDING),
            "waiting after a failure",
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "Duration of reconciles and scrapes",
            "s",
            "95th percentiles.",
        )
        .query(scope.quantile(0.95, names::RECONCILE_DURATION), "reconcile")
        .query(
            scope.quantile(0.95, names::SCRAPE_DURATION),
            "scrape of all pods",
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "Writes",
            "ops",
            "Objects written to the API server, by kind. An idle system writes nothing.",
        )
        .query(scope.total_rate_by(names::WRITES, "kind"), "{{kind}}")
        .width(8),
        Panel::new(
            Kind::Lines,
            "Scrapes of pods",
            "ops",
            "The operator's own scrapes, by result.",
        )
        .query(
            scope.total_rate_by(names::SCRAPES, names::LABEL_RESULT),
            "{{result}}",
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "Operator's memory",
            "bytes",
            "Resident memory of the operator's processes.",
        )
        .query(
            scope.beside(PROCESS_RESIDENT_MEMORY, names::RECONCILES_RUNNING),
            "{{pod}}",
        )
        .width(8),
        Panel::new(
            Kind::Lines,
            "Requests to the API server",
            "ops",
            "By verb. An idle system only watches.",
        )
        .query(
            scope.total_rate_by(names::API_REQUESTS, names::LABEL_VERB),
            "{{verb}}",
        )
        .width(8),
        Panel::new(Kind::Lines, "Leaders", "short", "Operators that work: one.")
            .query(scope.total(names::LEADER), "leads")
            .width(8),
    ]
}
