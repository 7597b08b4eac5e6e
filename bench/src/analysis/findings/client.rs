//! Losses outside the server: the load generator, the way in, and the way out.
use super::{Class, Confidence, Finding, Severity, Source, View, ms, proof};
use crate::{
    load::health::{BUSY, leaves_verdicts, problems},
    record::GeneratorHealth,
};

/// Lag beyond this share of the median TTFT changes what the figures say.
const LATE_SHARE: f64 = 0.2;
/// Smaller losses are within what means of different sets of requests differ by.
const LOSS: f64 = 0.2;
const NOTICEABLE: f64 = 0.05;
/// From this share of the window on, waits are so long that clients' and server's means are of
/// different requests while a queue grows.
const LONG: f64 = 0.2;
/// The share of such a loss that has to be spent outside the server for it to have been lost there.
const SPENT_OUTSIDE: f64 = 0.25;

/// The generator had problems of its own; they void the verdicts that they may have changed, where they
/// are a noticeable part of what it measured. Without CPU to spare it has put less load on the server
/// than it was asked for, so that no figure tells whether a verdict would be another.
pub(super) fn generator(view: View<'_>) -> Option<Finding> {
    let health = &view.level.generator;
    if problems(health).is_empty() {
        return None;
    }
    let late = health.lag_p99.max(health.timer_lag_p99) as f64 / 1e6;
    let ttft = view.level.figures.ttft.map(|ttft| ttft.p50 as f64 / 1e6);
    let share = ttft.filter(|ttft| *ttft > 0.0).map(|ttft| late / ttft);
    let worn_out = worn_out(health);
    let (severity, cause) = if worn_out {
        (
            Severity::Critical,
            "the load generator used up its CPU, so the load was less than asked for and no verdict \
             about the server holds; run it with more cores, or with less load",
        )
    } else if leaves_verdicts(health, &view.level.verdicts)
        || share.is_some_and(|share| share <= LATE_SHARE)
    {
        (
            Severity::Acceptable,
            "the load generator was late at times, so the latencies are partly its own, but not so \
             much that a verdict would be another without it",
        )
    } else {
        (
            Severity::Critical,
            "the load generator did not keep up with its own schedule, so the latencies are partly \
             its own and no verdict about the server holds; run it on a machine with time to spare, \
             or with less load",
        )
    };
    let share = if worn_out {
        (health.cpu_cores / health.cpu_available, "its CPU")
    } else {
        (share.unwrap_or(1.0), "the median TTFT")
    };
    let finding = view.finding(Class::OverloadedGenerator, share, cause.to_owned());
    let ms = |micros: u64| format!("{:.1} ms", micros as f64 / 1e3);
    Some(finding.with_severity(severity).shown_by([
        proof(
            "requests were sent late by (P99)",
            ms(health.lag_p99),
            Source::Generator,
        ),
        proof(
            "timers fired late by (P99)",
            ms(health.timer_lag_p99),
            Source::Generator,
        ),
        proof(
            "CPU of the load generator",
            format!("{:.2} of {} cores", health.cpu_cores, health.cpu_available),
            Source::Generator,
        ),
    ]))
}

/// Whether the generator had no CPU to spare.
fn worn_out(health: &GeneratorHealth) -> bool {
    health.cpu_cores > BUSY * health.cpu_available
}

/// A time as clients saw it, and the part of it that the server saw.
struct Loss {
    client: f64,
    server: f64,
}

impl Loss {
    fn seconds(&self) -> f64 {
        self.client - self.server
    }

    fn share(&self) -> f64 {
        self.seconds() / self.client
    }

    /// Unless it is within what means of different sets of requests differ by.
    fn noticeable(self) -> Option<Self> {
        (self.share() >= LOSS && self.seconds() >= NOTICEABLE).then_some(self)
    }
}

/// What is lost until the first token.
fn before_first_token(view: View<'_>) -> Option<Loss> {
    let (client, server) = (view.ttft()?, view.level.observed.first_token_seconds?);
    Loss { client, server }.noticeable()
}

/// What is lost between the first token and the last.
fn between_tokens(view: View<'_>) -> Option<Loss> {
    let client = view.level.figures.e2e?.mean / 1e6 - view.ttft()?;
    let server = view.level.observed.decode_seconds?;
    Loss { client, server }.noticeable()
}

/// Clients wait longer for the first token than the server says that it took. Who takes tokens slowly
/// takes the first one late, too: where more is lost after it, that is the reason.
pub(super) fn upstream(view: View<'_>) -> Option<Finding> {
    let loss = before_first_token(view)?;
    if between_tokens(view).is_some_and(|later| later.seconds() > loss.seconds()) {
        return None;
    }
    let (client, server, share) = (loss.client, loss.server, loss.share());
    let observed = &view.level.observed;
    let inside = observed.running.zip(observed.waiting).map(|(a, b)| a + b);
    let flight = view.level.concurrency;
    let is_long = client > LONG * view.level.figures.window_seconds;
    let is_inside = |inside| outside(view, inside) < SPENT_OUTSIDE * loss.seconds();
    if is_long && inside.is_some_and(is_inside) {
        return None;
    }
    let confirmed = inside.is_some_and(|inside| inside < 0.7 * flight);
    let cause = "requests lose time on the way to the server: a proxy, a connection limit, the \
                 network, or the server's own acceptance of connections";
    let mut finding = view
        .finding(Class::Upstream, (share, "the mean TTFT"), cause.to_owned())
        .with_confidence(if confirmed {
            Confidence::High
        } else {
            Confidence::Medium
        })
        .shown_by([
            proof("mean TTFT that clients saw", ms(client), Source::Client),
            proof("mean TTFT that the server saw", ms(server), Source::Metrics),
        ]);
    if let Some(inside) = inside {
        let value = format!("{inside:.1} of {flight:.1} in flight");
        finding.evidence.push(proof(
            "requests inside the server (running and waiting)",
            value,
            Source::Metrics,
        ));
    }
    Some(finding)
}

/// Seconds that a request is in flight but not inside the server, on average, by Little's law. It is
/// as good as the scrapes are frequent: of short waits the means tell more.
fn outside(view: View<'_>, inside: f64) -> f64 {
    let flight = view.level.concurrency;
    let taken = view.level.figures.e2e.map_or(0.0, |e2e| e2e.mean / 1e6);
    taken * (flight - inside).max(0.0) / flight.max(1.0)
}

/// The answer takes longer to arrive than the server took to make it.
pub(super) fn slow_client(view: View<'_>) -> Option<Finding> {
    let loss = between_tokens(view)?;
    let (client, server, share) = (loss.client, loss.server, loss.share());
    let cause = "tokens are made faster than they are taken: the client reads slowly, or the way \
                 back to it is slow";
    Some(
        view.finding(
            Class::SlowClient,
            (share, "the time from first to last token"),
            cause.to_owned(),
        )
        .with_confidence(Confidence::Medium)
        .shown_by([
            proof(
                "first to last token as clients saw it, on average",
                ms(client),
                Source::Client,
            ),
            proof(
                "first to last token as the server saw it, on average",
                ms(server),
                Source::Metrics,
            ),
        ]),
    )
}
