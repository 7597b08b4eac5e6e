//! One of several operators leads: it holds a Lease, and only it reconciles and writes.
//!
//! `record` says what a Lease's record means → `election` takes, renews and releases it →
//! `fence` keeps every write of a process back that does not hold it. A process that loses the Lease
//! ends: a new one begins with fresh caches, which is simpler than to stop and start controllers.
mod election;
mod fence;
mod record;

pub use election::Lost;
pub(crate) use election::{Elector, identity};
pub(crate) use fence::Fence;
