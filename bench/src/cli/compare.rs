//! `candlepower compare`: two runs of the same workload, side by side.
use super::{Error, connection, runs, text};
use crate::{
    analysis::comparison::Change,
    report::{Format, document, render::render_document},
};
use std::process::ExitCode;

/// Compares two runs of the same workload; ends with 3 where something became worse.
#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    /// The run before: a folder, a report in JSON, or an LLMBenchmark's name.
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The run after.
    #[arg(value_name = "AFTER")]
    after: String,
    /// What to write.
    #[arg(short, long, value_enum, default_value = "md")]
    output: Format,
    #[command(flatten)]
    reading: runs::Reading,
}

/// Something became worse, and that is certain.
const WORSE: u8 = 3;

impl Compare {
    pub(super) async fn run(self, connection: connection::Flags) -> Result<ExitCode, Error> {
        let before = self
            .reading
            .report(&self.before, connection.clone())
            .await?;
        let after = self.reading.report(&self.after, connection).await?;
        let comparison = runs::compare(&before, &self.before, &after, &self.after)?;
        match self.output {
            Format::Json => text::print_json(&comparison)?,
            format => {
                let document = document::of_comparison(&comparison);
                print!("{}", render_document(&document, format)?);
            }
        }
        let mut rows = comparison.levels.iter().flat_map(|level| &level.rows);
        Ok(if rows.any(|row| row.verdict == Change::Worse) {
            WORSE.into()
        } else {
            ExitCode::SUCCESS
        })
    }
}
