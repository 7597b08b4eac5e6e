//! `candlepower probe`: the look at a machine that an `LLMBenchmark` takes, in the pod that the operator makes there.
use super::{Error, text};
use crate::evidence::hardware::Hardware;
use candlepower_api::benchmark::job::LONGEST_LAST_WORDS;
use clap::Args;
use std::{fs, path::PathBuf};

/// What there is to say about it.
#[derive(Args, Debug)]
pub(super) struct ProbeCommand {
    /// Write to this file, as short as a pod's last words have to be.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl ProbeCommand {
    pub(super) fn run(self) -> Result<(), Error> {
        let found = Hardware::read();
        let Some(file) = self.out else {
            return text::print_json(&found);
        };
        let words = found.to_json_within(LONGEST_LAST_WORDS)?;
        fs::write(&file, words).map_err(|source| Error::Write { file, source })
    }
}
