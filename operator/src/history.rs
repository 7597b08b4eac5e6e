//! Whether the API server's history has gone back, as it does when etcd is restored from a snapshot.
//!
//! A watch asks for what came after the last change that it knows of. Where that change has not happened any more, it is told
//! of nothing, without an error, and its cache stays wrong until as much has happened again. So the process ends, and the next
//! one begins with empty caches.
use crate::watches::api;
use candlepower_api::benchmark::LLMBenchmark;
use kube::{Api, Client, api::ListParams};
use std::time::Duration;

/// Resource versions have become smaller. They count the changes of everything in the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the API server's history has gone back from {from} to {to}, as after a restore of etcd")]
pub struct WentBack {
    /// The largest resource version seen.
    pub from: u64,
    /// The one that was seen after it.
    pub to: u64,
}

/// Looks again and again, and returns once it has gone back. Whoever watches one namespace may not look at others.
pub(crate) async fn went_back(
    client: &Client,
    namespace: Option<String>,
    every: Duration,
) -> WentBack {
    let mut history = History::default();
    loop {
        if let Some(version) = newest(client, namespace.as_deref()).await
            && let Err(back) = history.learn(version)
        {
            return back;
        }
        tokio::time::sleep(every).await;
    }
}

/// The resource version of now. Of all kinds that the operator may list, benchmarks are the fewest; any would do.
async fn newest(client: &Client, namespace: Option<&str>) -> Option<u64> {
    let benchmarks: Api<LLMBenchmark> = api(client, namespace);
    let one = ListParams::default().limit(1);
    match benchmarks.list_metadata(&one).await {
        Ok(list) => list.metadata.resource_version?.parse().ok(),
        Err(error) => {
            tracing::debug!(%error, "the API server's history cannot be looked at");
            None
        }
    }
}

/// The largest resource version so far.
#[derive(Debug, Default)]
struct History(u64);

impl History {
    fn learn(&mut self, version: u64) -> Result<(), WentBack> {
        if version < self.0 {
            return Err(WentBack {
                from: self.0,
                to: version,
            });
        }
        self.0 = version;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_grow_or_stay_are_well_and_a_smaller_one_is_not() {
        let mut history = History::default();
        for version in [7, 7, 1000] {
            assert_eq!(history.learn(version), Ok(()));
        }
        let back = WentBack { from: 1000, to: 8 };
        assert_eq!(history.learn(8), Err(back));
        assert!(back.to_string().contains("gone back from 1000 to 8"));
    }
}
