//! One file: resumed where it broke off, and believed only where length and checksum are right.
use super::{
    error::{Failure, FetchError},
    http::{Http, Wanted, check, shown},
    listing::RemoteFile,
    meter::Meter,
    origin::Origin,
    part::{PartialFile, storage, with_suffix},
    retry::Patience,
    space,
};
use http_body_util::BodyExt;
use hyper::{
    Response, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE},
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};
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

/// Fetches files of one origin.
pub(super) struct Download<'a> {
    pub(super) origin: &'a Origin,
    pub(super) version: Option<&'a str>,
    pub(super) http: &'a Http,
    pub(super) patience: Patience,
    pub(super) meter: &'a Meter<'a>,
    pub(super) folder: PathBuf,
}

impl Download<'_> {
    /// Fetches `file`. Nothing where it does not exist and need not.
    pub(super) async fn file(&self, file: &RemoteFile) -> Result<Option<Fetched>, FetchError> {
        let target = self.folder.join(&file.name);
        if let Some(finished) = self.finished(file, &target).await? {
            self.meter.has(finished.size);
            return Ok(Some(finished));
        }
        let mut part = PartialFile::open(&target, file.sha256.is_some(), self.meter)?;
        let mut damaged = 0;
        let fetched = self.patience.persist(self.meter, async || {
            let furthest = part.furthest();
            let result = self.attempt(file, &mut part, &mut damaged).await;
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
        damaged: &mut u32,
    ) -> Result<Fetched, Failure> {
        // The process before this one may have been stopped just before the end.
        if file.size.is_none_or(|size| part.length() != size) || part.length() == 0 {
            self.receive(file, part).await?;
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
                *damaged += 1;
                let error = FetchError::Checksum {
                    what: shown(&self.origin.url(file, self.version)),
                    expected: expected.clone(),
                    actual: fetched.sha256,
                };
                if *damaged < MOST_DAMAGED {
                    return Err(Failure::passing(error.to_string()));
                }
                Err(error.into())
            }
            _ => Ok(fetched),
        }
    }

    /// Asks for what is missing, and takes it in.
    async fn receive(&self, file: &RemoteFile, part: &mut PartialFile) -> Result<(), Failure> {
        let url = self.origin.url(file, self.version);
        let mut wanted = Wanted::new(url.clone(), None);
        if part.length() > 0 {
            wanted = resumed(wanted, part);
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
        if continues && range.is_none_or(|(first, _)| first != part.length()) {
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
            space::check(&self.folder, told.saturating_sub(part.length()))?;
        }
        Ok(file.size.or(told))
    }

    async fn take_in(
        &self,
        answer: Response<Incoming>,
        part: &mut PartialFile,
        total: Option<u64>,
    ) -> Result<(), Failure> {
        let mut body = answer.into_body();
        loop {
            let frame = timeout(self.patience.silence, body.frame())
                .await
                .map_err(|_| {
                    let seconds = self.patience.silence.as_secs();
                    Failure::passing(format!("nothing came for {seconds} s"))
                })?;
            let Some(frame) = frame else {
                return Ok(());
            };
            let frame = frame.map_err(|error| {
                Failure::passing(format!(
                    "the line broke off: {}",
                    super::error::causes(&error)
                ))
            })?;
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            part.append(bytes, self.meter)?;
            if total.is_some_and(|total| part.length() > total) {
                return Ok(());
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

/// Asks for what is behind `part`, as long as it is still the same file.
fn resumed(wanted: Wanted, part: &PartialFile) -> Wanted {
    let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.length())) else {
        return wanted;
    };
    let wanted = wanted.with(RANGE, range);
    match part.tag().and_then(|tag| HeaderValue::from_str(tag).ok()) {
        Some(tag) => wanted.with(IF_RANGE, tag),
        None => wanted,
    }
}

/// The file's tag, where it stands for each single byte.
fn tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    (!tag.starts_with("W/")).then(|| tag.to_owned())
}

/// The first byte and, where it is known, the whole length, of `bytes 5-9/10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// The failure with the address in front.
fn named(failure: Failure, url: &str) -> Failure {
    match failure {
        Failure::Passing {
            problem,
            pause,
            progressed,
        } => Failure::Passing {
            problem: format!("{url}: {problem}"),
            pause,
            progressed,
        },
        last @ Failure::Final(_) => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: hyper::header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_range_tells_where_it_begins_and_how_long_the_file_is() {
        for (text, range) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("items 1-2/3", None),
        ] {
            assert_eq!(content_range(&headers(CONTENT_RANGE, text)), range);
        }
    }

    #[test]
    fn a_weak_tag_is_none() {
        assert_eq!(tag(&headers(ETAG, "W/\"1\"")), None);
        assert_eq!(tag(&headers(ETAG, "\"1\"")).unwrap(), "\"1\"");
    }
}
