//! A run's files: `run.json`, and `records.jsonl.gz` with a line for each request.
//!
//! Each scenario is a gzip member of its own, written when the scenario has ended, so that a run
//! that is killed leaves its finished scenarios behind and `zcat` reads them. `run.json` comes after each of them and
//! says how many bytes of the records it knows: what is behind them, such as half a member that a full disk left, is
//! no part of the run.
use crate::record::{RequestRecord, Run, ScenarioRun};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// The run without its requests.
pub const RUN: &str = "run.json";
/// The requests.
pub const RECORDS: &str = "records.jsonl.gz";

/// Why a run's files cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{path}: {source}; the run's files need a folder that can be written and has space")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error(
        "{path} is no file of a run ({problem}); name the folder that `candlepower bench --out` wrote"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The folder has another run's files.
    #[error("{0} already holds a run; name another folder")]
    Taken(PathBuf),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// A line of the records.
#[derive(Deserialize)]
struct Line {
    scenario: String,
    #[serde(flatten)]
    request: RequestRecord,
}

/// The same, to be written.
#[derive(Serialize)]
struct LineOf<'a> {
    scenario: &'a str,
    #[serde(flatten)]
    request: &'a RequestRecord,
}

/// `run.json`: a run without its requests, and where they end.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct RunFile<R> {
    #[serde(flatten)]
    run: R,
    /// Bytes of the records that belong to it; all of them where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    records_bytes: Option<u64>,
}

/// Writes a run while it goes on.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    /// Scenarios whose records are in the file, and where they end in it.
    written: usize,
    end: u64,
}

impl Writer {
    /// Into a folder, which is made where it is not there and must not hold a run.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        if folder.join(RUN).exists() || folder.join(RECORDS).exists() {
            return Err(Error::Taken(folder.to_owned()));
        }
        Ok(Self {
            folder: folder.to_owned(),
            written: 0,
            end: 0,
        })
    }

    /// Adds the scenarios that are new, and writes the run anew. What an attempt before this one could not write to its
    /// end is overwritten.
    pub fn write(&mut self, run: &Run) -> Result<(), Error> {
        let path = self.folder.join(RECORDS);
        for scenario in run.scenarios.iter().skip(self.written) {
            self.end = append(&path, self.end, scenario).map_err(io_error(&path))?;
            self.written += 1;
        }
        self.write_run(run)
    }

    /// By way of another file, so that a full disk leaves the last good one.
    fn write_run(&self, run: &Run) -> Result<(), Error> {
        let (path, partial) = (self.folder.join(RUN), self.folder.join("run.json.partial"));
        let file = RunFile {
            run: run.without_requests(),
            records_bytes: Some(self.end),
        };
        let text = serde_json::to_vec_pretty(&file)
            .map_err(io::Error::from)
            .map_err(io_error(&path))?;
        fs::write(&partial, text).map_err(io_error(&partial))?;
        fs::rename(&partial, &path).map_err(io_error(&path))
    }
}

/// Writes a scenario's requests at the place `end`, and gives back where they end.
fn append(path: &Path, end: u64, scenario: &ScenarioRun) -> io::Result<u64> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    let mut compressed = GzEncoder::new(BufWriter::new(file), Compression::fast());
    for request in &scenario.requests {
        let line = LineOf {
            scenario: &scenario.name,
            request,
        };
        serde_json::to_writer(&mut compressed, &line)?;
        compressed.write_all(b"\n")?;
    }
    let file = compressed.finish()?.into_inner();
    let mut file = file.map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    file.stream_position()
}

/// Reads a run back.
pub fn read(folder: &Path) -> Result<Run, Error> {
    let path = folder.join(RUN);
    let format = |path: &Path, problem: String| Error::Format {
        path: path.to_owned(),
        problem,
    };
    let text = fs::read(&path).map_err(io_error(&path))?;
    let RunFile::<Run> {
        mut run,
        records_bytes,
    } = serde_json::from_slice(&text).map_err(|error| format(&path, error.to_string()))?;
    let path = folder.join(RECORDS);
    let file = File::open(&path).map_err(io_error(&path))?;
    let known = BufReader::new(file).take(records_bytes.unwrap_or(u64::MAX));
    let lines = BufReader::new(MultiGzDecoder::new(known));
    for line in lines.lines() {
        let line = line.map_err(|error| format(&path, error.to_string()))?;
        let line: Line =
            serde_json::from_str(&line).map_err(|error| format(&path, error.to_string()))?;
        let found = run
            .scenarios
            .iter_mut()
            .find(|one| one.name == line.scenario);
        let scenario = found.ok_or_else(|| {
            format(
                &path,
                format!("scenario {} is not in the run", line.scenario),
            )
        })?;
        scenario.requests.push(line.request);
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{request, scenario};
    use crate::record::Outcome;

    fn run() -> Run {
        let mut cut = request(5, 6, &[7, 9]);
        cut.outcome = Outcome::Cancelled;
        Run {
            started_at: 1,
            url: "http://a".to_owned(),
            model: "m".to_owned(),
            workload: candlepower_api::benchmark::Workload::default(),
            texts: 0,
            prompt_lengths: String::new(),
            output_lengths: String::new(),
            first_answer: None,
            generator: String::new(),
            stopped: None,
            knee: None,
            prompts: vec![],
            scenarios: vec![scenario((0, 9), vec![request(1, 2, &[3, 4]), cut])],
        }
    }

    #[test]
    fn what_was_written_while_the_run_went_on_reads_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new/run");
        let mut run = run();
        let mut writer = Writer::new(&folder).unwrap();
        writer.write(&run).unwrap();
        second(&mut run);
        writer.write(&run).unwrap();
        assert_eq!(read(&folder).unwrap(), run);
    }

    fn second(run: &mut Run) {
        let mut second = scenario((10, 20), vec![request(11, 12, &[13])]);
        "b".clone_into(&mut second.name);
        run.scenarios.push(second);
    }

    #[test]
    fn what_a_kill_left_behind_the_known_records_is_no_part_of_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = run();
        let mut writer = Writer::new(folder.path()).unwrap();
        writer.write(&run).unwrap();
        let first = run.clone();
        second(&mut run);
        let path = folder.path().join(RECORDS);
        let end = append(&path, writer.end, &run.scenarios[1]).unwrap();
        assert_eq!(read(folder.path()).unwrap(), first, "a whole member");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(end - 5).unwrap();
        assert_eq!(read(folder.path()).unwrap(), first, "half a member");
    }

    #[test]
    fn what_a_full_disk_cut_off_is_written_again_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = run();
        let mut writer = Writer::new(folder.path()).unwrap();
        writer.write(&run).unwrap();
        second(&mut run);
        let path = folder.path().join(RECORDS);
        let mut rubble = OpenOptions::new().append(true).open(&path).unwrap();
        rubble.write_all(&[0x1f, 0x8b, 8, 0, 0]).unwrap();
        writer.write(&run).unwrap();
        assert_eq!(read(folder.path()).unwrap(), run);
    }

    #[test]
    fn records_that_are_shorter_than_the_run_says_are_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path()).unwrap();
        writer.write(&run()).unwrap();
        let path = folder.path().join(RECORDS);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(writer.end - 5).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("records"), "{error}");
    }

    #[test]
    fn another_runs_folder_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        Writer::new(folder.path()).unwrap().write(&run()).unwrap();
        let error = Writer::new(folder.path()).unwrap_err().to_string();
        assert!(error.contains("name another folder"), "{error}");
    }

    #[test]
    fn a_folder_without_a_run_says_what_to_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(Error::Io { .. })));
        fs::write(folder.path().join(RUN), "{}").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("candlepower bench --out"), "{error}");
    }
}
