//! GETs for the beginning of what a resource names, wherever that is. Whoever writes resources chooses where the operator
//! asks: it asks without any credentials but those that anybody is given, not within its own pod or node, and repeats nothing of
//! what it was told.
use axum::http::{
    HeaderName, Request, Response, StatusCode, Uri,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, LOCATION, RANGE, USER_AGENT,
        WWW_AUTHENTICATE,
    },
    uri::{Authority, PathAndQuery},
};
use http_body_util::BodyExt;
use kube::{Client, Config, client::Body};
use std::{net::IpAddr, time::Duration};
use tokio::net::lookup_host;

/// How long a connection may take, and how long an answer may pause.
const PATIENCE: Duration = Duration::from_secs(3);
/// More redirects lead nowhere.
const MOST_REDIRECTS: usize = 5;
/// What the operator calls itself.
const AGENT: &str = concat!("candlepower-operator/", env!("CARGO_PKG_VERSION"));

/// The beginning of a file.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) bytes: Vec<u8>,
    /// Bytes of the whole file, where the server tells.
    pub(super) total: Option<u64>,
}

/// Asks servers.
#[derive(Debug, Default)]
pub(super) struct Web {
    /// Whether encryption may be missing.
    pub(super) allow_plain: bool,
    /// What is shown to one of them.
    pub(super) pass: Option<Pass>,
}

/// What a server gives to anybody, and wants to see again.
#[derive(Debug)]
pub(super) struct Pass {
    /// The server, perhaps with its port.
    pub(super) host: String,
    pub(super) token: String,
}

impl Web {
    /// All of what is at `url`; more than `most` bytes are an error.
    pub(super) async fn whole(&self, url: &str, most: usize) -> Result<Vec<u8>, String> {
        self.whole_as(url, None, most).await
    }

    /// The same in one of these `kinds`.
    pub(super) async fn whole_as(
        &self,
        url: &str,
        kinds: Option<&str>,
        most: usize,
    ) -> Result<Vec<u8>, String> {
        let kinds = kinds.map(|kinds| (ACCEPT, kinds));
        let answer = self.get(url, kinds.as_ref()).await?;
        let bytes = read(answer.into_body(), most.saturating_add(1)).await?;
        if bytes.len() > most {
            return Err(format!("{} is larger than expected", shown(url)));
        }
        Ok(bytes)
    }

    /// The first `most` bytes of what is at `url`.
    pub(super) async fn beginning(&self, url: &str, most: usize) -> Result<Beginning, String> {
        let range = format!("bytes=0-{}", most.saturating_sub(1));
        let answer = self.get(url, Some(&(RANGE, &*range))).await?;
        let total = total(&answer);
        // A server may know no ranges, and send everything.
        let bytes = read(answer.into_body(), most).await?;
        Ok(Beginning { bytes, total })
    }

    /// What the server wants to see before it answers about `url`; `None` where that is nothing.
    pub(super) async fn challenge(&self, url: &str, kinds: &str) -> Result<Option<String>, String> {
        let answer = self.once(&parse(url)?, Some(&(ACCEPT, kinds))).await?;
        let challenge = answer.headers().get(WWW_AUTHENTICATE);
        let challenge = challenge.filter(|_| answer.status() == StatusCode::UNAUTHORIZED);
        Ok(challenge.and_then(|it| Some(it.to_str().ok()?.to_owned())))
    }

    /// The answer at the end of all redirects, to a request with this header, too.
    async fn get(
        &self,
        url: &str,
        header: Option<&(HeaderName, &str)>,
    ) -> Result<Response<Body>, String> {
        let mut uri = parse(url)?;
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.once(&uri, header).await?;
            let status = answer.status();
            if status.is_success() {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            match location.filter(|_| status.is_redirection()) {
                Some(location) => uri = follow(&uri, location)?,
                None => return Err(refused(&uri, status)),
            }
        }
        Err(format!("{} leads on without end", shown(url)))
    }

    async fn once(
        &self,
        uri: &Uri,
        header: Option<&(HeaderName, &str)>,
    ) -> Result<Response<Body>, String> {
        self.check(uri).await?;
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let mut request = Request::get(path).header(USER_AGENT, AGENT);
        if let Some((name, value)) = header {
            request = request.header(name, *value);
        }
        if let Some(token) = self.token_for(uri) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Body::empty())
            .map_err(|_| format!("{} has no such path", host(uri)))?;
        let answer = client(uri)?.send(request).await;
        answer.map_err(|_| format!("{} does not answer", host(uri)))
    }

    /// What is shown to the server of `uri`, and to none that it leads to.
    fn token_for(&self, uri: &Uri) -> Option<&str> {
        let pass = self.pass.as_ref()?;
        (uri.authority()?.as_str() == pass.host).then_some(&*pass.token)
    }

    /// Refuses what no model is served from.
    async fn check(&self, uri: &Uri) -> Result<(), String> {
        let is_encrypted = uri.scheme_str() == Some("https");
        let is_allowed = is_encrypted || self.allow_plain && uri.scheme_str() == Some("http");
        if !is_allowed {
            return Err(format!("{} is not encrypted", host(uri)));
        }
        let port = uri
            .port_u16()
            .unwrap_or(if is_encrypted { 443 } else { 80 });
        // IPv6 stands in brackets.
        let name = host(uri).trim_start_matches('[').trim_end_matches(']');
        let mut addresses = lookup_host((name, port))
            .await
            .map_err(|_| format!("{name} is not found"))?;
        if addresses.any(|address| is_own(address.ip())) {
            return Err(format!("{name} is within the operator's own pod or node"));
        }
        Ok(())
    }
}

/// A client for the server of `uri`: the one that the API server is asked with, because another would be another copy
/// of the same code. It is used once, and shows no credentials.
fn client(uri: &Uri) -> Result<Client, String> {
    let server = Uri::builder()
        .scheme(uri.scheme_str().unwrap_or_default())
        .authority(uri.authority().map_or("", Authority::as_str))
        .path_and_query("/")
        .build()
        .map_err(|_| format!("{} is no server", host(uri)))?;
    let mut config = Config::new(server);
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    config.default_retry = false;
    Client::try_from(config).map_err(|_| "there is no HTTPS here".to_owned())
}

/// The body's first `most` bytes.
async fn read(mut body: Body, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let Some(frame) = body.frame().await else {
            break;
        };
        let frame = frame.map_err(|_| "the answer breaks off".to_owned())?;
        if let Ok(data) = frame.into_data() {
            let room = most - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(bytes)
}

fn parse(url: &str) -> Result<Uri, String> {
    // It is not repeated: a password may be in it.
    let no_address = || "its source is no address that can be asked".to_owned();
    let uri: Uri = url.parse().map_err(|_| no_address())?;
    let is_complete = uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty());
    let has_password = uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    if is_complete && !has_password {
        Ok(uri)
    } else {
        Err(no_address())
    }
}

/// Where `location`, an address or a path, leads from `uri`. Encryption stays.
fn follow(uri: &Uri, location: &str) -> Result<Uri, String> {
    let is_path = location.starts_with('/') && !location.starts_with("//");
    let next = if is_path {
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let (scheme, authority) = scheme
            .zip(authority)
            .ok_or_else(|| format!("{} leads nowhere", host(uri)))?;
        parse(&format!("{scheme}://{authority}{location}"))?
    } else {
        parse(location)?
    };
    if uri.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(format!("{} leads to what is not encrypted", host(uri)));
    }
    Ok(next)
}

fn refused(uri: &Uri, status: StatusCode) -> String {
    let what = host(uri);
    match status.as_u16() {
        401 | 403 => wants_credentials(what),
        404 | 410 => format!("{what} does not have it"),
        code => format!("{what} answers {code}"),
    }
}

/// What is said of a server that does not answer everybody.
pub(super) fn wants_credentials(host: &str) -> String {
    format!("{host} wants credentials, and the operator reads no Secrets")
}

/// Whether this is an address of the pod or the node that the operator runs in.
fn is_own(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_link_local() || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

/// Bytes of the whole file.
fn total(answer: &Response<Body>) -> Option<u64> {
    let header = |name: HeaderName| answer.headers().get(name)?.to_str().ok();
    let text = if answer.status() == StatusCode::PARTIAL_CONTENT {
        header(CONTENT_RANGE)?.rsplit_once('/')?.1
    } else {
        header(CONTENT_LENGTH)?
    };
    text.trim().parse().ok()
}

fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default()
}

/// An address without what may be a signature.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_redirect_is_an_address_or_a_path_and_keeps_encryption() {
        let from = uri("https://hub:8443/a/b?c=d");
        let to = |location: &str| follow(&from, location).map(|uri| uri.to_string());
        assert_eq!(to("https://cdn/x?sig=1").unwrap(), "https://cdn/x?sig=1");
        assert_eq!(to("/api/x").unwrap(), "https://hub:8443/api/x");
        for refused in ["http://cdn/x", "//cdn/x", "x", "https://me:secret@cdn/x"] {
            assert!(to(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_signature_or_a_password_is_not_shown() {
        let message = parse("https://me:secret@host/a").unwrap_err();
        assert!(!message.contains("secret"), "{message}");
        assert_eq!(shown("https://host/a?sig=x#y"), "https://host/a");
    }

    #[test]
    fn the_operators_own_pod_and_node_are_not_asked() {
        for own in [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
        ] {
            assert!(is_own(own.parse().unwrap()), "{own}");
        }
        for other in ["10.201.0.1", "93.184.216.34", "2001:db8::1"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
        }
    }

    async fn refusal(allow_plain: bool, url: &str) -> String {
        let web = Web {
            allow_plain,
            pass: None,
        };
        web.check(&uri(url)).await.unwrap_err()
    }

    #[tokio::test]
    async fn what_is_not_encrypted_is_asked_only_where_that_is_allowed() {
        for (allow_plain, url) in [(false, "http://host/a"), (true, "ftp://host/a")] {
            let message = refusal(allow_plain, url).await;
            assert!(message.contains("not encrypted"), "{message}");
        }
        for url in ["http://127.0.0.1/a", "http://[::1]:80/a"] {
            let message = refusal(true, url).await;
            assert!(message.contains("own pod or node"), "{message}");
        }
    }

    #[test]
    fn a_token_is_shown_to_its_own_server_alone() {
        let web = Web {
            allow_plain: false,
            pass: Some(Pass {
                host: "r:5000".into(),
                token: "t".into(),
            }),
        };
        assert_eq!(
            web.token_for(&uri("https://r:5000/v2/a/blobs/b")),
            Some("t")
        );
        for other in ["https://r/v2/a", "https://cdn/r:5000/a"] {
            assert_eq!(web.token_for(&uri(other)), None, "{other}");
        }
        assert_eq!(Web::default().token_for(&uri("https://r:5000/a")), None);
    }

    #[test]
    fn a_refusal_says_what_it_means() {
        let message = |code| refused(&uri("https://hub/a"), StatusCode::from_u16(code).unwrap());
        assert!(message(401).contains("reads no Secrets"));
        assert!(message(404).contains("does not have it"));
        assert_eq!(message(500), "hub answers 500");
    }

    #[tokio::test]
    async fn a_body_is_read_as_far_as_it_is_wanted() {
        let body = || Body::from(vec![7; 100]);
        assert_eq!(read(body(), 10).await.unwrap(), [7; 10]);
        assert_eq!(read(body(), 1000).await.unwrap().len(), 100);
    }

    #[test]
    fn the_length_of_the_whole_is_in_the_range_or_of_the_answer() {
        let answer = |status: u16, name: HeaderName, value: &str| {
            let answer = Response::builder().status(status).header(name, value);
            total(&answer.body(Body::empty()).unwrap())
        };
        assert_eq!(answer(206, CONTENT_RANGE, "bytes 0-9/1234"), Some(1234));
        assert_eq!(answer(206, CONTENT_RANGE, "bytes 0-9/*"), None);
        assert_eq!(answer(200, CONTENT_LENGTH, "99"), Some(99));
    }
}
