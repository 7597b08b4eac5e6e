//! Quantities with units: parsed and validated where they enter, typed inside.
mod bytes;
mod cpu;
mod duration;
#[cfg(feature = "kubernetes")]
mod json;
mod percentage;
#[cfg(feature = "kubernetes")]
mod schema;
mod text;

pub use bytes::ByteSize;
pub use cpu::CpuQuantity;
pub use duration::Duration;
#[cfg(feature = "kubernetes")]
pub use json::read_json;
pub use percentage::Percentage;
pub use text::InvalidValue;
