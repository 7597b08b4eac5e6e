//! The vocabulary that Candlepower's parts share.
//!
//! - [`deployment`] and [`benchmark`]: the custom resources (feature `kubernetes`);
//! - [`server_config`]: the server's configuration, written by the operator and read by the server;
//! - [`names`]: metrics, labels, spans, ports and paths that more than one part uses;
//! - [`value`]: quantities with units, validated where they enter;
//! - [`memory`], [`weights`], [`oci`]: what a model needs, and which files it is, as server and operator both compute it.
//!
//! Nothing here does I/O.
#![forbid(unsafe_code)]
#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats a type, with its visibility, inside a function"
)]

#[cfg(feature = "kubernetes")]
pub mod benchmark;
#[cfg(feature = "kubernetes")]
pub mod deployment;
pub mod memory;
pub mod names;
pub mod oci;
pub mod precision;
pub mod server_config;
#[cfg(feature = "kubernetes")]
#[cfg(test)]
mod testing;
pub mod value;
pub mod weights;

pub use precision::Precision;

/// The API group of both resources.
pub const GROUP: &str = "candlepower.dev";
/// The version of both resources.
pub const VERSION: &str = "v1alpha1";
