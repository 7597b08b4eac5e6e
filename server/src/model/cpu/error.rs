//! What can go wrong in a step: faults of this program, not of a request.
use candlepower_kernels::{AttentionError, SizeError, matrix::ShapeError};

/// Operands that do not fit each other.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// A product's.
    #[error(transparent)]
    Product(#[from] ShapeError),
    /// Attention's.
    #[error(transparent)]
    Attention(#[from] AttentionError),
    /// A norm's, a bias' or a rotation's.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// A token that the model does not have.
    #[error("the model has no token {0}")]
    Token(u32),
    /// A position that the engine was not made for.
    #[error("the engine has no position {0}")]
    Position(u32),
}
