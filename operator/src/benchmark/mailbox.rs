//! What the job has written into the ConfigMap of its report.
use candlepower_api::benchmark::job::{PROGRESS, Progress, SUMMARY, Summary, WISH, Wish};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::de::DeserializeOwned;

/// What the job has written so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mailbox {
    pub(super) wish: Option<Wish>,
    pub(super) progress: Option<Progress>,
    pub(super) summary: Option<Summary>,
}

impl Mailbox {
    pub(super) fn of(config_map: &ConfigMap) -> Self {
        Self {
            wish: read(config_map, WISH),
            progress: read(config_map, PROGRESS),
            summary: read(config_map, SUMMARY),
        }
    }
}

/// A job of another version may write what is not understood here; that is as good as nothing.
fn read<T: DeserializeOwned>(config_map: &ConfigMap, key: &str) -> Option<T> {
    let text = config_map.data.as_ref()?.get(key)?;
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(key, %error, "what the job wrote cannot be read"))
        .ok()
}
