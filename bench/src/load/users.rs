//! Closed users, and what they share with open arrivals: sending one request and recording it.
use super::{client::Connection, exchange::Wire, live::Live, requests::Requests};
use crate::{
    figures::succeeded,
    record::{Micros, Outcome},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// A user's first pause after a failure; a target that refuses at once is not hammered.
const PAUSE: Duration = Duration::from_millis(100);
/// Its longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the tasks of a scenario share.
pub(super) struct Shared {
    pub(super) wire: Wire,
    pub(super) requests: Requests,
    pub(super) live: Live,
    /// The next request's place in the order.
    pub(super) next: AtomicU64,
    /// No more requests are sent.
    pub(super) no_more: CancellationToken,
    /// Unfinished requests are cut off.
    pub(super) cut: CancellationToken,
    pub(super) tasks: TaskTracker,
    /// Requests that began before the window's end and have not ended.
    pub(super) measured: TaskTracker,
    pub(super) window_end: Instant,
}

impl Shared {
    /// Sends one request and records how it went; returns whether it succeeded.
    pub(super) async fn one(
        &self,
        slot: &mut Option<Connection>,
        index: u64,
        lengths: Option<(u32, u32)>,
        due: Micros,
    ) -> bool {
        let (outgoing, mut record) = self.requests.at(index, lengths);
        record.due = due;
        self.live.request_began();
        let cut = {
            let exchange = self.wire.exchange(slot, outgoing, &self.live, &mut record);
            tokio::select! {
                biased;
                () = exchange => false,
                () = self.cut.cancelled() => true,
            }
        };
        if cut {
            record.finished = self.wire.clock.now();
            record.outcome = Outcome::Cancelled;
        }
        record.tokens.shrink_to_fit();
        let success = succeeded(&record);
        self.live.request_ended(record);
        success
    }

    /// To be held until the end of a request that begins at `began`.
    pub(super) fn measures(&self, began: Instant) -> Option<TaskTrackerToken> {
        (began < self.window_end).then(|| self.measured.token())
    }

    /// The next place in the order of requests.
    pub(super) fn next_index(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }
}

/// Starts users at their rate, until all have started or no more requests are to be sent.
pub(super) async fn run(shared: Arc<Shared>, users: u32, spawn_rate: u32, start: Instant) {
    for place in 0..users {
        let after = Duration::from_secs_f64(f64::from(place) / f64::from(spawn_rate));
        let due = start + after;
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = shared.no_more.cancelled() => return,
        }
        shared.live.user_started();
        let user = user(shared.clone(), due);
        shared.tasks.spawn(user);
    }
}

/// One user: asks, waits for the whole answer, asks again.
async fn user(shared: Arc<Shared>, start: Instant) {
    let clock = shared.wire.clock;
    let (mut slot, mut due, mut pause) = (None, clock.at(start), PAUSE);
    while !shared.no_more.is_cancelled() {
        let _measured = shared.measures(Instant::now());
        if shared.one(&mut slot, shared.next_index(), None, due).await {
            pause = PAUSE;
        } else {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.no_more.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        due = clock.now();
    }
}
