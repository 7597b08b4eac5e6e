//! Whether the API server serves device claims (dynamic resource allocation, DRA): asked only where a resource wants some.
use super::validate::Rejection;
use candlepower_api::{deployment::LLMDeployment, names::conditions};
use kube::Client;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const API_VERSION: &str = "resource.k8s.io/v1";
const KIND: &str = "ResourceClaim";
/// An API server that serves them goes on to.
const WHILE_SERVED: Duration = Duration::from_secs(3600);
/// One that does not may be upgraded.
pub(super) const WHILE_ABSENT: Duration = Duration::from_secs(60);

/// What the API server says about device claims.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Serving {
    /// It was not asked, or has not answered.
    #[default]
    Unknown,
    Served,
    Absent,
}

/// What it said last.
#[derive(Debug, Default)]
pub(super) struct DeviceClaims(Mutex<Option<(Instant, Serving)>>);

impl DeviceClaims {
    /// Whether the claims of `resource` are served, where it has any.
    pub(super) async fn serving(&self, resource: &LLMDeployment, client: &Client) -> Serving {
        if resource.spec.resources.claims.is_empty() {
            return Serving::Unknown;
        }
        if let Some(known) = self.known(Instant::now()) {
            return known;
        }
        let answer = ask(client).await;
        if answer != Serving::Unknown {
            *self.lock() = Some((Instant::now(), answer));
        }
        answer
    }

    fn known(&self, now: Instant) -> Option<Serving> {
        let (asked, answer) = (*self.lock())?;
        let lasts = match answer {
            Serving::Absent => WHILE_ABSENT,
            Serving::Served | Serving::Unknown => WHILE_SERVED,
        };
        (now.duration_since(asked) < lasts).then_some(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Serving)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(client: &Client) -> Serving {
    match client.list_api_group_resources(API_VERSION).await {
        Ok(list) if list.resources.iter().any(|it| it.kind == KIND) => Serving::Served,
        Ok(_) => Serving::Absent,
        Err(kube::Error::Api(status)) if status.code == 404 => Serving::Absent,
        Err(error) => {
            tracing::debug!(%error, "whether device claims are served is not known");
            Serving::Unknown
        }
    }
}

/// Refuses claims that the API server does not know: it would leave them out, and the model would run without a GPU.
pub(super) fn check(serving: Serving) -> Result<(), Rejection> {
    match serving {
        Serving::Absent => Err(Rejection {
            reason: conditions::DEVICE_CLAIMS_NOT_SERVED,
            message: format!(
                "spec.resources.claims: the API server does not serve {API_VERSION}, as Kubernetes does from 1.34 on: upgrade the cluster, or write resources.gpus, for NVIDIA's device plugin, in place of claims"
            ),
        }),
        Serving::Served | Serving::Unknown => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::{self, api_server};
    use axum::http::StatusCode;
    use serde_json::json;

    fn with_claims() -> LLMDeployment {
        let claims = json!([{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]);
        testing::resource(json!({"resources": {"claims": claims}}))
    }

    const SERVED: &str = r#"{"groupVersion": "resource.k8s.io/v1", "resources": [{"name": "resourceclaims",
        "singularName": "resourceclaim", "namespaced": true, "kind": "ResourceClaim", "verbs": []}]}"#;

    #[tokio::test]
    async fn the_api_server_is_asked_once_and_only_where_a_resource_has_claims() {
        let (client, asked) = api_server(|_| (StatusCode::OK, SERVED.to_owned()));
        let devices = DeviceClaims::default();
        let none = testing::resource(json!({"resources": {"gpus": 1}}));
        assert_eq!(devices.serving(&none, &client).await, Serving::Unknown);
        assert_eq!(asked.lock().unwrap().len(), 0);
        for _ in 0..3 {
            let answer = devices.serving(&with_claims(), &client).await;
            assert_eq!(answer, Serving::Served);
        }
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn claims_that_are_not_served_are_refused_with_the_cure_until_they_are() {
        let (client, _) = api_server(|_| (StatusCode::NOT_FOUND, "{\"code\": 404}".to_owned()));
        let devices = DeviceClaims::default();
        let answer = devices.serving(&with_claims(), &client).await;
        let rejection = check(answer).unwrap_err();
        assert_eq!(rejection.reason, "DeviceClaimsNotServed");
        assert!(
            rejection.message.contains("resources.gpus"),
            "{rejection:?}"
        );
        let now = Instant::now();
        assert_eq!(devices.known(now), Some(Serving::Absent));
        assert_eq!(devices.known(now + WHILE_ABSENT), None);
    }

    #[tokio::test]
    async fn an_api_server_that_does_not_answer_refuses_nothing() {
        let failed = StatusCode::INTERNAL_SERVER_ERROR;
        let (client, _) = api_server(move |_| (failed, "{\"code\": 500}".to_owned()));
        let devices = DeviceClaims::default();
        let answer = devices.serving(&with_claims(), &client).await;
        assert_eq!(check(answer), Ok(()));
    }
}
