//! The ConfigMap with the assignment, in which the job leaves its report.
use super::{metadata, names};
use crate::{error::Error, sorted::sorted};
use candlepower_api::benchmark::{
    LLMBenchmark,
    job::{ANSWER, ASSIGNMENT, Answer, Assignment, MACHINE, MachineAnswer},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) fn config_map(
    resource: &LLMBenchmark,
    assignment: &Assignment,
    answer: Option<&Answer>,
    machine: Option<&MachineAnswer>,
) -> Result<ConfigMap, Error> {
    let mut data = BTreeMap::from([(ASSIGNMENT.to_owned(), json(assignment)?)]);
    if let Some(answer) = answer {
        data.insert(ANSWER.to_owned(), json(answer)?);
    }
    if let Some(machine) = machine {
        data.insert(MACHINE.to_owned(), json(machine)?);
    }
    Ok(ConfigMap {
        metadata: metadata(resource, names::report(&resource.name_any())),
        data: Some(data),
        ..ConfigMap::default()
    })
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    Ok(sorted(serde_json::to_value(value)?).to_string())
}
