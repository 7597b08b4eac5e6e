//! The latency report: one value with every figure, and what it is written as.
mod build;
mod conclusion;
pub mod document;
mod gaps;
mod model;
mod plot;
pub mod render;
mod schema;
mod timeline;
mod trial;
mod words;

pub use build::{Options, build};
pub use model::{Breakdown, Conclusion, Operations, Outcome, Report, RunInfo};
pub use render::{Format, render};
pub use schema::schema;
pub use timeline::Moment;

#[cfg(test)]
mod tests;
