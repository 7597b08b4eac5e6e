//! What pods say about loading, without waiting for one that is silent.
use super::{
    asking::{Answer, Asking, Known, growing},
    probe,
};
use candlepower_api::server_config::LoadReport;
use std::time::Duration;

/// A pod that refuses a connection does so at once: its server has not begun to listen, and to ask it costs nothing. One
/// that took longer is cut off from the operator, or overloaded.
const AT_ONCE: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What pods say about loading.
#[derive(Debug)]
pub(super) struct Reports {
    client: probe::Client,
    known: Asking<String, Option<LoadReport>>,
}

impl Answer for Option<LoadReport> {
    fn is_silence(&self) -> bool {
        self.is_none()
    }

    fn lifetime(&self, took: Duration, silences: u32) -> Duration {
        if self.is_some() || took < AT_ONCE {
            return Duration::ZERO;
        }
        growing(FIRST_PAUSE, 2, LONGEST_PAUSE, silences)
    }
}

impl Reports {
    pub(super) fn new(client: probe::Client) -> Self {
        Self {
            client,
            known: Asking::default(),
        }
    }

    /// What the pod with this uid and address says now, or has said last. `None` while it says nothing. An answer that
    /// comes later calls `late`.
    pub(super) async fn of(
        &self,
        uid: &str,
        address: &str,
        late: impl Fn() + Send + 'static,
    ) -> Option<LoadReport> {
        let client = self.client.clone();
        let asked = address.to_owned();
        let ask = move || {
            let (client, asked) = (client.clone(), asked.clone());
            async move { client.load_report(&asked).await }
        };
        let question = address.to_owned();
        // A first silence is as good as no answer yet: whoever asked knows as much.
        let known = self.known.follow(uid, question, ask, Option::is_none, late);
        let Known { answer, .. } = known.await;
        answer.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::names::ports;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };
    use tokio::{net::TcpListener, time::sleep};

    #[test]
    fn only_a_pod_that_keeps_one_waiting_is_asked_less() {
        let at_once = Duration::from_millis(3);
        let patience = Duration::from_secs(1);
        assert_eq!(None.lifetime(at_once, 50), Duration::ZERO);
        assert_eq!(None.lifetime(patience, 1), FIRST_PAUSE);
        assert_eq!(None.lifetime(patience, 50), LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn that_a_pod_is_silent_is_no_news() {
        const ADDRESS: &str = "127.78.0.1";
        // It takes connections and never answers.
        let _silent = TcpListener::bind((ADDRESS, ports::SERVER_HTTP))
            .await
            .unwrap();
        let reports = Reports::new(probe::Client::new());
        let told = Arc::new(AtomicUsize::new(0));
        let tell = told.clone();
        let late = move || {
            tell.fetch_add(1, SeqCst);
        };
        assert!(reports.of("uid", ADDRESS, late).await.is_none());
        while reports.known.known("uid", &ADDRESS.to_owned()).is_pending {
            sleep(AT_ONCE).await;
        }
        assert_eq!(told.load(SeqCst), 0);
    }
}
