//! Events for people who watch `kubectl describe`.
use crate::metrics::ControllerMetrics;
use candlepower_api::names::labels;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use std::sync::{Mutex, PoisonError};

/// The API server takes at most this many characters of a note.
const LONGEST_NOTE: usize = 1000;

/// So many events are remembered, to tell of one that comes again by its count. A recorder forgets none for six minutes:
/// after a thousand resources have come, its memory would be the largest of the operator's.
const REMEMBERED: u32 = 128;

/// Publishes events in the operator's name.
pub(crate) struct Publisher {
    client: Client,
    /// The present recorder, and how many events it has published.
    present: Mutex<(Recorder, u32)>,
}

impl Publisher {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            present: Mutex::new((recorder(client), 0)),
        }
    }

    /// The recorder for the next event.
    fn recorder(&self) -> Recorder {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if present.1 >= REMEMBERED {
            *present = (recorder(&self.client), 0);
        }
        present.1 += 1;
        present.0.clone()
    }
}

fn recorder(client: &Client) -> Recorder {
    Recorder::new(client.clone(), Reporter::from(labels::OPERATOR_NAME))
}

/// Publishes events about one object.
pub(crate) async fn publish(
    publisher: &Publisher,
    metrics: &ControllerMetrics,
    events: &[Event],
    about: &ObjectReference,
) {
    for event in events {
        // An event that is lost is no reason to fail: the status says the same.
        match publisher.recorder().publish(event, about).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use axum::http::{Method, Request, Response};
    use futures::future;
    use kube::client::Body;
    use std::sync::Arc;
    use tower::BoxError;

    /// A client of an API server that takes every event, and the methods of what it was asked.
    fn client() -> (Client, Arc<Mutex<Vec<Method>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noting = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            noting.lock().unwrap().push(request.method().clone());
            let event = r#"{"metadata": {}, "eventTime": null}"#;
            let answer = Response::new(Body::from(event.as_bytes().to_vec()));
            future::ok::<_, BoxError>(answer)
        });
        (Client::new(service, "team"), asked)
    }

    #[tokio::test]
    async fn an_event_that_comes_again_is_counted_unless_many_came_between() {
        let (client, asked) = client();
        let publisher = Publisher::new(&client);
        let metrics = ControllerMetrics::new(&Arc::new(Metrics::new().unwrap()), "a");
        let about = ObjectReference {
            namespace: Some("team".into()),
            name: Some("tiny".into()),
            ..ObjectReference::default()
        };
        let of_reason = |reason: &str| Event {
            type_: EventType::Normal,
            reason: reason.into(),
            note: None,
            action: "Reconcile".into(),
            secondary: None,
        };
        let again = ["first", "first"].map(of_reason);
        publish(&publisher, &metrics, &again, &about).await;
        assert_eq!(*asked.lock().unwrap(), [Method::POST, Method::PATCH]);
        let others: Vec<_> = (0..REMEMBERED)
            .map(|it| of_reason(&it.to_string()))
            .collect();
        publish(&publisher, &metrics, &others, &about).await;
        publish(&publisher, &metrics, &[of_reason("first")], &about).await;
        assert_eq!(
            asked.lock().unwrap().last(),
            Some(&Method::POST),
            "a new one"
        );
    }
}
