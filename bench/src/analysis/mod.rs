//! What traces say: where the time of a request goes. Pure; nothing here does I/O.
pub mod critical_path;
pub mod operations;
