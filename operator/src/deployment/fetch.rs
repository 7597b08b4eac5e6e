//! Small questions by HTTP to pods, to Prometheus and to a collector: bounded in time and in size.
use axum::{
    body::{Body, Bytes},
    http::{self, Request, StatusCode, header::CONTENT_TYPE},
};
use http_body_util::{BodyExt, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{error::Error, io, time::Duration};
use tokio::time::timeout;

/// An HTTP client that waits for no answer longer than its patience.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    inner: legacy::Client<HttpConnector, Body>,
    patience: Duration,
}

impl Client {
    /// A client with this much patience, for connecting and for the whole answer.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            inner: legacy::Client::builder(TokioExecutor::new())
                // Pods come and go: a connection that is kept only costs memory.
                .pool_max_idle_per_host(0)
                // Its own limit would only be another word for the same silence.
                .build(HttpConnector::new()),
            patience,
        }
    }

    /// GETs `url`. A body of more than `largest` bytes is an error.
    pub(crate) async fn get(
        &self,
        url: &str,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        self.ask(Request::get(url).body(Body::empty()), largest)
            .await
    }

    /// POSTs `json` to `url`. An answer of more than `largest` bytes is an error.
    pub(crate) async fn post_json(
        &self,
        url: &str,
        json: String,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(json));
        self.ask(request, largest).await
    }

    async fn ask(
        &self,
        request: Result<Request<Body>, http::Error>,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = request.map_err(|error| error.to_string())?;
        timeout(self.patience, self.fetch(request, largest))
            .await
            .unwrap_or_else(|_| Err(self.silence()))
    }

    fn silence(&self) -> String {
        format!("no answer within {:?}", self.patience)
    }

    async fn fetch(
        &self,
        request: Request<Body>,
        largest: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let response = self.inner.request(request).await.map_err(|error| {
            if is_silence(&error) {
                self.silence()
            } else {
                with_causes(&error)
            }
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), largest)
            .collect()
            .await
            .map_err(|error| error.to_string())?
            .to_bytes();
        Ok((status, body))
    }
}

/// Whether nobody is there. The kernel says so at once where it has looked for the address a moment ago, and keeps one
/// waiting otherwise: the same silence, which must not read like two.
fn is_silence(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::TimedOut
            );
        }
        cause = error.source();
    }
    false
}

/// An error in the words of all that caused it, because the outermost does not say much.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("client error")]
    struct Outer(#[source] io::Error);

    #[test]
    fn an_address_without_a_pod_is_silent_and_a_closed_port_is_not() {
        for kind in [
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::TimedOut,
        ] {
            assert!(is_silence(&Outer(kind.into())), "{kind:?}");
        }
        let refused = Outer(io::ErrorKind::ConnectionRefused.into());
        assert!(!is_silence(&refused));
        assert_eq!(with_causes(&refused), "client error: connection refused");
    }
}
