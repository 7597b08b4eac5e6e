//! Records and evidence of each round, in the folder of the job's volume, and those that an earlier pod of
//! the same job left there: where the volume is a claim, they are not measured again.
use super::measure::Measured;
use crate::{evidence::files, record::Run, record_files};
use candlepower_api::benchmark::job::Kept;
use std::{fs, io, path::PathBuf};

/// Why a round is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Of the run.
    #[error(transparent)]
    Records(#[from] record_files::Error),
    /// Of the evidence.
    #[error(transparent)]
    Evidence(#[from] files::Error),
    /// Another benchmark of this name was here.
    #[error("{0} already holds a run, which stays; remove it, or name the benchmark otherwise")]
    Taken(PathBuf),
    /// The disk, or the volume's rights.
    #[error("{path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// The folder of one benchmark.
pub(super) struct Store {
    root: PathBuf,
    kept: Vec<Kept>,
}

impl Store {
    /// With the rounds that the mailbox names.
    pub(super) fn new(root: PathBuf, kept: Vec<Kept>) -> Self {
        Self { root, kept }
    }

    /// The rounds that lie here, for the mailbox.
    pub(super) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// A round's folder.
    pub(super) fn folder(&self, round: &str) -> PathBuf {
        self.root.join(file_name(round))
    }

    /// A round that this job has measured before. What cannot be read is measured again.
    pub(super) fn load(&self, round: &str) -> Option<Measured> {
        let kept = self.kept.iter().find(|one| one.round == round)?;
        let folder = self.folder(round);
        let read = || -> Result<_, Error> {
            let run = record_files::read(&folder)?;
            Ok((run, files::read(&folder)?))
        };
        match read() {
            // A folder of the same name may be of another benchmark, or gone with the pod.
            Ok((run, Some(evidence))) if run.started_at == kept.started_at => {
                Some(Measured { run, evidence })
            }
            _ => None,
        }
    }

    /// Keeps a round; a pod that is lost meanwhile leaves nothing that looks like one.
    pub(super) fn keep(&mut self, round: &str, measured: &Measured) -> Result<(), Error> {
        let folder = self.folder(round);
        if self.is_ours(round, &folder) {
            fs::remove_dir_all(&folder).map_err(at(&folder))?;
        } else if folder.exists() {
            return Err(Error::Taken(folder));
        }
        let partial = self.root.join(format!("{}.partial", file_name(round)));
        match fs::remove_dir_all(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(&partial)(error));
            }
            _ => {}
        }
        record_files::Writer::new(&partial)?.write(&measured.run)?;
        files::write(&partial, &measured.evidence)?;
        fs::rename(&partial, &folder).map_err(at(&folder))?;
        self.kept.retain(|one| one.round != round);
        self.kept.push(Kept {
            round: round.to_owned(),
            started_at: measured.run.started_at,
        });
        Ok(())
    }

    /// Whether this job wrote the folder, although it could not be read again as a whole.
    fn is_ours(&self, round: &str, folder: &std::path::Path) -> bool {
        let run = fs::read(folder.join(record_files::RUN)).ok();
        let run: Option<Run> = run.and_then(|text| serde_json::from_slice(&text).ok());
        let mut kept = self.kept.iter();
        run.is_some_and(|run| {
            kept.any(|one| one.round == round && one.started_at == run.started_at)
        })
    }
}

fn at(path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// A round's name as one of a folder.
fn file_name(name: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' {
            letter
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::testing::Plant;

    fn measured(started_at: u64) -> Measured {
        let (mut run, evidence) = Plant::run(&[Plant::with(|plant| plant.seconds = 2)]);
        run.started_at = started_at;
        Measured { run, evidence }
    }

    #[test]
    fn a_pod_that_follows_a_lost_one_finds_its_rounds_and_no_others() {
        let claim = tempfile::tempdir().unwrap();
        let mut lost = Store::new(claim.path().join("nightly"), vec![]);
        let first = measured(7);
        lost.keep("deployment", &first).unwrap();
        let next = Store::new(claim.path().join("nightly"), lost.kept().to_vec());
        let found = next.load("deployment").unwrap();
        assert_eq!(found.run, first.run);
        assert_eq!(found.evidence.series.len(), first.evidence.series.len());
        assert!(next.load("deployment-again").is_none());
    }

    #[test]
    fn a_round_of_another_benchmark_of_that_name_is_neither_used_nor_overwritten() {
        let claim = tempfile::tempdir().unwrap();
        let mut former = Store::new(claim.path().to_owned(), vec![]);
        former.keep("deployment", &measured(7)).unwrap();
        let kept = Kept {
            round: "deployment".to_owned(),
            started_at: 8,
        };
        let mut new = Store::new(claim.path().to_owned(), vec![kept]);
        assert!(new.load("deployment").is_none());
        let error = new.keep("deployment", &measured(9)).unwrap_err();
        assert!(error.to_string().contains("already holds a run"), "{error}");
        assert_eq!(former.load("deployment").unwrap().run.started_at, 7);
    }

    #[test]
    fn what_a_lost_pod_was_writing_is_written_anew() {
        let claim = tempfile::tempdir().unwrap();
        let mut store = Store::new(claim.path().to_owned(), vec![]);
        let partial = claim.path().join("deployment.partial");
        record_files::Writer::new(&partial)
            .unwrap()
            .write(&measured(7).run)
            .unwrap();
        assert!(store.load("deployment").is_none());
        store.keep("deployment", &measured(8)).unwrap();
        assert!(!partial.exists());
        // Damaged afterwards: it is this job's own, and is measured and written again.
        fs::remove_file(store.folder("deployment").join(files::EVIDENCE)).unwrap();
        assert!(store.load("deployment").is_none());
        store.keep("deployment", &measured(9)).unwrap();
        assert_eq!(store.load("deployment").unwrap().run.started_at, 9);
        assert_eq!(store.kept().len(), 1);
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        assert_eq!(file_name("../int8 é"), "___int8__");
    }
}
