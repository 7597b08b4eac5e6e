//! `spec.scenarios`: how much load, for how long.
use crate::value::{Duration, Percentage};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One level of load.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.users) != has(self.arrival)").message("scenario: write either users, for a closed loop, or arrival, for an open one"))]
#[serde(rename_all = "camelCase")]
pub struct Scenario {
    /// Its name in the report.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Users that each wait for an answer before they ask again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub users: Option<i32>,
    /// Users that start per second; default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub spawn_rate: Option<i32>,
    /// Requests that arrive whether or not earlier ones were answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<Arrival>,
    /// How long the load lasts, warm-up included.
    pub duration: Duration,
    /// The beginning that does not count.
    #[serde(default)]
    pub warm_up: Duration,
}

/// Requests per second, such as `3/s`, that arrive whether or not earlier ones were answered.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[x_kube(validation = Rule::new("has(self.poisson) != has(self.constant)").message("arrival: write either poisson or constant, such as poisson: 3/s"))]
#[serde(rename_all = "camelCase")]
pub struct Arrival {
    /// Exponentially distributed gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rate")]
    pub poisson: Option<String>,
    /// Equal gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rate")]
    pub constant: Option<String>,
}

/// The schema of a rate. A slower one never comes to its first request, a faster one is more than one machine sends.
fn rate(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let slow = "0[.](0{0,2}[1-9][0-9]*)";
    let fast = "[1-9][0-9]{0,4}([.][0-9]+)?|100000([.]0+)?";
    schemars::json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('^({slow}|{fast})/s$')"),
            "message": "write a rate from 0.001/s to 100000/s, such as 3/s or 0.5/s",
        }],
    })
}

/// When to give up early.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StopWhen {
    /// The share of failed requests from which the rest is not worth running.
    pub error_rate: Percentage,
}
