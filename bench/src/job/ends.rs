//! Containers of the target that end while the load is on: the operator keeps telling of them in the mailbox.
use super::mailbox::Mailbox;
use crate::{
    evidence::{
        Evidence,
        ends::{ContainerEnd, add, within},
        series::Quantity,
    },
    record::{Outcome, Run},
};
use candlepower_api::benchmark::job::{Served, Termination};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{task::AbortHandle, time::sleep};

/// How often it is looked: of each container only the last end is told, and Kubernetes waits longer than that before it
/// starts one for the third time.
const LOOK: Duration = Duration::from_secs(5);
/// How long after an end the operator may take to tell of it.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Ends that were told so far; absent as long as nobody said how the containers fare.
type Told = Arc<Mutex<Option<Vec<Termination>>>>;

/// Looks for ends until it is dropped.
pub(super) struct Ends {
    mailbox: Mailbox,
    /// The wish for the copy that is loaded; absent: the deployment itself.
    copy: Option<u32>,
    told: Told,
    task: Option<AbortHandle>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Ends {
    /// Begins to look, where `served` has pods that the operator knows.
    pub(super) fn follow(mailbox: Mailbox, served: &Served, copy: Option<u32>) -> Self {
        let told = Told::new(Mutex::new(served.terminations.clone()));
        let task = served.terminations.is_some().then(|| {
            let (mailbox, told) = (mailbox.clone(), told.clone());
            let looking = tokio::spawn(async move {
                loop {
                    sleep(LOOK).await;
                    look(&mailbox, copy, &told).await;
                }
            });
            looking.abort_handle()
        });
        Self {
            mailbox,
            copy,
            told,
            task,
        }
    }

    /// Those in the time of `run`, once the operator had the time to tell of them. To be asked for when the evidence is
    /// there, which mostly takes longer than that.
    pub(super) async fn of(self, run: &Run, evidence: &Evidence) -> Option<Vec<ContainerEnd>> {
        self.task.as_ref()?;
        if looks_ended(run, evidence) {
            sleep(until_told(run)).await;
        }
        look(&self.mailbox, self.copy, &self.told).await;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Some(within(run, told.as_deref()?))
    }
}

async fn look(mailbox: &Mailbox, copy: Option<u32>, told: &Told) {
    let Some(news) = mailbox.terminations(copy).await else {
        return;
    };
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    add(told.get_or_insert_default(), news);
}

/// Whether something ended: requests failed, or counters began anew.
fn looks_ended(run: &Run, evidence: &Evidence) -> bool {
    let mut requests = run.scenarios.iter().flat_map(|one| &one.requests);
    let restarts = evidence.series(Quantity::Restarts);
    let counted =
        restarts.is_some_and(|series| series.points.iter().any(|(_, count)| *count > 0.0));
    counted || requests.any(|one| matches!(one.outcome, Outcome::Failed { .. }))
}

fn until_told(run: &Run) -> Duration {
    let end = run.scenarios.iter().map(|one| one.ended).max();
    let end = Duration::from_micros(run.started_at + end.unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    TOLD_WITHIN.saturating_sub(now.unwrap_or_default().saturating_sub(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::Plant;

    #[test]
    fn only_a_run_that_lost_requests_or_counters_is_waited_for() {
        let (run, mut evidence) = Plant::run(&[Plant::default()]);
        assert!(!looks_ended(&run, &evidence));
        let (failed, _) = Plant::run(&[Plant::with(|plant| plant.refused = 5)]);
        assert!(looks_ended(&failed, &evidence));
        evidence.series.push(crate::evidence::series::Series {
            quantity: Quantity::Restarts,
            metric: String::new(),
            points: vec![(0, 0.0), (1, 1.0)],
        });
        assert!(looks_ended(&run, &evidence));
    }

    #[test]
    fn what_is_long_over_is_not_waited_for() {
        let (mut run, _) = Plant::run(&[Plant::default()]);
        assert_eq!(until_told(&run), Duration::ZERO);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        run.started_at = u64::try_from(now.as_micros()).unwrap() - run.scenarios[0].ended;
        let left = until_told(&run);
        assert!(
            left > Duration::from_secs(3) && left <= TOLD_WITHIN,
            "{left:?}"
        );
    }
}
