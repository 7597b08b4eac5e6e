//! Candlepower's command line: what a deployment does, and where the time of its requests goes.
//!
//! - [`cli`]: commands and what they print;
//! - [`evidence`]: metrics, traces, and the way to services inside the cluster;
//! - [`load`]: puts load on a server that speaks OpenAI's API;
//! - [`record`] and [`record_files`]: what a run of load leaves behind;
//! - [`figures`], [`waiting`] and [`objectives`]: latencies and rates of a scenario, what is known of those that
//!   did not end, and whether they are good enough;
//! - [`knee`]: what a search for the highest load comes to;
//! - [`analysis`]: what records and evidence say;
//! - [`job`]: the load generator of an `LLMBenchmark`, in its pod;
//! - [`report`]: the latency report, and what it is written as.
#![forbid(unsafe_code)]

pub mod analysis;
pub mod cli;
pub mod evidence;
pub mod figures;
pub mod job;
pub mod knee;
pub mod load;
pub mod objectives;
pub mod record;
pub mod record_files;
pub mod report;
pub mod waiting;
