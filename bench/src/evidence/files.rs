//! The evidence of a run beside its records, in `evidence.json.gz`.
use super::Evidence;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

/// The file's name in the run's folder.
pub const EVIDENCE: &str = "evidence.json.gz";

/// Why the file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It does not hold evidence.
    #[error("{path} is no evidence of a run ({source}); delete it to collect anew")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Reads it; none where the folder has no such file.
pub fn read(folder: &Path) -> Result<Option<Evidence>, Error> {
    let path = folder.join(EVIDENCE);
    let file = match File::open(&path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path, source }),
    };
    let read = serde_json::from_reader(BufReader::new(GzDecoder::new(file)));
    read.map(Some)
        .map_err(|source| Error::Format { path, source })
}

/// Writes it.
pub fn write(folder: &Path, evidence: &Evidence) -> Result<(), Error> {
    let path = folder.join(EVIDENCE);
    let written = File::create(&path).and_then(|file| {
        let mut compressed = GzEncoder::new(BufWriter::new(file), Compression::default());
        serde_json::to_writer(&mut compressed, evidence)?;
        compressed.finish()?.flush()
    });
    written.map_err(|source| Error::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::Plant;

    #[test]
    fn evidence_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        let (_, evidence) = Plant::run(&[Plant::default()]);
        write(folder.path(), &evidence).unwrap();
        let back = read(folder.path()).unwrap().unwrap();
        assert_eq!(back.series.len(), evidence.series.len());
        assert_eq!(back.series[0].points.len(), evidence.series[0].points.len());
        assert_eq!(back.traces.len(), evidence.traces.len());
        assert_eq!(back.deployment, evidence.deployment);
    }

    #[test]
    fn another_file_of_that_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(EVIDENCE), "x").unwrap();
        assert!(matches!(read(folder.path()), Err(Error::Format { .. })));
    }
}
