//! Which of prometheus-operator's kinds the cluster serves: asked again and again, because a
//! monitoring stack may come or go at any time.
use super::kinds::{API_VERSION, PodMonitor, PrometheusRule};
use crate::shutdown::Shutdown;
use futures::{Stream, StreamExt, future, stream};
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, time::Duration};
use tokio::sync::watch;

/// Without an answer nothing can be reconciled, so the first one is asked for more often.
const UNTIL_KNOWN: Duration = Duration::from_secs(1);
/// An API server that has just started may miss kinds for a moment.
const ABSENCES_THAT_CONVINCE: u8 = 2;

/// Which kinds the cluster serves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::deployment) struct Served {
    pub(in crate::deployment) pod_monitor: bool,
    pub(in crate::deployment) prometheus_rule: bool,
}

/// What the operator believes, and what has spoken against it so far.
#[derive(Debug, Default)]
struct Belief {
    served: Option<Served>,
    absences: u8,
}

impl Belief {
    /// Takes an answer in; `None` stands for an answer that says nothing.
    fn learn(&mut self, answer: Option<Served>) -> Option<Served> {
        let (Some(answer), before) = (answer, self.served) else {
            return self.served;
        };
        let lost = before.is_some_and(|before| {
            before.pod_monitor && !answer.pod_monitor
                || before.prometheus_rule && !answer.prometheus_rule
        });
        self.absences = if lost { self.absences + 1 } else { 0 };
        if !lost || self.absences >= ABSENCES_THAT_CONVINCE {
            self.served = Some(answer);
            self.absences = 0;
        }
        self.served
    }
}

/// Asks until the shutdown.
pub(in crate::deployment) async fn follow(
    client: Client,
    interval: Duration,
    sender: watch::Sender<Option<Served>>,
    shutdown: Shutdown,
) {
    let mut belief = Belief::default();
    let asking = async {
        loop {
            let served = belief.learn(ask(&client).await);
            let changed = sender.send_if_modified(|known| {
                let changes = *known != served;
                *known = served;
                changes
            });
            if let Some(served) = served.filter(|_| changed) {
                tracing::info!(
                    pod_monitor = served.pod_monitor,
                    prometheus_rule = served.prometheus_rule,
                    "what the cluster serves for monitoring"
                );
            }
            tokio::time::sleep(if served.is_some() {
                interval
            } else {
                UNTIL_KNOWN
            })
            .await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = shutdown.wait() => {}
    }
}

async fn ask(client: &Client) -> Option<Served> {
    match client.list_api_group_resources(API_VERSION).await {
        Ok(list) => {
            let has = |kind: &str| list.resources.iter().any(|resource| resource.kind == kind);
            Some(Served {
                pod_monitor: has(&PodMonitor::kind(&())),
                prometheus_rule: has(&PrometheusRule::kind(&())),
            })
        }
        // Who may not look may not write either.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
            Some(Served::default())
        }
        Err(error) => {
            tracing::debug!(%error, "discovery does not answer; the former knowledge stays");
            None
        }
    }
}

/// Emits at each change of what is served. Nothing is reconciled before that is known, so that the first knowledge is none.
pub(in crate::deployment) fn changes(
    served: watch::Receiver<Option<Served>>,
) -> impl Stream<Item = ()> + Send + Sync + 'static {
    stream::unfold(served, |mut served| async move {
        loop {
            let was_known = served.borrow_and_update().is_some();
            served.changed().await.ok()?;
            if was_known {
                return Some(((), served));
            }
        }
    })
}

/// Watches objects of a kind only while the cluster serves it; otherwise there are none.
pub(in crate::deployment) fn while_served<K>(
    served: watch::Receiver<Option<Served>>,
    is_served: fn(Served) -> bool,
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    stream::unfold(served, move |mut served| {
        let (api, config) = (api.clone(), config.clone());
        async move {
            let present = served.borrow_and_update().is_some_and(is_served);
            let mut until = served.clone();
            let changed = async move {
                if until.changed().await.is_err() {
                    future::pending::<()>().await;
                }
            };
            let events = if present {
                watcher(api, config).left_stream()
            } else {
                stream::iter([Ok(Event::Init), Ok(Event::InitDone)])
                    .chain(stream::pending())
                    .right_stream()
            };
            Some((events.take_until(Box::pin(changed)), served))
        }
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::pin;

    const BOTH: Served = Served {
        pod_monitor: true,
        prometheus_rule: true,
    };
    const NEITHER: Served = Served {
        pod_monitor: false,
        prometheus_rule: false,
    };

    #[test]
    fn the_first_answer_and_a_new_kind_count_at_once() {
        let mut belief = Belief::default();
        assert_eq!(belief.learn(None), None);
        assert_eq!(belief.learn(Some(NEITHER)), Some(NEITHER));
        assert_eq!(belief.learn(Some(BOTH)), Some(BOTH));
    }

    #[test]
    fn a_kind_is_gone_once_it_is_missed_twice_in_a_row() {
        let mut belief = Belief::default();
        belief.learn(Some(BOTH));
        assert_eq!(belief.learn(Some(NEITHER)), Some(BOTH));
        assert_eq!(belief.learn(Some(BOTH)), Some(BOTH));
        assert_eq!(belief.learn(Some(NEITHER)), Some(BOTH));
        assert_eq!(belief.learn(Some(NEITHER)), Some(NEITHER));
    }

    #[test]
    fn what_is_known_for_the_first_time_is_no_change_and_what_differs_then_is() {
        let (sender, served) = watch::channel(None);
        let mut told = pin!(changes(served));
        let mut next = || told.next().now_or_never();
        assert_eq!(next(), None);
        sender.send_replace(Some(NEITHER));
        assert_eq!(next(), None);
        sender.send_replace(Some(BOTH));
        assert_eq!(next(), Some(Some(())));
        assert_eq!(next(), None);
    }

    #[test]
    fn an_api_server_that_does_not_answer_changes_nothing() {
        let mut belief = Belief::default();
        belief.learn(Some(BOTH));
        for _ in 0..5 {
            assert_eq!(belief.learn(None), Some(BOTH));
        }
    }
}
