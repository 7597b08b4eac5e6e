//! What records and evidence say. Pure; nothing here does I/O.
pub mod advice;
pub mod breaking_point;
pub mod comparison;
pub mod cost;
pub mod critical_path;
pub mod ends;
pub mod findings;
mod gpu_peaks;
pub mod interval;
pub mod level;
pub mod model_load;
pub mod observed;
pub mod operations;
pub mod roofline;
pub mod span_tree;
pub mod usl;

#[cfg(test)]
pub(crate) mod testing;
