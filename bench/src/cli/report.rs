//! `candlepower report`: a run as a latency report.
use super::{Error, connection, runs};
use crate::report::{self, Format};
use std::path::PathBuf;

/// Writes the latency report of a run.
#[derive(Debug, clap::Args)]
pub(super) struct ReportCommand {
    /// A folder that `candlepower bench --out` wrote, a report in JSON, or an LLMBenchmark's name.
    #[arg(value_name = "FOLDER|FILE|NAME")]
    run: String,
    /// What to write.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Where to write it; to the terminal where absent.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Its title.
    #[arg(long)]
    title: Option<String>,
    /// Who is responsible for it.
    #[arg(long)]
    author: Option<String>,
    #[command(flatten)]
    reading: runs::Reading,
    /// An earlier run of the same workload to compare with, named like the run itself.
    #[arg(long, value_name = "FOLDER|FILE|NAME")]
    before: Vec<String>,
}

impl ReportCommand {
    pub(super) async fn run(self, connection: connection::Flags) -> Result<(), Error> {
        let mut report = self.reading.report(&self.run, connection.clone()).await?;
        for before in &self.before {
            let other = self.reading.report(before, connection.clone()).await?;
            report
                .comparisons
                .push(runs::compare(&other, before, &report, &self.run)?);
        }
        report.title = self.title.unwrap_or(report.title);
        report.author = self.author.or(report.author);
        let text = report::render(&report, self.output)?;
        match self.file {
            Some(file) => {
                std::fs::write(&file, text).map_err(|source| Error::Write { file, source })?;
            }
            None => print!("{text}"),
        }
        Ok(())
    }
}
