//! The kinds of objects that caches hold.
use std::borrow::Cow;

/// A kind of object. All kinds of children are one type for the watches, so that the binary holds their code once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Kind {
    ConfigMap,
    Deployment,
    NetworkPolicy,
    PersistentVolumeClaim,
    Pod,
    PodDisruptionBudget,
    PodMonitor,
    PrometheusRule,
    Service,
}

impl Kind {
    /// API group, version, name and plural, as URLs have it.
    const fn names(self) -> [&'static str; 4] {
        match self {
            Self::ConfigMap => ["", "v1", "ConfigMap", "configmaps"],
            Self::Deployment => ["apps", "v1", "Deployment", "deployments"],
            Self::NetworkPolicy => [
                "networking.k8s.io",
                "v1",
                "NetworkPolicy",
                "networkpolicies",
            ],
            Self::PersistentVolumeClaim => {
                ["", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"]
            }
            Self::Pod => ["", "v1", "Pod", "pods"],
            Self::PodDisruptionBudget => [
                "policy",
                "v1",
                "PodDisruptionBudget",
                "poddisruptionbudgets",
            ],
            Self::PodMonitor => ["monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"],
            Self::PrometheusRule => [
                "monitoring.coreos.com",
                "v1",
                "PrometheusRule",
                "prometheusrules",
            ],
            Self::Service => ["", "v1", "Service", "services"],
        }
    }

    pub(super) const fn group(self) -> Cow<'static, str> {
        Cow::Borrowed(self.names()[0])
    }

    pub(super) const fn version(self) -> Cow<'static, str> {
        Cow::Borrowed(self.names()[1])
    }

    pub(super) const fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(self.names()[2])
    }

    pub(super) const fn plural(self) -> Cow<'static, str> {
        Cow::Borrowed(self.names()[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    };
    use kube::Resource;

    fn names<K: Resource<DynamicType = ()>>() -> [String; 4] {
        [
            K::group(&()).into_owned(),
            K::version(&()).into_owned(),
            K::kind(&()).into_owned(),
            K::plural(&()).into_owned(),
        ]
    }

    #[test]
    fn each_kind_is_named_as_kubernetes_names_it() {
        for (kind, typed) in [
            (Kind::ConfigMap, names::<ConfigMap>()),
            (Kind::Deployment, names::<Deployment>()),
            (Kind::NetworkPolicy, names::<NetworkPolicy>()),
            (Kind::Pod, names::<Pod>()),
            (
                Kind::PersistentVolumeClaim,
                names::<PersistentVolumeClaim>(),
            ),
            (Kind::PodDisruptionBudget, names::<PodDisruptionBudget>()),
            (Kind::Service, names::<Service>()),
        ] {
            assert_eq!(kind.names(), typed);
        }
    }
}
