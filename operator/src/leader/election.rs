//! Takes the Lease, renews it, and gives it away at the end.
use super::{
    fence::Fence,
    record::{Observer, Standing, released, renewed, taken},
};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    jiff::{Timestamp, Unit},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// How often the Lease is renewed, or looked at by those that wait for it.
const EVERY: Duration = Duration::from_secs(2);
/// Without a renewal for this long, nothing is written any more. Nobody else takes the Lease before
/// [`super::record::DURATION_SECONDS`], and the time between the two is for requests that are on their way.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for an answer: a connection that hangs must not cost the Lease.
const PATIENCE: Duration = Duration::from_secs(4);

/// Why this process may not go on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lost {
    /// Another process has taken the Lease.
    #[error("{0} has taken the lease")]
    Taken(String),
    /// The API server took no renewal in time.
    #[error("the lease could not be renewed for {} s", DEADLINE.as_secs())]
    Expired,
}

/// One process in the election.
pub(crate) struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    fence: Arc<Fence>,
    observer: Observer,
    /// When the newest renewal began.
    held: Option<Instant>,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
}

/// A name for this process that no other has: one that is started again in the same pod is another.
pub(crate) fn identity(pod: &str) -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{pod}_{random:016x}")
}

impl Elector {
    /// Of the Lease `name` in the client's own namespace. The client must not pass the fence itself.
    pub(crate) fn new(client: Client, name: &str, identity: String, fence: Arc<Fence>) -> Self {
        Self {
            leases: Api::default_namespaced(client),
            name: name.to_owned(),
            identity,
            fence,
            observer: Observer::default(),
            held: None,
            clock: Box::new(Instant::now),
        }
    }

    /// Waits until this process holds the Lease.
    pub(crate) async fn acquire(&mut self) {
        let mut told = String::new();
        loop {
            match self.attempt().await {
                Ok(Standing::Ours) => {
                    tracing::info!(
                        lease = self.name,
                        identity = self.identity,
                        "this operator leads"
                    );
                    return;
                }
                Ok(Standing::Held(holder)) if holder != told => {
                    tracing::info!(
                        lease = self.name,
                        holder,
                        "another operator leads; this one waits"
                    );
                    told = holder;
                }
                Ok(Standing::Held(_) | Standing::Free) => {}
                Err(error) => {
                    tracing::warn!(lease = self.name, %error, "the lease cannot be taken");
                }
            }
            sleep(EVERY).await;
        }
    }

    /// Renews the Lease until it is lost.
    pub(crate) async fn keep(&mut self) -> Lost {
        loop {
            sleep(EVERY.min(self.left())).await;
            if let Some(lost) = self.renew().await {
                self.fence.close();
                return lost;
            }
        }
    }

    async fn renew(&mut self) -> Option<Lost> {
        // A process that stood still for so long may have been followed, and its follower be gone again.
        if self.left().is_zero() {
            return Some(Lost::Expired);
        }
        match self.attempt().await {
            Ok(Standing::Held(holder)) => return Some(Lost::Taken(holder)),
            Ok(Standing::Ours | Standing::Free) => {}
            Err(error) => tracing::warn!(lease = self.name, %error, "the lease was not renewed"),
        }
        None
    }

    /// Gives the Lease away, so that another takes it at its next look. Nothing may be written from
    /// now on.
    pub(crate) async fn release(self) {
        self.fence.close();
        let given = timeout(PATIENCE, self.give()).await;
        match given {
            Ok(Ok(())) => tracing::info!(lease = self.name, "the lease is released"),
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, %error, "the lease is not released; it expires");
            }
            Err(_) => tracing::warn!(
                lease = self.name,
                "the lease is not released in time; it expires"
            ),
        }
    }

    /// How much longer this process may write.
    fn left(&self) -> Duration {
        let end = self.held.map(|held| held + DEADLINE);
        end.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since((self.clock)())
        })
    }

    /// Looks at the Lease once, and takes or renews it where that may be. `Free` means that somebody
    /// else was faster with a change, and that the next look will tell.
    async fn attempt(&mut self) -> Result<Standing, kube::Error> {
        let asked = (self.clock)();
        let Ok(result) = timeout(PATIENCE, self.look_and_take(asked)).await else {
            return Err(kube::Error::Service("no answer in time".into()));
        };
        let standing = result?;
        if standing == Standing::Ours {
            self.held = Some(asked);
            self.fence.open_until(asked + DEADLINE);
        }
        Ok(standing)
    }

    async fn look_and_take(&mut self, asked: Instant) -> Result<Standing, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let first = self.named(taken(&LeaseSpec::default(), &self.identity, now()));
            let created = self.leases.create(&PostParams::default(), &first).await;
            return written(created);
        };
        let record = lease.spec.clone().unwrap_or_default();
        let answered = (self.clock)();
        let next = match self.observer.look(&record, &self.identity, asked, answered) {
            held @ Standing::Held(_) => return Ok(held),
            Standing::Free => taken(&record, &self.identity, now()),
            Standing::Ours => renewed(&record, now()),
        };
        let replaced = self.replace(lease, next).await;
        written(replaced)
    }

    async fn give(&self) -> Result<(), kube::Error> {
        // A renewal that was cut off may still arrive between a look and the write after it.
        for _ in 0..3 {
            let Some(lease) = self.leases.get_opt(&self.name).await? else {
                return Ok(());
            };
            let record = lease.spec.clone().unwrap_or_default();
            if record.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            let replaced = self.replace(lease, released(&record, now())).await;
            if !matches!(&replaced, Err(error) if is_conflict(error)) {
                return replaced.map(|_| ());
            }
        }
        Ok(())
    }

    /// With the version that was read, so that a change in between is not overwritten.
    async fn replace(&self, lease: Lease, record: LeaseSpec) -> Result<Lease, kube::Error> {
        let lease = Lease {
            spec: Some(record),
            ..lease
        };
        self.leases
            .replace(&self.name, &PostParams::default(), &lease)
            .await
    }

    fn named(&self, record: LeaseSpec) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(record),
        }
    }
}

/// Another was faster with a change.
fn written(result: Result<Lease, kube::Error>) -> Result<Standing, kube::Error> {
    match result {
        Ok(_) => Ok(Standing::Ours),
        Err(error) if is_conflict(&error) => Ok(Standing::Free),
        Err(error) => Err(error),
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// In microseconds, which is what a Lease holds.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(Unit::Microsecond).unwrap_or(now)
}

#[cfg(test)]
mod tests;
