//! Names that more than one part of Candlepower uses. Each is written once, here.
pub mod conditions;
pub mod labels;
pub mod metrics;
pub mod paths;
pub mod ports;
pub mod reasons;
pub mod spans;
