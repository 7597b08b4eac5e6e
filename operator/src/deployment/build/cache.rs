//! The volume that keeps what the server fetched: it outlives the pods and ends with the resource.
use super::{CACHE, metadata_of};
use crate::deployment::{
    source::{CacheVolume, FetchedModel, ModelSource},
    validate::Valid,
};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};
use std::collections::BTreeMap;

/// The claim, where the resource asks for a new one.
pub(super) fn claim(valid: &Valid<'_>) -> Option<PersistentVolumeClaim> {
    let ModelSource::Fetched(FetchedModel {
        cache:
            CacheVolume::New {
                size,
                storage_class_name,
                access_mode,
            },
        ..
    }) = &valid.model
    else {
        return None;
    };
    let requests = BTreeMap::from([("storage".to_owned(), Quantity(size.to_string()))]);
    Some(PersistentVolumeClaim {
        metadata: metadata_of(valid, CACHE),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![access_mode.as_str().to_owned()]),
            storage_class_name: storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(requests),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
