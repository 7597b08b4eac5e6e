//! What the job's pod has of files: room for records, and what others left it to read.
use super::names;
use candlepower_api::benchmark::{LLMBenchmark, job as contract};
use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
        Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

/// Where there is no claim for them, records of requests get this much of the node's disk.
const RECORDS_LIMIT: &str = "2Gi";

const RECORDS_VOLUME: &str = "records";
const TMP_VOLUME: &str = "tmp";
const BASELINE_VOLUME: &str = "baseline";

pub(super) fn of(resource: &LLMBenchmark) -> Vec<Volume> {
    let tmp = Volume {
        name: TMP_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    [records_volume(resource), tmp]
        .into_iter()
        .chain(baseline_volume(resource))
        .collect()
}

/// The report of the run to compare with comes by kubelet, so that the job needs no right to read it.
fn baseline_volume(resource: &LLMBenchmark) -> Option<Volume> {
    let baseline = resource.spec.baseline.as_ref()?;
    Some(Volume {
        name: BASELINE_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::report(&baseline.benchmark),
            items: Some(vec![KeyToPath {
                key: contract::REPORT_JSON.to_owned(),
                path: contract::REPORT_JSON.to_owned(),
                mode: None,
            }]),
            // One that was too large has none, and that benchmark may be deleted before the pod starts.
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    })
}

fn records_volume(resource: &LLMBenchmark) -> Volume {
    let volume = Volume {
        name: RECORDS_VOLUME.to_owned(),
        ..Volume::default()
    };
    let records = resource.spec.records.as_ref();
    match records.and_then(|records| records.existing_claim.clone()) {
        Some(claim_name) => Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name,
                read_only: None,
            }),
            ..volume
        },
        None => Volume {
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(RECORDS_LIMIT.to_owned())),
                ..EmptyDirVolumeSource::default()
            }),
            ..volume
        },
    }
}

pub(super) fn mounts(resource: &LLMBenchmark) -> Vec<VolumeMount> {
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let baseline = resource.spec.baseline.as_ref();
    let baseline = baseline.map(|_| mount(BASELINE_VOLUME, contract::BASELINE_DIR, Some(true)));
    [
        mount(RECORDS_VOLUME, contract::RECORDS_DIR, None),
        mount(TMP_VOLUME, "/tmp", None),
    ]
    .into_iter()
    .chain(baseline)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::testing;
    use serde_json::json;

    #[test]
    fn the_report_of_the_baseline_is_handed_to_the_job() {
        let resource = testing::benchmark(json!({
            "target": {"deployment": "tiny"}, "baseline": {"benchmark": "before"},
        }));
        let found = of(&resource).pop().and_then(|one| one.config_map);
        let found = found.unwrap();
        assert_eq!(
            (found.name, found.optional),
            ("before-report".to_owned(), Some(true))
        );
        let mount = mounts(&resource).pop().unwrap();
        assert_eq!(mount.mount_path, contract::BASELINE_DIR);
        let without = testing::benchmark(json!({"target": {"deployment": "tiny"}}));
        assert_eq!((of(&without).len(), mounts(&without).len()), (2, 2));
    }

    #[test]
    fn records_go_to_a_claim_where_one_is_named() {
        let resource = testing::benchmark(json!({
            "target": {"deployment": "tiny"}, "records": {"existingClaim": "mine"},
        }));
        let claim = records_volume(&resource).persistent_volume_claim.unwrap();
        assert_eq!(claim.claim_name, "mine");
    }
}
