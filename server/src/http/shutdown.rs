//! From a signal to a server that may end: not ready, then not accepting, then empty.
use super::{AppState, drain::Phase};
use candlepower_api::server_config::HttpConfig;
use std::{future::pending, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Requests that were cut off may still take this long to say so to their clients.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The signals that ask a process to end, listened to from the moment that this exists: before it, they would
/// end the process at once.
pub(super) struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl Signals {
    pub(super) fn listen() -> Self {
        Self {
            terminate: listen_to(SignalKind::terminate()),
            interrupt: listen_to(SignalKind::interrupt()),
        }
    }

    /// Completes at SIGTERM or SIGINT.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = one(self.terminate.as_mut()) => {}
            () = one(self.interrupt.as_mut()) => {}
        }
    }
}

fn listen_to(kind: SignalKind) -> Option<Signal> {
    signal(kind)
        .inspect_err(|error| {
            tracing::warn!(%error, "this signal cannot be listened to; it will end the process at once");
        })
        .ok()
}

async fn one(signals: Option<&mut Signal>) {
    match signals {
        Some(signals) => {
            signals.recv().await;
        }
        None => pending().await,
    }
}

/// Lets running requests finish within the drain timeout, then ends the engine. A second signal
/// cuts it short. `closing` is told when no further connection is to be accepted.
pub(super) async fn drain(
    state: &AppState,
    http: &HttpConfig,
    signals: &mut Signals,
    closing: &CancellationToken,
) {
    tokio::select! {
        () = finish_requests(state, http, closing) => {}
        () = signals.next() => tracing::warn!("a second signal: not waiting for running requests"),
    }
    state.drain.enter(Phase::Draining);
    if let Some(model) = state.host.served() {
        model.engine.stop();
        state.drain.wait(LAST_WORDS).await;
    }
}

/// After a failure that nothing can be served after: refuses what comes, and lets requests tell their
/// clients why they failed.
pub(super) async fn abandon(state: &AppState) {
    state.drain.enter(Phase::Draining);
    state.drain.wait(LAST_WORDS).await;
}

/// While endpoints are withdrawn, everything that comes is served, and each answer asks its client to come
/// with another connection next time, which then leads to another pod. After that the connections that
/// are still idle are closed, so that none is left that a request could be lost on; those with a request end with it.
/// Nothing is refused before the last request has ended.
async fn finish_requests(state: &AppState, http: &HttpConfig, closing: &CancellationToken) {
    state.drain.enter(Phase::Withdrawing);
    tracing::info!("shutting down: not ready any more");
    tokio::time::sleep(http.drain_delay.as_std()).await;
    closing.cancel();
    if !state.drain.wait(http.drain_timeout.as_std()).await {
        tracing::warn!("the drain timeout is over; running requests are cut off");
    }
}
