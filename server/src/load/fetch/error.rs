//! Why a model could not be fetched, with the cure.
use candlepower_api::{names::reasons::LoadFailure, value::ByteSize};
use std::{io, path::PathBuf, time::Duration};

/// A failure to fetch that waiting does not cure. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source makes no sense, alone or with the other fields.
    #[error("{0}")]
    Invalid(String),
    /// There is no such file, revision or repository.
    #[error("{what} does not exist: {cure}")]
    NotFound {
        /// The address, or what was looked for in it.
        what: String,
        /// What to do.
        cure: String,
    },
    /// The source does not hand it out.
    #[error("{what} may not be read ({answer}): {cure}")]
    Denied {
        /// The address.
        what: String,
        /// The server's answer.
        answer: String,
        /// What to do.
        cure: String,
    },
    /// What came is not what was promised.
    #[error(
        "{what} has the SHA-256 {actual}, but {expected} was promised by its source: the file there is damaged"
    )]
    Checksum {
        /// The file.
        what: String,
        /// What the source says.
        expected: String,
        /// What came.
        actual: String,
    },
    /// What is there is not what the resource asks for.
    #[error(
        "{what} has the SHA-256 {told}, but model.sha256 is {expected}: correct the field, or use another revision"
    )]
    OtherChecksum {
        /// The file.
        what: String,
        /// What the resource says.
        expected: String,
        /// What the source says.
        told: String,
    },
    /// The volume is too small.
    #[error(
        "{} more are needed in {}, but {} are free: raise spec.cache.size, or remove what is not needed there", needed.human(), folder.display(), free.human()
    )]
    NoRoom {
        /// The folder for fetched models.
        folder: PathBuf,
        /// Bytes still to be fetched.
        needed: ByteSize,
        /// Bytes that are free.
        free: ByteSize,
    },
    /// The folder for fetched models cannot be used.
    #[error("{} cannot be written: {problem}: {}", path.display(), storage_cure(problem))]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// There is no way to ask anybody.
    #[error("nothing can be fetched: {0}")]
    Client(String),
}

fn storage_cure(problem: &io::Error) -> &'static str {
    match problem.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "raise spec.cache.size, or remove what is not needed there"
        }
        io::ErrorKind::NotFound => "make the folder, or name another with --cache",
        _ => "let the user 65532 write there, or name another folder with --cache",
    }
}

impl FetchError {
    /// The reason that conditions show.
    pub fn reason(&self) -> LoadFailure {
        match self {
            Self::Invalid(_) => LoadFailure::InvalidConfiguration,
            Self::NotFound { .. } => LoadFailure::ModelNotFound,
            Self::Denied { .. } => LoadFailure::ModelAccessDenied,
            Self::Checksum { .. } | Self::OtherChecksum { .. } => LoadFailure::ChecksumMismatch,
            Self::NoRoom { .. } => LoadFailure::InsufficientDisk,
            Self::Storage { problem, .. } => match problem.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    LoadFailure::InsufficientDisk
                }
                _ => LoadFailure::InvalidConfiguration,
            },
            Self::Client(_) => LoadFailure::EngineFailure,
        }
    }
}

/// How one attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The next one may succeed.
    Passing {
        /// What happened.
        problem: String,
        /// How long the server asks to wait.
        pause: Option<Duration>,
        /// Whether the attempt brought more than all before it.
        progressed: bool,
    },
    /// None will succeed.
    Final(FetchError),
}

impl Failure {
    pub(super) fn passing(problem: impl Into<String>) -> Self {
        Self::Passing {
            problem: problem.into(),
            pause: None,
            progressed: false,
        }
    }

    /// The same, after more had come than ever before, or not.
    pub(super) fn after(self, got_further: bool) -> Self {
        match self {
            Self::Passing { problem, pause, .. } => Self::Passing {
                problem,
                pause,
                progressed: got_further,
            },
            last @ Self::Final(_) => last,
        }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Final(error)
    }
}

/// An error with all that led to it; a client's own text is often only that something failed.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
