//! Candlepower's command line: what a deployment does, and where the time of its requests goes.
//!
//! - [`cli`]: commands and what they print;
//! - [`evidence`]: traces, and the way to services inside the cluster;
//! - [`record`]: what a run of load leaves behind;
//! - [`analysis`]: what the evidence says.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod cli;
pub mod evidence;
pub mod record;
