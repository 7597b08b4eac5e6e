//! What the job has written into the ConfigMap of its report.
use candlepower_api::benchmark::job::{
    MACHINE_WISH, MachineWish, PROGRESS, Progress, SUMMARY, Summary, WISH, Wish,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What the job has written so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mailbox {
    pub(super) wish: Option<Wish>,
    pub(super) machine: Option<MachineWish>,
    pub(super) progress: Option<Progress>,
    pub(super) summary: Option<Summary>,
}

impl Mailbox {
    /// By the ConfigMap's data.
    pub(super) fn of(data: &BTreeMap<String, String>) -> Self {
        Self {
            wish: read(data, WISH),
            machine: read(data, MACHINE_WISH),
            progress: read(data, PROGRESS),
            summary: read(data, SUMMARY),
        }
    }
}

/// A job of another version may write what is not understood here; that is as good as nothing.
fn read<T: DeserializeOwned>(data: &BTreeMap<String, String>, key: &str) -> Option<T> {
    let text = data.get(key)?;
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(key, %error, "what the job wrote cannot be read"))
        .ok()
}
