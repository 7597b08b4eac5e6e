//! The server's environment: whose traces it sends, and what the resource adds.
use super::sidecars::POD_NAME;
use crate::deployment::{source::ModelSource, validate::Valid};
use candlepower_api::names::{fetching, spans};
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, SecretEnvSource,
};

/// OpenTelemetry's variable for attributes of everything that a process sends.
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The resource's own variables come last and so replace ours of the same name.
pub(super) fn of_server(valid: &Valid<'_>) -> Vec<EnvVar> {
    let attributes = format!(
        "{}={},{}={},{}=$({POD_NAME})",
        spans::K8S_NAMESPACE,
        valid.namespace,
        spans::LLM_DEPLOYMENT,
        valid.name,
        spans::K8S_POD,
    );
    let own = &valid.spec.pod.env;
    [
        pod_name(),
        EnvVar {
            name: RESOURCE_ATTRIBUTES.to_owned(),
            value: Some(attributes),
            ..EnvVar::default()
        },
    ]
    .into_iter()
    .chain(secret(valid).map(|secret| EnvVar {
        name: fetching::CREDENTIALS_SECRET.to_owned(),
        value: Some(secret.to_owned()),
        ..EnvVar::default()
    }))
    .filter(|ours| own.iter().all(|theirs| theirs.name != ours.name))
    .chain(own.clone())
    .collect()
}

/// What opens the door of the model's source. Where the Secret is missing, the container is not
/// created, and the condition says so.
pub(super) fn credentials(valid: &Valid<'_>) -> Option<Vec<EnvFromSource>> {
    let secret = secret(valid)?;
    Some(vec![EnvFromSource {
        prefix: Some(fetching::CREDENTIAL_PREFIX.to_owned()),
        secret_ref: Some(SecretEnvSource {
            name: secret.to_owned(),
            optional: Some(false),
        }),
        ..EnvFromSource::default()
    }])
}

/// The Secret's name, where the server fetches.
fn secret<'a>(valid: &'a Valid<'_>) -> Option<&'a str> {
    match &valid.model {
        ModelSource::Fetched(_) => {
            let credentials = valid.spec.model.credentials.as_ref()?;
            Some(&credentials.secret_ref.name)
        }
        ModelSource::Mounted(_) => None,
    }
}

/// The pod's name, from Kubernetes.
pub(super) fn pod_name() -> EnvVar {
    EnvVar {
        name: POD_NAME.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.name".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use serde_json::json;

    fn values(spec: serde_json::Value) -> Vec<(String, Option<String>)> {
        let resource = testing::resource(spec);
        of_server(&testing::valid(&resource))
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect()
    }

    #[test]
    fn traces_say_which_resource_and_pod_they_come_from() {
        let attributes =
            "k8s.namespace.name=team,candlepower.llmdeployment=tiny,k8s.pod.name=$(POD_NAME)";
        assert_eq!(
            values(json!({})),
            [
                ("POD_NAME".to_owned(), None),
                (
                    "OTEL_RESOURCE_ATTRIBUTES".to_owned(),
                    Some(attributes.to_owned())
                ),
            ]
        );
    }

    #[test]
    fn a_variable_of_the_resource_replaces_ours() {
        let env = json!([{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "a=b"}, {"name": "C"}]);
        let names: Vec<_> = values(json!({"pod": {"env": env}}));
        assert_eq!(
            names[1..],
            [
                (
                    "OTEL_RESOURCE_ATTRIBUTES".to_owned(),
                    Some("a=b".to_owned())
                ),
                ("C".to_owned(), None)
            ]
        );
    }
}
