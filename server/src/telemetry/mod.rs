//! What the server tells about itself: metrics, spans and logs.
pub mod busy;
pub mod container;
pub mod exemplars;
pub mod exporter;
mod family;
pub mod gpu;
mod json_lines;
pub mod logs;
pub mod metrics;
pub mod observation;
pub mod openmetrics;
pub mod queue;
pub mod spans;
pub mod traces;

pub use metrics::Metrics;
pub use observation::{Observation, Outcome};
pub use spans::Spans;
