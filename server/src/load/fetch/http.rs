//! GETs over HTTPS. Redirects are followed, but what opens a door is shown at no other one.
use super::{
    error::{Failure, FetchError, causes},
    retry::Patience,
};
use candlepower_api::names::reasons::LoadFailure;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{
        AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
        USER_AGENT,
    },
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// More redirects lead nowhere.
const MOST_REDIRECTS: usize = 10;
/// Answers other than files are not larger.
const LARGEST_ANSWER: usize = 32 << 20;
/// Longest quotation of somebody else's words.
const QUOTE: usize = 200;
/// What this client calls itself.
const AGENT: &str = concat!("candlepower/", env!("CARGO_PKG_VERSION"));

type Body = Empty<Bytes>;

/// What to ask for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Where.
    pub(super) url: Url,
    /// For this server, and no other.
    pub(super) authorization: Option<HeaderValue>,
    /// For every server on the way.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Wanted {
    /// Without anything special.
    pub(super) const fn new(url: Url, authorization: Option<HeaderValue>) -> Self {
        Self {
            url,
            authorization,
            headers: Vec::new(),
        }
    }

    /// With a header more.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Only these bytes, written as `5-9`, as long as the file has this tag.
    pub(super) fn of_bytes(self, bytes: &str, tag: Option<&str>) -> Self {
        let Ok(range) = HeaderValue::from_str(&format!("bytes={bytes}")) else {
            return self;
        };
        let wanted = self.with(RANGE, range);
        match tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
            Some(tag) => wanted.with(IF_RANGE, tag),
            None => wanted,
        }
    }
}

/// Asks servers.
pub(super) struct Http {
    /// Why there is none: a machine may have no certificates, and need none.
    secure: Result<Client<HttpsConnector<HttpConnector>, Body>, String>,
    plain: Client<HttpConnector, Body>,
    allow_plain: bool,
    patience: Patience,
}

impl Http {
    pub(super) fn new(allow_plain: bool, patience: Patience) -> Self {
        let connector = || {
            let mut connector = HttpConnector::new();
            connector.set_connect_timeout(Some(CONNECT));
            connector.set_nodelay(true);
            connector.enforce_http(false);
            connector
        };
        let secure = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map(|builder| {
                let connector = builder
                    .https_only()
                    .enable_http1()
                    .wrap_connector(connector());
                Client::builder(TokioExecutor::new()).build(connector)
            });
        Self {
            secure: secure.map_err(|error| error.to_string()),
            plain: Client::builder(TokioExecutor::new()).build(connector()),
            allow_plain,
            patience,
        }
    }

    /// The answer, whatever its status, at the end of all redirects.
    pub(super) async fn get(&self, wanted: &Wanted) -> Result<Response<Incoming>, Failure> {
        let mut url = wanted.url.clone();
        for _ in 0..MOST_REDIRECTS {
            let answer = self.once(&url, wanted).await?;
            let Some(location) = redirect(&answer) else {
                return Ok(answer);
            };
            let next = url.join(location).map_err(|error| {
                Failure::passing(format!(
                    "{} leads to what is no address ({error})",
                    shown(&url)
                ))
            })?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(FetchError::Invalid(format!(
                    "{} leads to {}, which is not encrypted: use another source",
                    shown(&url),
                    shown(&next)
                ))
                .into());
            }
            url = next;
        }
        Err(Failure::passing(format!(
            "{} leads from one address to the next without end",
            shown(&wanted.url)
        )))
    }

    /// The whole answer, as text.
    pub(super) async fn text(&self, answer: Response<Incoming>) -> Result<String, Failure> {
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect();
        let body = timeout(self.patience.silence, body)
            .await
            .map_err(|_| Failure::passing("the answer does not end"))?
            .map_err(|error| Failure::passing(format!("the answer broke off: {error}")))?;
        String::from_utf8(body.to_bytes().into())
            .map_err(|_| Failure::passing("the answer is not text"))
    }

    async fn once(&self, url: &Url, wanted: &Wanted) -> Result<Response<Incoming>, Failure> {
        let mut request = Request::get(url.as_str()).header(USER_AGENT, AGENT);
        for (name, value) in &wanted.headers {
            request = request.header(name, value);
        }
        if let Some(value) = &wanted.authorization
            && url.origin() == wanted.url.origin()
        {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Body::new())
            .map_err(|error| FetchError::Invalid(format!("{}: {error}", shown(url))))?;
        let answer = match (url.scheme(), &self.secure) {
            ("https", Ok(client)) => client.request(request),
            ("https", Err(problem)) => {
                return Err(FetchError::Client(format!(
                    "this machine has no certificates to check {} with ({problem}); set SSL_CERT_FILE",
                    shown(url)
                ))
                .into());
            }
            ("http", _) if self.allow_plain => self.plain.request(request),
            _ => {
                return Err(FetchError::Invalid(format!(
                    "{} is not encrypted: use https://, or allow it with --allow-plain-http",
                    shown(url)
                ))
                .into());
            }
        };
        match timeout(self.patience.silence, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::passing(format!(
                "{} does not answer: {}",
                shown(url),
                causes(&error)
            ))),
            Err(_) => Err(Failure::passing(format!(
                "{} does not answer within {} s",
                shown(url),
                self.patience.silence.as_secs()
            ))),
        }
    }
}

/// Where the answer sends to.
fn redirect(answer: &Response<Incoming>) -> Option<&str> {
    let leads_on = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = leads_on.then(|| answer.headers().get(LOCATION)).flatten();
    location.and_then(|location| location.to_str().ok())
}

/// What an answer's status means, where it is no success. `cure` is for a door that stays shut.
pub(super) fn check(
    answer: Response<Incoming>,
    url: &Url,
    cure: impl FnOnce() -> String,
) -> Result<Response<Incoming>, Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let what = shown(url);
    let words = answer
        .headers()
        .get("x-error-message")
        .and_then(|words| words.to_str().ok());
    let said = words.map_or_else(
        || status.to_string(),
        |words| {
            format!(
                "{status}: {}",
                words.chars().take(QUOTE).collect::<String>()
            )
        },
    );
    let is_busy = !status.is_client_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if is_busy {
        return Err(busy(&what, &said, answer.headers()));
    }
    Err(match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => FetchError::NotFound {
            what,
            cure: "check model.source, model.revision and model.file".to_owned(),
        },
        _ => FetchError::Denied {
            what,
            answer: said,
            cure: cure(),
        },
    }
    .into())
}

fn busy(what: &str, said: &str, headers: &HeaderMap) -> Failure {
    let seconds = headers.get(RETRY_AFTER).and_then(|after| {
        let text = after.to_str().ok()?;
        text.trim().parse().ok()
    });
    Failure::Passing {
        reason: LoadFailure::Unreachable,
        problem: format!("{what} answers {said}"),
        pause: seconds.map(Duration::from_secs),
        progressed: false,
    }
}

/// An address without what may be a signature.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}
