//! Reasons why a model cannot be served, shared by the server (which finds them) and the
//! operator (which shows them in conditions).
use serde::{Deserialize, Serialize};

/// Why a model did not load. The name is the condition's `reason`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LoadFailure {
    /// There is no such file.
    ModelNotFound,
    /// The file is there but may not be read.
    ModelAccessDenied,
    /// The file is not a whole, valid model file.
    CorruptModel,
    /// The file's checksum is not the one in the resource.
    ChecksumMismatch,
    /// The volume for fetched models has too little room.
    InsufficientDisk,
    /// The source does not answer, or breaks off again and again. The server goes on trying.
    Unreachable,
    /// No code here runs this architecture.
    UnsupportedArchitecture,
    /// The weights cannot be served in the precision asked for.
    UnsupportedPrecision,
    /// The tokenizer is missing or of an unknown kind.
    UnsupportedTokenizer,
    /// Weights and KV cache need more than the memory limit.
    InsufficientMemory,
    /// The configuration contradicts itself or the model.
    InvalidConfiguration,
    /// The engine failed in a way that its code does not expect.
    EngineFailure,
}

impl LoadFailure {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::ModelNotFound,
        Self::ModelAccessDenied,
        Self::CorruptModel,
        Self::ChecksumMismatch,
        Self::InsufficientDisk,
        Self::Unreachable,
        Self::UnsupportedArchitecture,
        Self::UnsupportedPrecision,
        Self::UnsupportedTokenizer,
        Self::InsufficientMemory,
        Self::InvalidConfiguration,
        Self::EngineFailure,
    ];

    /// The name as it appears in conditions and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModelNotFound => "ModelNotFound",
            Self::ModelAccessDenied => "ModelAccessDenied",
            Self::CorruptModel => "CorruptModel",
            Self::ChecksumMismatch => "ChecksumMismatch",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::Unreachable => "Unreachable",
            Self::UnsupportedArchitecture => "UnsupportedArchitecture",
            Self::UnsupportedPrecision => "UnsupportedPrecision",
            Self::UnsupportedTokenizer => "UnsupportedTokenizer",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InvalidConfiguration => "InvalidConfiguration",
            Self::EngineFailure => "EngineFailure",
        }
    }
}

/// What keeps a server from loading for now, although it goes on trying.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LoadProblem {
    /// What kind of problem it is.
    pub reason: LoadFailure,
    /// What happened, for people.
    pub message: String,
}

/// The server's last words, one JSON object in the container's termination message.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TerminationMessage {
    /// What kind of failure it was.
    pub reason: LoadFailure,
    /// What happened and what to do, for people.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_on_the_wire_is_the_condition_s_reason() {
        for reason in LoadFailure::ALL {
            assert_eq!(
                serde_json::to_string(&reason).unwrap(),
                format!("\"{}\"", reason.as_str())
            );
        }
    }
}
