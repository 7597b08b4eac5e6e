//! Events for people who watch `kubectl describe`.
use crate::metrics::ControllerMetrics;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::runtime::events::{Event, EventType, Recorder};

/// The API server takes at most this many characters of a note.
const LONGEST_NOTE: usize = 1000;

/// Publishes events about one object.
pub(crate) async fn publish(
    recorder: &Recorder,
    metrics: &ControllerMetrics,
    events: &[Event],
    about: &ObjectReference,
) {
    for event in events {
        // An event that is lost is no reason to fail: the status says the same.
        match recorder.publish(event, about).await {
            Ok(()) => metrics.wrote("Event"),
            Err(error) if namespace_is_ending(&error) => {}
            Err(error) => {
                tracing::warn!(%error, reason = event.reason, "an event could not be published");
            }
        }
    }
}

/// Whether the namespace is being deleted, and so takes no new objects. Nobody would read the event.
fn namespace_is_ending(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.contains("is being terminated"))
}

/// The condition of this type.
pub(crate) fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// What a condition says, as an event.
pub(crate) fn event(condition: &Condition, action: &str, type_: EventType) -> Event {
    Event {
        type_,
        reason: condition.reason.clone(),
        note: Some(condition.message.chars().take(LONGEST_NOTE).collect()),
        action: action.to_owned(),
        secondary: None,
    }
}
