//! What the job may do in the cluster: read and patch the ConfigMap of its own report.
use super::{metadata, names};
use candlepower_api::benchmark::LLMBenchmark;
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::ResourceExt;

pub(super) fn account(resource: &LLMBenchmark) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(resource, names::job(&resource.name_any())),
        // The pod asks for its token by itself.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(super) fn role(resource: &LLMBenchmark) -> Role {
    let name = resource.name_any();
    Role {
        metadata: metadata(resource, names::job(&name)),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(vec![names::report(&name)]),
            verbs: vec!["get".to_owned(), "patch".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

pub(super) fn binding(resource: &LLMBenchmark) -> RoleBinding {
    let name = names::job(&resource.name_any());
    RoleBinding {
        metadata: metadata(resource, name.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name,
            namespace: resource.namespace(),
            ..Subject::default()
        }]),
    }
}
