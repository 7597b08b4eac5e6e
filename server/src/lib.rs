//! Candlepower's inference server: an OpenAI-compatible endpoint over candle.
//!
//! Data flows one way: [`http`] → [`text`] → [`engine`] → [`model`]; [`load`] builds the model
//! that they share, [`telemetry`] watches.
#![forbid(unsafe_code)]

#[cfg(all(candlepower_flash_attention, not(candlepower_cuda)))]
compile_error!("flash-attention's kernels are for CUDA: set --cfg candlepower_cuda, too");

pub mod config;
pub mod engine;
pub mod faults;
pub mod http;
pub mod load;
pub mod model;
mod panics;
pub mod telemetry;
pub mod text;
pub mod threads;
