//! What the tests of every backend share: models with known logits, and ways to compute them.
pub(crate) mod drive;
pub(crate) mod fixture;
pub(crate) mod gguf;
pub(crate) mod random;
