//! Containers of the target that end while the load is on: the operator keeps telling of them in the mailbox.
use super::mailbox::Mailbox;
use crate::{
    evidence::{
        Evidence,
        ends::{ContainerEnd, add, until_told, within},
    },
    record::Run,
};
use candlepower_api::benchmark::job::{Served, Termination};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::AbortHandle, time::sleep};

/// How often it is looked: of each container only the last end is told, and Kubernetes waits longer than that before it
/// starts one for the third time.
const LOOK: Duration = Duration::from_secs(5);

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
        sleep(until_told(run, evidence)).await;
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
