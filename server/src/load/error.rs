//! Why a model did not load, with the cure.
use super::{fetch::FetchError, memory::Room};
use crate::{panics, text::TextError};
use candlepower_api::{names::reasons::LoadFailure, value::ByteSize};
use std::{
    any::Any,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// A failure to load. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("{} does not exist: check model.source (the path inside the volume) and what the volume holds", .0.display())]
    NotFound(PathBuf),
    /// The file may not be read.
    #[error("{} may not be read by this user (65532): make the file and its folders readable for others", .0.display())]
    AccessDenied(PathBuf),
    /// Reading failed.
    #[error("{} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// Not a whole, valid model file.
    #[error("{} is not a whole {} ({problem}): download it again and give its sha256 in model.sha256", path.display(), kind(path))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The checksum differs.
    #[error("{} has the SHA-256 {actual}, but model.sha256 is {expected}: download the file again, or correct the field", path.display())]
    ChecksumMismatch {
        /// The file.
        path: PathBuf,
        /// What the resource says.
        expected: String,
        /// What the file has.
        actual: String,
    },
    /// Nothing here runs this architecture.
    #[error(
        "the architecture \"{found}\" is not supported by this version: use a model of the architectures {supported}"
    )]
    UnsupportedArchitecture {
        /// What the weights declare.
        found: String,
        /// What can be served.
        supported: String,
    },
    /// The weights are numbers of a kind that is not read.
    #[error(
        "{} holds {found} numbers ({tensor}), which are not supported: use the model's original files in bf16, f16 or f32, or a GGUF file", path.display()
    )]
    UnsupportedWeights {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
        /// Its numbers.
        found: String,
    },
    /// The weights are quantised already, and not in the precision asked for.
    #[error(
        "the file holds {found} weights, which have lost too much to be converted: set precision to auto or {found}, or give a file in {wanted}, bf16, f16 or f32"
    )]
    UnsupportedPrecision {
        /// What the file holds.
        found: String,
        /// What the resource asks for.
        wanted: String,
    },
    /// Weights and KV cache do not fit.
    #[error(
        "the model does not fit: weights {} + KV cache for {minimum_tokens} tokens {} + overhead {} exceed {} of {}: {}, lower engine.kvCacheMemory, or choose a smaller precision",
        weights.human(), kv_cache.human(), overhead.human(), room.name(), room.size().human(), room.cure()
    )]
    InsufficientMemory {
        /// Bytes of the weights.
        weights: ByteSize,
        /// Bytes of the smallest KV cache that makes sense, or of the one asked for.
        kv_cache: ByteSize,
        /// Tokens of that KV cache.
        minimum_tokens: usize,
        /// Bytes for everything else.
        overhead: ByteSize,
        /// What may be used.
        room: Room,
    },
    /// It is not on a volume, and cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The configuration contradicts the model.
    #[error("{0}")]
    InvalidConfiguration(String),
    /// The tokenizer or chat template cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The tensor library failed.
    #[error("the weights cannot be used: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The first generation failed.
    #[error("the model loaded, but its first generation failed: {0}")]
    WarmUp(String),
    /// A fault of this server.
    #[error(
        "loading ended in a panic ({0}): the file may be damaged; report it with the server's log"
    )]
    Panic(String),
    /// The engine's thread could not be started.
    #[error("the engine's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// The weights or the KV cache cannot be brought into the kernels' form.
    #[error("the model cannot be held in memory: {0}")]
    Pack(String),
}

/// What a file with this path should be.
fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(OsStr::to_str) {
        Some("safetensors") => "safetensors file",
        Some("json") => "JSON file",
        _ if path.is_dir() => "model",
        _ => "GGUF file",
    }
}

impl LoadError {
    /// The reason that conditions show.
    pub fn reason(&self) -> LoadFailure {
        match self {
            Self::NotFound(_) => LoadFailure::ModelNotFound,
            Self::AccessDenied(_) => LoadFailure::ModelAccessDenied,
            Self::Unreadable { .. } | Self::Corrupt { .. } => LoadFailure::CorruptModel,
            Self::ChecksumMismatch { .. } => LoadFailure::ChecksumMismatch,
            Self::UnsupportedArchitecture { .. } => LoadFailure::UnsupportedArchitecture,
            Self::UnsupportedPrecision { .. } | Self::UnsupportedWeights { .. } => {
                LoadFailure::UnsupportedPrecision
            }
            Self::InsufficientMemory { .. } => LoadFailure::InsufficientMemory,
            Self::Fetch(error) => error.reason(),
            Self::InvalidConfiguration(_) => LoadFailure::InvalidConfiguration,
            Self::Text(_) => LoadFailure::UnsupportedTokenizer,
            Self::Tensor(_)
            | Self::WarmUp(_)
            | Self::Panic(_)
            | Self::Thread(_)
            | Self::Pack(_) => LoadFailure::EngineFailure,
        }
    }

    pub(crate) fn corrupt(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }

    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        Self::Panic(panics::message(payload).to_owned())
    }

    pub(crate) fn from_io(path: &Path, problem: std::io::Error) -> Self {
        match problem.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                Self::NotFound(path.to_owned())
            }
            std::io::ErrorKind::PermissionDenied => Self::AccessDenied(path.to_owned()),
            _ => Self::Unreadable {
                path: path.to_owned(),
                problem,
            },
        }
    }
}
