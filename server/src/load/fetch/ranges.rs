//! Pieces of one file at the same time: each is a range that a connection of its own asks for.
use super::{
    download::{Course, Download, named},
    error::{Failure, FetchError},
    headers::{content_range, is_other_version},
    http::{Wanted, check, shown},
    listing::RemoteFile,
    part::PartialFile,
};
use futures::{StreamExt, TryStreamExt, future, stream};
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{ACCEPT_RANGES, HeaderMap},
};
use std::{cell::RefCell, ops::Range};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections of one model, unless told otherwise.
const CONNECTIONS: usize = 4;
/// Bytes of a piece: long enough that asking for it does not matter, and what a broken line costs is
/// little.
const PIECE: u64 = 32 << 20;

/// The connections that all files of a model have together.
pub(super) struct Lines {
    free: Semaphore,
    count: usize,
    /// Bytes of a piece.
    pub(super) piece: u64,
}

impl Lines {
    pub(super) fn new(connections: Option<usize>) -> Self {
        let count = connections
            .unwrap_or(CONNECTIONS)
            .clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(count),
            count,
            piece: PIECE,
        }
    }

    /// Waits for a connection, which is free again once what this gives is dropped.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        self.free.acquire().await.ok()
    }

    /// Whether so many missing bytes are worth more than one connection.
    pub(super) const fn are_worth(&self, missing: u64) -> bool {
        self.count > 1 && missing > self.piece.saturating_mul(2)
    }
}

/// Why what came is no piece of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Misfit {
    /// The server does not send pieces.
    NoPiece,
    /// There is another file by now.
    OtherFile,
}

/// Why the fetching of all pieces ends.
enum Stop {
    Misfit(Misfit),
    Failed(FetchError),
}

impl From<FetchError> for Stop {
    fn from(error: FetchError) -> Self {
        Self::Failed(error)
    }
}

impl Download<'_> {
    /// Fetches what is missing of a file that is taken apart, and puts it together. Where that cannot
    /// be done, what is left is for the next attempt.
    pub(super) async fn pieces(
        &self,
        file: &RemoteFile,
        part: &mut PartialFile,
        course: &mut Course,
    ) -> Result<(), Failure> {
        let Some(pieces) = part.pieces() else {
            return Ok(());
        };
        if file.size.is_none() {
            self.meter.expect_once(&file.name, pieces.total());
        }
        let missing = pieces.missing();
        tracing::info!(file = file.name, pieces = missing.len(), "fetching pieces");
        let fetched = {
            let part = RefCell::new(&mut *part);
            stream::iter(missing)
                .map(|index| self.piece(file, &part, index))
                .buffer_unordered(self.lines.count)
                .try_for_each(|()| future::ready(Ok(())))
                .await
        };
        let misfit = match fetched {
            Ok(()) => return part.join().map_err(Failure::from),
            Err(Stop::Failed(error)) => return Err(error.into()),
            Err(Stop::Misfit(misfit)) => misfit,
        };
        let what = shown(&self.origin.url(file, self.version));
        Err(Failure::passing(match misfit {
            Misfit::NoPiece => {
                part.unsplit(self.meter)?;
                course.in_one_go = true;
                format!("{what} is not sent in pieces; it is fetched in one go")
            }
            Misfit::OtherFile => {
                part.restart(self.meter)?;
                format!("{what} became another file while it came; it is fetched anew")
            }
        }))
    }

    /// Fetches one piece, for as long as it takes.
    async fn piece(
        &self,
        file: &RemoteFile,
        part: &RefCell<&mut PartialFile>,
        index: usize,
    ) -> Result<(), Stop> {
        let fetched = self.patience.persist(self.meter, async || {
            let before = part.borrow().length_of(index);
            let result = self.attempt_piece(file, part, index).await;
            result.map_err(|failure| failure.after(part.borrow().length_of(index) > before))
        });
        match fetched.await? {
            Some(misfit) => Err(Stop::Misfit(misfit)),
            None => Ok(()),
        }
    }

    async fn attempt_piece(
        &self,
        file: &RemoteFile,
        part: &RefCell<&mut PartialFile>,
        index: usize,
    ) -> Result<Option<Misfit>, Failure> {
        let _line = self.lines.take().await;
        let url = self.origin.url(file, self.version);
        let (range, total, tag) = {
            let part = part.borrow();
            let Some(pieces) = part.pieces() else {
                return Ok(None);
            };
            let tag = part.tag().map(str::to_owned);
            (pieces.rest(index), pieces.total(), tag)
        };
        let Range { start, end } = range;
        let bytes = format!("{start}-{}", end.saturating_sub(1));
        let wanted = Wanted::new(url.clone(), None).of_bytes(&bytes, tag.as_deref());
        let answer = self.origin.get(self.http, &wanted).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(Some(Misfit::OtherFile));
        }
        let answer = check(answer, &url, || self.origin.cure())?;
        if let Some(misfit) = misfit(
            answer.status(),
            answer.headers(),
            start,
            total,
            tag.as_deref(),
        ) {
            return Ok(Some(misfit));
        }
        self.take_in_piece(answer, part, index)
            .await
            .map_err(|failure| named(failure, &shown(&url)))?;
        Ok(None)
    }

    async fn take_in_piece(
        &self,
        answer: Response<Incoming>,
        part: &RefCell<&mut PartialFile>,
        index: usize,
    ) -> Result<(), Failure> {
        let mut body = answer.into_body();
        while let Some(bytes) = self.next_bytes(&mut body).await? {
            let is_whole = part.borrow_mut().fill(index, &bytes, self.meter)?;
            if is_whole {
                return Ok(());
            }
        }
        Err(Failure::passing("a piece came without its end"))
    }
}

/// Whether the server says that it sends parts of the file.
pub(super) fn are_offered(status: StatusCode, headers: &HeaderMap) -> bool {
    let offered = headers
        .get(ACCEPT_RANGES)
        .is_some_and(|unit| unit.as_bytes().eq_ignore_ascii_case(b"bytes"));
    offered || status == StatusCode::PARTIAL_CONTENT
}

/// What is wrong with an answer to the question for the bytes from `start` on, of the file of `total`
/// bytes with this tag.
fn misfit(
    status: StatusCode,
    headers: &HeaderMap,
    start: u64,
    total: u64,
    tag: Option<&str>,
) -> Option<Misfit> {
    if is_other_version(headers, tag) {
        return Some(Misfit::OtherFile);
    }
    if status != StatusCode::PARTIAL_CONTENT {
        return Some(Misfit::NoPiece);
    }
    match content_range(headers) {
        Some((_, Some(told))) if told != total => Some(Misfit::OtherFile),
        Some((first, _)) if first == start => None,
        _ => Some(Misfit::NoPiece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{CONTENT_RANGE, ETAG, HeaderValue};

    #[test]
    fn a_piece_is_what_was_asked_for_of_the_same_file() {
        let answer = |code: u16, range: &'static str, etag: &'static str| {
            let headers = HeaderMap::from_iter([
                (CONTENT_RANGE, HeaderValue::from_static(range)),
                (ETAG, HeaderValue::from_static(etag)),
            ]);
            let status = StatusCode::from_u16(code).unwrap();
            misfit(status, &headers, 5, 20, Some("\"1\""))
        };
        assert_eq!(answer(206, "bytes 5-9/20", "\"1\""), None);
        assert_eq!(answer(206, "bytes 5-9/*", "W/\"1\""), None);
        let other = Some(Misfit::OtherFile);
        assert_eq!(answer(206, "bytes 5-9/20", "\"2\""), other);
        assert_eq!(answer(206, "bytes 5-9/21", "\"1\""), other);
        assert_eq!(answer(200, "", "\"2\""), other);
        let no_piece = Some(Misfit::NoPiece);
        assert_eq!(answer(200, "", "\"1\""), no_piece);
        assert_eq!(answer(206, "bytes 0-9/20", "\"1\""), no_piece);
    }

    #[test]
    fn a_short_file_needs_one_connection_and_so_does_who_has_only_one() {
        assert!(Lines::new(None).are_worth(65 << 20));
        assert!(!Lines::new(None).are_worth(64 << 20));
        assert!(!Lines::new(Some(1)).are_worth(1 << 40));
    }
}
