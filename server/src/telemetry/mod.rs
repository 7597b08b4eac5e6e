//! What the server tells about itself: metrics, spans and logs.
pub mod exporter;
pub mod logs;
pub mod metrics;
pub mod observation;
pub mod spans;

pub use metrics::Metrics;
pub use observation::{Observation, Outcome};
pub use spans::Spans;
