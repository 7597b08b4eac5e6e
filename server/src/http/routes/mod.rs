//! The routes, one file each.
pub mod chat_completions;
pub mod completions;
pub mod docs;
pub mod faults;
pub mod generate;
pub mod health;
pub mod metrics;
pub mod models;
pub mod version;
