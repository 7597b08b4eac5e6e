//! Names that more than one part of Candlepower uses. Each is written once, here.
pub mod alerts;
pub mod buckets;
pub mod conditions;
pub mod containers;
pub mod fetching;
pub mod labels;
pub mod metrics;
pub mod operator_metrics;
pub mod paths;
pub mod ports;
pub mod reasons;
pub mod scaling;
pub mod spans;
