//! What the job asks about the machine below what it measures, and what it is told.
//!
//! The job mostly runs on another node, and may not make pods: the operator has a node looked at by a short job there.
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The job's key: [`MachineWish`].
pub const MACHINE_WISH: &str = "machine-wish.json";
/// The operator's key: [`MachineAnswer`] to the last [`MachineWish`].
pub const MACHINE: &str = "machine.json";
/// How long a look at a machine may take: its pod has to be placed and started.
pub const MACHINE_KNOWN_WITHIN: Duration = Duration::from_secs(2 * 60);
/// Kubelet takes over no more bytes of a container's last words; what a look found has to fit.
pub const LONGEST_LAST_WORDS: usize = 4096;

/// Which node the job wants to be looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineWish {
    /// Counts up from 1 with each wish of a job, so that an answer is not taken for that to another.
    pub number: u32,
    /// The node, below a pod of what is measured now; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// How far the look is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineAnswer {
    /// The wish that this answers.
    pub number: u32,
    /// How far it is.
    pub state: MachineState,
    /// The same in words.
    pub message: String,
    /// What was found, in the words of the load generator's own program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<serde_json::Value>,
}

/// How far a look at a machine is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum MachineState {
    /// It goes on.
    Waiting,
    /// It has ended.
    Known,
    /// It came to nothing, and will not.
    Failed,
}
