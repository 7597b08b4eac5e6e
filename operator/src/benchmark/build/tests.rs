//! What is made of a benchmark.
use super::*;
use crate::benchmark::{nodes::Nodes, served, testing};
use candlepower_api::benchmark::job::CopyState;
use serde_json::json;

#[test]
fn the_children_of_a_benchmark() {
    let resource =
        testing::benchmark(json!({"target": {"deployment": "tiny"}, "profile": "quick"}));
    let worker = worker(
        &resource,
        Some(&testing::served("tiny")),
        &testing::settings(),
    );
    insta::assert_yaml_snapshot!("role", worker.role);
    insta::assert_yaml_snapshot!("role_binding", worker.binding);
    insta::assert_yaml_snapshot!("service_account", worker.account);
    insta::assert_yaml_snapshot!("job", worker.job);
}

#[test]
fn the_job_finds_what_to_do_in_its_mailbox_and_reads_it_with_the_same_types() {
    let resource = testing::benchmark(json!({"target": {"deployment": "tiny"}}));
    let assignment = Assignment {
        benchmark: "nightly".into(),
        spec: resource.spec.clone(),
        target: served::deployment(&testing::served("tiny"), &[], &Nodes::default()),
    };
    let answer = Answer {
        number: 1,
        state: CopyState::Waiting,
        message: "it loads".into(),
        served: None,
    };
    let mailbox = report(&resource, &assignment, Some(&answer), None).unwrap();
    assert_eq!(mailbox.metadata.name.as_deref(), Some("nightly-report"));
    let data = mailbox.data.unwrap();
    assert_eq!(data.len(), 2);
    let read: Assignment = serde_json::from_str(&data["assignment.json"]).unwrap();
    assert_eq!(read, assignment);
    let read: Answer = serde_json::from_str(&data["answer.json"]).unwrap();
    assert_eq!(read, answer);
}
