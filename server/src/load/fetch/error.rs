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
        _ if is_full(problem) => "raise spec.cache.size, or remove what is not needed there",
        io::ErrorKind::NotFound => "make the folder, or name another with --cache",
        _ => "let the user 65532 write there, or name another folder with --cache",
    }
}

/// Whether the volume has no room, or the quota on it is used up.
fn is_full(problem: &io::Error) -> bool {
    matches!(
        problem.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl FetchError {
    /// Whether the volume filled while it was written.
    pub(super) fn is_of_full_volume(&self) -> bool {
        matches!(self, Self::Storage { problem, .. } if is_full(problem))
    }

    /// The reason that conditions show.
    pub fn reason(&self) -> LoadFailure {
        match self {
            Self::NotFound { .. } => LoadFailure::ModelNotFound,
            Self::Denied { .. } => LoadFailure::ModelAccessDenied,
            Self::Checksum { .. } | Self::OtherChecksum { .. } => LoadFailure::ChecksumMismatch,
            _ if self.is_of_full_volume() => LoadFailure::InsufficientDisk,
            Self::NoRoom { .. } => LoadFailure::InsufficientDisk,
            Self::Invalid(_) | Self::Storage { .. } => LoadFailure::InvalidConfiguration,
            Self::Client(_) => LoadFailure::EngineFailure,
        }
    }
}

/// How one attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The next one may succeed.
    Passing {
        /// What kind of problem it is.
        reason: LoadFailure,
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
            reason: LoadFailure::Unreachable,
            problem: problem.into(),
            pause: None,
            progressed: false,
        }
    }

    /// `error`, whose cause may go by itself or be put right while the process waits.
    pub(super) fn waiting(error: &FetchError) -> Self {
        Self::Passing {
            reason: error.reason(),
            problem: error.to_string(),
            pause: None,
            progressed: false,
        }
    }

    /// The same, after more had come than ever before, or not.
    pub(super) fn after(self, got_further: bool) -> Self {
        match self {
            Self::Passing {
                reason,
                problem,
                pause,
                ..
            } => Self::Passing {
                reason,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Write};

    fn writing(problem: io::Error) -> FetchError {
        FetchError::Storage {
            path: "/cache/a".into(),
            problem,
        }
    }

    #[test]
    fn a_device_without_room_is_a_full_volume_whose_message_names_the_cure() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = writing(full.write_all(b"weights").unwrap_err());
        assert!(error.is_of_full_volume());
        assert_eq!(error.reason(), LoadFailure::InsufficientDisk);
        assert!(error.to_string().contains("spec.cache.size"), "{error}");
    }

    #[test]
    fn a_quota_is_a_full_volume_and_a_refusal_is_not() {
        let error = writing(io::ErrorKind::QuotaExceeded.into());
        assert!(error.is_of_full_volume());
        assert_eq!(error.reason(), LoadFailure::InsufficientDisk);
        let error = writing(io::ErrorKind::PermissionDenied.into());
        assert!(!error.is_of_full_volume());
        assert_eq!(error.reason(), LoadFailure::InvalidConfiguration);
    }
}
