//! Connections to the target, one for each user or request in flight.
use super::{
    plan::Target,
    trust::{self, Untrustworthy},
};
use crate::record::ErrorClass;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use std::{error::Error, io, time::Duration};
use tokio::{net::TcpStream, task::AbortHandle, time::timeout};
use tower::ServiceExt;

/// Where chats are answered.
pub(super) const CHAT: &str = "/v1/chat/completions";
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest message of a failure.
const MESSAGE: usize = 300;

/// Why an address cannot be a target.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    /// It is no address.
    #[error("{0} is no address of a server; write one such as http://vllm.models:8000")]
    Url(String),
    /// The key cannot be sent.
    #[error("the API key has characters that no HTTP header may hold; check how it was read")]
    Key,
    /// TLS cannot be used.
    #[error(transparent)]
    Trust(#[from] Untrustworthy),
}

/// Why one request failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    pub(super) status: Option<u16>,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        let message = message.into().chars().take(MESSAGE).collect();
        Self {
            class,
            status: None,
            message,
        }
    }

    /// Of an answer that is not 2xx; the message is the server's own where it is JSON.
    pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> Self {
        let class = match status.as_u16() {
            429 | 503 => ErrorClass::Overloaded,
            400..=499 => ErrorClass::Refused,
            500..=599 => ErrorClass::Server,
            _ => ErrorClass::Protocol,
        };
        Self {
            status: Some(status.as_u16()),
            ..Self::new(class, super::events::error_message(body))
        }
    }
}

#[derive(Clone)]
enum Connector {
    Plain(HttpConnector),
    Tls(HttpsConnector<HttpConnector>),
}

/// Makes connections and requests.
#[derive(Clone)]
pub(super) struct Client {
    connector: Connector,
    /// Scheme, host and port.
    base: Uri,
    /// What stands before `/v1`.
    prefix: String,
    headers: HeaderMap,
}

type Body = Full<Bytes>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// An open connection; it closes when it is dropped.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    driver: AbortHandle,
    /// Whether a request went over it before.
    is_used: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self, InvalidTarget> {
        let invalid = || InvalidTarget::Url(target.url.clone());
        let uri: Uri = target.url.parse().map_err(|_| invalid())?;
        let authority = uri.authority().ok_or_else(invalid)?.clone();
        let path = uri.path().trim_end_matches('/');
        let prefix = path.strip_suffix("/v1").unwrap_or(path).to_owned();
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        let connector = match uri.scheme_str() {
            Some("http") => Connector::Plain(http),
            Some("https") => Connector::Tls(trust::connector(http, &target.trust)?),
            _ => return Err(invalid()),
        };
        Ok(Self {
            connector,
            headers: headers(authority.as_str(), target.api_key.as_deref())?,
            base: Uri::builder()
                .scheme(uri.scheme_str().unwrap_or("http"))
                .authority(authority)
                .path_and_query("/")
                .build()
                .map_err(|_| invalid())?,
            prefix,
        })
    }

    /// Scheme, host, port and what stands before `/v1`.
    pub(super) fn address(&self) -> String {
        let base = self.base.to_string();
        format!("{}{}", base.trim_end_matches('/'), self.prefix)
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let failed = |error: &dyn Error| Failure::new(ErrorClass::Connect, with_causes(error));
        let stream = timeout(CONNECT, self.open()).await;
        let stream = stream.map_err(|_| {
            let message = format!("no connection within {} s", CONNECT.as_secs());
            Failure::new(ErrorClass::Connect, message)
        })?;
        let stream = stream.map_err(|error| failed(error.as_ref()))?;
        let (sender, connection) = http1::handshake(stream)
            .await
            .map_err(|error| failed(&error))?;
        // Its error reaches whoever waits for an answer.
        let driver = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Connection {
            sender,
            driver,
            is_used: false,
        })
    }

    async fn open(&self) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        let base = self.base.clone();
        match &self.connector {
            Connector::Plain(http) => {
                let stream = http.clone().oneshot(base).await?;
                Ok(MaybeHttpsStream::Http(stream))
            }
            Connector::Tls(https) => https.clone().oneshot(base).await,
        }
    }

    /// A request for a path such as `/v1/models`.
    pub(super) fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Body> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        // The prefix is part of a valid address, and paths are this module's own.
        *request.uri_mut() = format!("{}{path}", self.prefix).parse().unwrap_or_default();
        request.headers_mut().extend(self.headers.clone());
        request
    }

    /// Asks once, over a connection of its own, and reads the whole answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, Failure> {
        let asked = async {
            let mut connection = self.connect().await?;
            let request = self.request(method, path, body);
            let answer = connection.sender.send_request(request).await;
            let answer = answer.map_err(|error| broken(&error))?;
            let status = answer.status();
            let body = answer.into_body().collect().await;
            let body = body.map_err(|error| broken(&error))?.to_bytes();
            if status.is_success() {
                Ok(body)
            } else {
                Err(Failure::of_answer(status, &body))
            }
        };
        let late = |_| {
            let message = format!("no answer within {} s", patience.as_secs());
            Failure::new(ErrorClass::Timeout, message)
        };
        timeout(patience, asked).await.map_err(late)?
    }
}

impl Connection {
    /// Whether another request may be sent.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends a request and waits until its answer begins.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let was_used = std::mem::replace(&mut self.is_used, true);
        let answer = self.sender.try_send_request(request).await;
        answer.map_err(|error| Unanswered {
            met_a_closing: error.message().is_some() || was_used && is_closed(error.error()),
            failure: broken(error.error()),
        })
    }
}

/// A request to which no answer began.
pub(super) struct Unanswered {
    /// Whether the server closed the connection after an earlier answer, perhaps while the request was on its way.
    pub(super) met_a_closing: bool,
    pub(super) failure: Failure,
}

/// Whether the other side ended the connection.
fn is_closed(error: &hyper::Error) -> bool {
    let io = error.source().and_then(|it| it.downcast_ref::<io::Error>());
    let is_reset = io.is_some_and(|it| {
        matches!(
            it.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    });
    is_reset || error.is_incomplete_message() || error.is_closed()
}

/// The connection failed before an answer began.
fn broken(error: &hyper::Error) -> Failure {
    Failure::new(ErrorClass::BrokenStream, with_causes(error))
}

/// An error with what lies behind it.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

fn headers(host: &str, key: Option<&str>) -> Result<HeaderMap, InvalidTarget> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::from_str(host).map_err(|_| InvalidTarget::Url(host.to_owned()))?;
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("text/event-stream, application/json"),
    );
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("candlepower/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(key) = key {
        let value = HeaderValue::from_str(&format!("Bearer {key}"));
        let mut value = value.map_err(|_| InvalidTarget::Key)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Trust;

    fn client(url: &str) -> Result<Client, InvalidTarget> {
        Client::new(&Target {
            url: url.to_owned(),
            model: None,
            api_key: Some("secret".to_owned()),
            trust: Trust::default(),
        })
    }

    #[test]
    fn an_address_may_end_in_v1_and_may_have_a_path() {
        for (url, address) in [
            ("http://a:8000", "http://a:8000"),
            ("http://a:8000/v1/", "http://a:8000"),
            ("http://a/llm/v1", "http://a/llm"),
        ] {
            let client = client(url).unwrap();
            assert_eq!(client.address(), address);
            let request = client.request(Method::GET, "/v1/models", Bytes::new());
            assert!(address.ends_with(request.uri().path().trim_end_matches("/v1/models")));
            assert_eq!(request.headers()[AUTHORIZATION], "Bearer secret");
        }
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for url in ["", "a:80", "ftp://a", "/v1"] {
            let error = client(url).err().unwrap().to_string();
            assert!(error.contains("http://vllm.models:8000"), "{url}: {error}");
        }
    }

    #[test]
    fn refusals_and_overload_are_told_apart() {
        let class = |status| Failure::of_answer(StatusCode::from_u16(status).unwrap(), b"").class;
        assert_eq!(class(429), ErrorClass::Overloaded);
        assert_eq!(class(503), ErrorClass::Overloaded);
        assert_eq!(class(404), ErrorClass::Refused);
        assert_eq!(class(500), ErrorClass::Server);
        assert_eq!(class(302), ErrorClass::Protocol);
    }
}
