//! How far the job is, told every few seconds and not more often: each time is a request to the API
//! server, and a status that the operator writes.
use super::mailbox::Mailbox;
use crate::{
    load::{self, Observer},
    record::Run,
};
use candlepower_api::{
    benchmark::job::{Figures, Progress},
    value::Duration,
};
use std::time;
use tokio::sync::watch;

const AT_MOST_EVERY: time::Duration = time::Duration::from_secs(5);

/// Where progress is told.
#[derive(Clone)]
pub(super) struct Teller(watch::Sender<Progress>);

impl Teller {
    /// Starts to tell.
    pub(super) fn new(mailbox: Mailbox) -> Self {
        let (sender, mut told) = watch::channel(Progress::default());
        tokio::spawn(async move {
            while told.changed().await.is_ok() {
                let progress = told.borrow_and_update().clone();
                mailbox.progress(&progress).await;
                tokio::time::sleep(AT_MOST_EVERY).await;
            }
        });
        Self(sender)
    }

    /// Something begins that is no scenario.
    pub(super) fn stage(&self, stage: &str, variant: Option<&str>) {
        eprintln!(
            "{}",
            variant.map_or_else(|| stage.to_owned(), |name| format!("{stage}: {name}"))
        );
        self.0.send_replace(Progress {
            stage: stage.to_owned(),
            variant: variant.map(str::to_owned),
            ..Progress::default()
        });
    }

    /// An observer of the load on the deployment, or on a variant of it.
    pub(super) fn observer(&self, variant: Option<&str>) -> Follow {
        Follow {
            teller: self.clone(),
            variant: variant.map(str::to_owned),
        }
    }
}

/// Tells how a run of load goes.
pub(super) struct Follow {
    teller: Teller,
    variant: Option<String>,
}

impl Follow {
    /// The load is over.
    pub(super) fn collecting(&self) {
        let variant = self.variant.as_deref();
        self.teller.stage("Collecting evidence", variant);
    }
}

impl Observer for Follow {
    fn phase(&mut self, what: &str) {
        eprintln!("{what}");
        self.teller.stage("Preparing", self.variant.as_deref());
    }

    fn progress(&mut self, progress: &load::Progress) {
        self.teller
            .0
            .send_replace(told(progress, self.variant.clone()));
    }

    fn scenario_ended(&mut self, run: &Run) {
        if let Some(last) = run.scenarios.last() {
            eprintln!(
                "the scenario {} has ended with {} requests",
                last.name,
                last.requests.len()
            );
        }
    }
}

fn told(progress: &load::Progress, variant: Option<String>) -> Progress {
    let seconds = |micros: u64| micros as f64 / 1e6;
    let failed: u64 = progress.errors.values().sum();
    let ended = progress.succeeded + failed;
    let active = progress.users.max(progress.in_flight);
    Progress {
        stage: "Measuring".to_owned(),
        variant,
        scenario: Some(progress.scenario.clone()),
        elapsed: Duration::from_secs(progress.elapsed.as_secs()),
        users: i32::try_from(active).unwrap_or(i32::MAX),
        figures: Figures {
            ttft_p50: progress.ttft.map(|ttft| seconds(ttft.p50)),
            ttft_p95: progress.ttft.map(|ttft| seconds(ttft.p95)),
            ttft_p99: progress.ttft.map(|ttft| seconds(ttft.p99)),
            tpot: progress.tpot.map(|tpot| tpot.mean / 1e6),
            tokens_per_second: Some(progress.tokens_per_second),
            requests_per_second: Some(progress.requests_per_second),
            error_rate: (ended > 0).then(|| failed as f64 / ended as f64),
            requests: progress.succeeded,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_yet_is_not_told() {
        let progress = told(&load::Progress::default(), None);
        assert_eq!(progress.figures.ttft_p95, None);
        assert_eq!(progress.figures.error_rate, None);
    }

    #[test]
    fn users_are_those_that_started_or_under_open_arrivals_the_requests_in_flight() {
        let with = |users, in_flight| {
            let progress = load::Progress {
                users,
                in_flight,
                ..load::Progress::default()
            };
            told(&progress, None).users
        };
        assert_eq!(with(10, 7), 10);
        assert_eq!(with(0, 7), 7);
    }
}
