//! The backend on candle's tensors: all rows of a step share each matrix product, and only
//! attention looks at one sequence at a time. On the CPU it is what other backends are compared
//! with.
mod attention;
mod cache;
mod decoder;
mod layer;
mod matrix;
mod rotary;

pub(super) use decoder::CandleDecoder;
pub(super) use matrix::held_as;

#[cfg(test)]
mod tests;
