//! Flags that say which of several operators works.
use candlepower_api::names::labels;
use clap::Args;

/// Which of several operators works.
#[derive(Args, Clone, Debug)]
pub struct LeaderConfig {
    /// Work only while holding a Lease, so that several operators may run
    #[arg(long, env = "LEADER_ELECT")]
    pub leader_elect: bool,
    /// Name of that Lease, which is in the operator's own namespace
    #[arg(long, env = "LEADER_ELECT_LEASE", value_name = "NAME", default_value = labels::OPERATOR_NAME)]
    pub leader_elect_lease: String,
    /// Name of the operator's pod, which the Lease shows as its holder
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = labels::OPERATOR_NAME)]
    pub pod_name: String,
}
