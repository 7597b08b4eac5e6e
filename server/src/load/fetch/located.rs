//! Where what was fetched is.
use super::{error::FetchError, space, store::InUse};
use std::path::PathBuf;

/// Where the model and its tokenizer are on this machine.
#[derive(Debug, Default)]
pub struct Located {
    /// The model's file or folder.
    pub path: PathBuf,
    /// Its tokenizer, where it is not the model's own.
    pub tokenizer: Option<PathBuf>,
    /// The commit or digest of what was fetched, where there is one.
    pub version: Option<String>,
    /// The SHA-256 that was computed just now, while the model's one file came.
    pub sha256: Option<String>,
    /// What the folder for fetched models has of the model.
    pub kept: Option<Kept>,
    /// Keeps the folder from losing them.
    pub in_use: InUse,
}

/// A model in the folder for fetched models.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The SHA-256 of all its files.
    pub digest: String,
    /// The folder for what is made of them.
    pub made: PathBuf,
}

impl Kept {
    /// Fails where its volume has not so many bytes free.
    pub(in crate::load) fn check_room(&self, needed: u64) -> Result<(), FetchError> {
        space::check(&self.made, needed, space::free(&self.made)?)
    }
}
