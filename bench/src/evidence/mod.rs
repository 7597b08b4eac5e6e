//! Where the evidence comes from: traces, and the way to services inside the cluster.
pub mod cluster;
pub mod jaeger;
pub mod places;
pub mod trace;
