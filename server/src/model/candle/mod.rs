//! The backend on candle's tensors: all rows of a step share each matrix product, and only
//! attention looks at one sequence at a time, unless a kernel looks at all. On the CPU it is what
//! other backends are compared with; built for CUDA (`server/cuda`) it serves on GPUs.
mod attention;
mod cache;
mod decoder;
mod layer;
mod matrix;
mod packing;
mod paged;
mod rotary;
mod target;

pub(super) use decoder::CandleDecoder;
pub use target::Target;

#[cfg(test)]
mod tests;
