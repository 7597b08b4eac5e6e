//! When a request has to be over: the server's limit, which the request may shorten.
use super::error::{ApiError, ErrorKind};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::time::{Duration, Instant};

/// Request header: the seconds that the client will wait, as with Ray Serve.
pub const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-seconds");

/// A moment after which a request is given up; never, where nobody set a limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Of a request that began at `started`, where the server allows `limit`.
    pub fn new(
        headers: &HeaderMap,
        limit: Option<Duration>,
        started: Instant,
    ) -> Result<Self, ApiError> {
        let asked = headers.get(TIMEOUT).map(seconds).transpose()?;
        let shortest = asked.into_iter().chain(limit).min();
        // A moment that no clock reaches is none.
        Ok(Self(shortest.and_then(|limit| started.checked_add(limit))))
    }

    /// The moment, where there is one.
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// What `work` returns, unless it takes too long: then it is dropped.
    pub async fn limit<F: Future>(self, work: F) -> Result<F::Output, ApiError> {
        match self.0 {
            None => Ok(work.await),
            Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
                .await
                .map_err(|_| exceeded()),
        }
    }
}

/// The error of a request that took too long.
pub(super) fn exceeded() -> ApiError {
    ApiError::new(
        ErrorKind::DeadlineExceeded,
        "the answer took longer than the request or the server allows; ask for fewer tokens, or raise the header X-Request-Timeout-Seconds or http.requestTimeout of the server",
    )
}

fn seconds(value: &HeaderValue) -> Result<Duration, ApiError> {
    value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| {
            let message =
                format!("{TIMEOUT} is {value:?}; write seconds above 0, such as 30 or 0.5");
            ApiError::invalid(TIMEOUT.as_str(), message)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline(
        asked: Option<&'static str>,
        limit: Option<u64>,
    ) -> Result<Option<Duration>, ApiError> {
        let asked = asked.map(|text| (TIMEOUT, HeaderValue::from_static(text)));
        let started = Instant::now();
        let headers = HeaderMap::from_iter(asked);
        Deadline::new(&headers, limit.map(Duration::from_secs), started)
            .map(|Deadline(deadline)| deadline.map(|deadline| deadline - started))
    }

    #[test]
    fn a_request_may_shorten_the_servers_limit_and_not_lengthen_it() {
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(deadline(None, None).unwrap(), None);
        assert_eq!(deadline(None, Some(60)).unwrap(), seconds(60));
        assert_eq!(deadline(Some("30"), Some(60)).unwrap(), seconds(30));
        assert_eq!(deadline(Some("90"), Some(60)).unwrap(), seconds(60));
        let half = deadline(Some("0.5"), None).unwrap();
        assert_eq!(half, Some(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_number_of_seconds_is_refused_with_what_to_write() {
        for text in ["", "0", "-1", "soon", "NaN", "inf", "1s"] {
            let error = deadline(Some(text), None).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(TIMEOUT.as_str()), "{text}");
            assert!(error.message.contains("such as 30"), "{}", error.message);
        }
    }

    #[test]
    fn a_limit_longer_than_any_clock_is_none() {
        assert_eq!(deadline(Some("1e19"), None).unwrap(), None);
    }

    #[tokio::test]
    async fn work_that_takes_too_long_is_dropped() {
        let deadline = Deadline(Some(Instant::now() + Duration::from_millis(20)));
        assert_eq!(deadline.limit(async { 7 }).await.unwrap(), 7);
        let error = deadline
            .limit(std::future::pending::<()>())
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
    }
}
