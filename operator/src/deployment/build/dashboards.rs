//! The ConfigMap with dashboards, which Grafana's sidecar finds by its label. It is the largest child by far, and
//! immutable, so that its content need not be watched.
use super::{labels, metadata_of, subject};
use crate::{
    config::monitoring::map,
    deployment::{monitoring::Plan, validate::Valid},
    observability::dashboards,
};
use candlepower_api::names::labels as names;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

pub(super) fn config_map(valid: &Valid<'_>, plan: &Plan<'_>) -> Option<ConfigMap> {
    if !valid.spec.observability.dashboards.enabled {
        return None;
    }
    let files = dashboards::of_resource(&subject(valid));
    let mut labels = map(&plan.settings.dashboard_labels);
    labels.extend(labels::all(&valid.name));
    labels.insert(names::IMMUTABLE.to_owned(), "true".to_owned());
    let annotations = map(&plan.settings.dashboard_annotations);
    (!files.is_empty()).then(|| ConfigMap {
        metadata: ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations).filter(|map| !map.is_empty()),
            ..metadata_of(valid, "dashboards")
        },
        data: Some(files),
        immutable: Some(true),
        ..ConfigMap::default()
    })
}
