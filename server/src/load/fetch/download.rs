//! One file: resumed where it broke off, and believed only where length and checksum are right.
use super::{
    error::{Failure, FetchError},
    headers::{content_range, is_other_version, tag},
    http::{Http, Wanted, check, shown},
    listing::RemoteFile,
    meter::Meter,
    origin::Origin,
    part::{PartialFile, storage, with_suffix},
    ranges::{self, Lines},
    retry::Patience,
    store::Entry,
};
use http_body_util::BodyExt;
use hyper::{
    Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{HeaderValue, IF_NONE_MATCH},
};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};
use tokio::time::timeout;

/// Wrong checksums of one file in a row until it is the source that is wrong.
const MOST_DAMAGED: u32 = 2;

/// Stands behind the name of what says that a file is whole.
const NOTE: &str = ".fetched";

/// A file that is whole.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Fetched {
    /// Its path below the folder.
    pub(super) name: String,
    /// Its bytes.
    pub(super) size: u64,
    /// Its SHA-256.
    pub(super) sha256: String,
    /// Its version, where the server has one.
    pub(super) tag: Option<String>,
}

/// What earlier attempts taught about a file.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Wrong checksums in a row.
    damaged: u32,
    /// Its server sends no pieces of it.
    pub(super) in_one_go: bool,
}

/// Fetches files of one origin.
pub(super) struct Download<'a> {
    pub(super) origin: &'a Origin,
    pub(super) version: Option<&'a str>,
    pub(super) http: &'a Http,
    pub(super) patience: Patience,
    pub(super) meter: &'a Meter<'a>,
    pub(super) lines: &'a Lines,
    pub(super) entry: &'a Entry,
}

impl Download<'_> {
    /// Fetches `file`. Nothing where it does not exist and need not.
    pub(super) async fn file(&self, file: &RemoteFile) -> Result<Option<Fetched>, FetchError> {
        let target = self.entry.files().join(&file.name);
        if let Some(finished) = self.finished(file, &target).await? {
            self.meter.has(finished.size);
            return Ok(Some(finished));
        }
        let mut part = PartialFile::open(&target, file.sha256.is_some(), self.meter)?;
        let mut course = Course::default();
        let fetched = self.patience.persist(self.meter, async || {
            let furthest = part.furthest();
            let result = self.attempt(file, &mut part, &mut course).await;
            result.map_err(|failure| failure.after(part.furthest() > furthest))
        });
        match fetched.await {
            Ok(fetched) => {
                part.finish()?;
                note(&target, &fetched)?;
                Ok(Some(fetched))
            }
            Err(FetchError::NotFound { .. }) if file.optional => {
                part.restart(self.meter)?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What an earlier process fetched of an entry that it did not finish, where that is still what
    /// the source holds.
    async fn finished(
        &self,
        file: &RemoteFile,
        target: &Path,
    ) -> Result<Option<Fetched>, FetchError> {
        let Some(finished) = noted(target) else {
            return Ok(None);
        };
        let is_same = match (&file.sha256, &finished.tag) {
            (Some(sha256), _) => sha256.eq_ignore_ascii_case(&finished.sha256),
            (None, Some(tag)) => self.is_unchanged(file, tag).await?,
            (None, None) => false,
        };
        Ok(is_same.then_some(finished))
    }

    /// Whether the source still holds the version `tag` of `file`.
    pub(super) async fn is_unchanged(
        &self,
        file: &RemoteFile,
        tag: &str,
    ) -> Result<bool, FetchError> {
        let Ok(tag) = HeaderValue::from_str(tag) else {
            return Ok(false);
        };
        let asked = self.patience.persist(self.meter, async || {
            let url = self.origin.url(file, self.version);
            let wanted = Wanted::new(url, None).with(IF_NONE_MATCH, tag.clone());
            let answer = self.origin.get(self.http, &wanted).await?;
            if answer.status() == StatusCode::NOT_MODIFIED {
                return Ok(true);
            }
            check(answer, &wanted.url, || self.origin.cure())?;
            Ok(false)
        });
        asked.await
    }

    async fn attempt(
        &self,
        file: &RemoteFile,
        part: &mut PartialFile,
        course: &mut Course,
    ) -> Result<Fetched, Failure> {
        // The process before this one may have been stopped just before the end.
        if file.size.is_none_or(|size| part.length() != size) || part.length() == 0 {
            self.receive(file, part, course).await?;
        }
        let fetched = Fetched {
            name: file.name.clone(),
            size: part.length(),
            sha256: part.sha256(),
            tag: part.tag().map(str::to_owned),
        };
        match &file.sha256 {
            Some(expected) if !expected.eq_ignore_ascii_case(&fetched.sha256) => {
                part.restart(self.meter)?;
                course.damaged += 1;
                let error = FetchError::Checksum {
                    what: shown(&self.origin.url(file, self.version)),
                    expected: expected.clone(),
                    actual: fetched.sha256,
                };
                if course.damaged < MOST_DAMAGED {
                    return Err(Failure::passing(error.to_string()));
                }
                Err(error.into())
            }
            _ => Ok(fetched),
        }
    }

    /// Asks for what is missing, and takes it in.
    async fn receive(
        &self,
        file: &RemoteFile,
        part: &mut PartialFile,
        course: &mut Course,
    ) -> Result<(), Failure> {
        if part.pieces().is_some() {
            return self.pieces(file, part, course).await;
        }
        let line = self.lines.take().await;
        let url = self.origin.url(file, self.version);
        let mut wanted = Wanted::new(url.clone(), None);
        if part.length() > 0 {
            wanted = wanted.of_bytes(&format!("{}-", part.length()), part.tag());
        }
        let answer = self.origin.get(self.http, &wanted).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE && part.length() > 0 {
            part.restart(self.meter)?;
            return Err(Failure::passing(format!(
                "{} is shorter than what came of it; it is fetched anew",
                shown(&url)
            )));
        }
        let answer = check(answer, &url, || self.origin.cure())?;
        let total = self.begin(file, part, &answer)?;
        if let Some(total) = total.filter(|_| !course.in_one_go)
            && self.comes_in_pieces(file, part, total, &answer)
        {
            part.split(total, self.lines.piece)?;
            // What this connection would bring is a piece like the others.
            drop((answer, line));
            return self.pieces(file, part, course).await;
        }
        self.take_in(answer, part, total)
            .await
            .map_err(|failure| named(failure, &shown(&url)))?;
        match total {
            Some(total) if part.length() != total => {
                let came = part.length();
                if came > total {
                    part.restart(self.meter)?;
                }
                Err(Failure::passing(format!(
                    "{} promised {total} bytes, of which {came} came",
                    shown(&url)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Compares what the answer says with what is there, and gives back the file's whole length.
    fn begin(
        &self,
        file: &RemoteFile,
        part: &mut PartialFile,
        answer: &Response<Incoming>,
    ) -> Result<Option<u64>, Failure> {
        let headers = answer.headers();
        let continues = answer.status() == StatusCode::PARTIAL_CONTENT;
        let left = answer.body().size_hint().exact();
        let range = content_range(headers);
        let is_elsewhere = range.is_none_or(|(first, _)| first != part.length());
        if continues && (is_elsewhere || is_other_version(headers, part.tag())) {
            part.restart(self.meter)?;
            return Err(Failure::passing(format!(
                "{} came with another part than was asked for",
                file.name
            )));
        }
        if !continues {
            part.restart(self.meter)?;
            part.begin(tag(headers))?;
        }
        let told = match range {
            Some((_, total)) if continues => total,
            _ => left.map(|left| part.length().saturating_add(left)),
        };
        if let (Some(size), Some(told)) = (file.size, told)
            && size != told
        {
            part.restart(self.meter)?;
            return Err(Failure::passing(format!(
                "{} has {size} bytes by its source's list, but {told} by the server's answer",
                file.name
            )));
        }
        if let (None, Some(told)) = (file.size, told) {
            self.meter.expect_once(&file.name, told);
            self.entry.make_room(told.saturating_sub(part.length()))?;
        }
        Ok(file.size.or(told))
    }

    /// Whether the rest of a file of `total` bytes is better fetched in pieces, and can be: they have to
    /// be of one version, or a checksum has to tell.
    fn comes_in_pieces(
        &self,
        file: &RemoteFile,
        part: &PartialFile,
        total: u64,
        answer: &Response<Incoming>,
    ) -> bool {
        self.lines.are_worth(total.saturating_sub(part.length()))
            && (part.tag().is_some() || file.sha256.is_some())
            && (self.origin.knows_ranges()
                || ranges::are_offered(answer.status(), answer.headers()))
    }

    async fn take_in(
        &self,
        answer: Response<Incoming>,
        part: &mut PartialFile,
        total: Option<u64>,
    ) -> Result<(), Failure> {
        let mut body = answer.into_body();
        while let Some(bytes) = self.next_bytes(&mut body).await? {
            part.append(&bytes, self.meter)?;
            if total.is_some_and(|total| part.length() > total) {
                break;
            }
        }
        Ok(())
    }

    /// What comes next; nothing at the end.
    pub(super) async fn next_bytes(&self, body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(self.patience.silence, body.frame())
                .await
                .map_err(|_| {
                    let seconds = self.patience.silence.as_secs();
                    Failure::passing(format!("nothing came for {seconds} s"))
                })?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| {
                Failure::passing(format!(
                    "the line broke off: {}",
                    super::error::causes(&error)
                ))
            })?;
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// Notes what `target` is, for the case that this process ends before all files are there.
fn note(target: &Path, fetched: &Fetched) -> Result<(), FetchError> {
    let path = with_suffix(target, NOTE);
    let text = serde_json::to_vec(fetched).map_err(std::io::Error::from);
    text.and_then(|text| fs::write(&path, text))
        .map_err(storage(&path))
}

fn noted(target: &Path) -> Option<Fetched> {
    let text = fs::read_to_string(with_suffix(target, NOTE)).ok()?;
    let fetched: Fetched = serde_json::from_str(&text).ok()?;
    let found = fs::metadata(target).ok()?;
    (found.len() == fetched.size).then_some(fetched)
}

/// The failure with the address in front.
pub(super) fn named(failure: Failure, url: &str) -> Failure {
    match failure {
        Failure::Passing {
            reason,
            problem,
            pause,
            progressed,
        } => Failure::Passing {
            reason,
            problem: format!("{url}: {problem}"),
            pause,
            progressed,
        },
        last @ Failure::Final(_) => last,
    }
}
