//! The HTTP side as its clients see it: the real router over an engine without a model.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::cast_possible_wrap,
    reason = "tests may stop at the first surprise, and counters are whole numbers"
)]
mod access;
mod cancel;
mod chat_completions;
mod completions;
mod deadlines;
mod ending;
mod errors;
mod failures;
mod faults;
mod formats;
mod generate;
mod health;
mod metrics;
mod models;
mod sampling;
mod setup;
mod telemetry;
mod tool_forms;
mod tools;
mod usage;
mod vanishing;
