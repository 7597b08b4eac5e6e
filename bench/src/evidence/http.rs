//! GET from an address that this machine reaches; kube's client already speaks HTTP and TLS.
use crate::load::{self, Untrustworthy, plan::Target};
use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode, Uri, body::Bytes, header::DATE};
use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use kube::{Client, Config, client::Body};
use std::{fmt::Display, time::Duration};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);

/// Why an address did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no address.
    #[error("{url} is no address ({problem}); write http://HOST:PORT")]
    Address {
        /// What was written.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It cannot be known.
    #[error(transparent)]
    Trust(#[from] Untrustworthy),
    /// No answer came.
    #[error("{url} did not answer: {problem}")]
    Silent {
        /// The address.
        url: String,
        /// What happened.
        problem: String,
    },
    /// It refused.
    #[error("{url} answered {status}: {body}")]
    Refused {
        /// The address.
        url: String,
        /// The code.
        status: StatusCode,
        /// The beginning of the answer.
        body: String,
    },
}

/// A server, by its address without a path.
#[derive(Clone)]
pub struct Server {
    url: String,
    client: Client,
}

impl Server {
    /// The server at `url`, such as `http://localhost:16686`.
    pub fn at(url: &str) -> Result<Self, Error> {
        Self::of_target(url, &Target::default())
    }

    /// The same, where it is `target` or belongs to it: certificates are checked by what the target's is. The name
    /// that this is for, and the API key, go to the target's own address alone.
    pub fn of_target(url: &str, target: &Target) -> Result<Self, Error> {
        let address = |problem: String| Error::Address {
            url: url.to_owned(),
            problem,
        };
        let parsed = url.trim_end_matches('/').parse::<Uri>();
        let parsed = parsed.map_err(|error| address(error.to_string()))?;
        if parsed.scheme().is_none() {
            return Err(address("it names no scheme".to_owned()));
        }
        let is_target = is_same_server(&parsed, &target.url);
        let mut config = Config::new(parsed);
        if !target.trust.certificates.is_empty() {
            let known = load::certificates(&target.trust.certificates)?;
            config.root_cert = Some(known.iter().map(|one| one.to_vec()).collect());
        }
        if is_target {
            config.tls_server_name.clone_from(&target.trust.server_name);
            config.auth_info.token = target.api_key.clone().map(Into::into);
        }
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(ANSWER);
        let client = Client::try_from(config).map_err(|error| address(error.to_string()))?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            client,
        })
    }

    /// The server of a page such as `http://localhost:8080/metrics`, which belongs to `target`, and the page's path.
    pub fn of_page(url: &str, target: &Target) -> Result<(Self, String), Error> {
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let path = url[after_scheme..].find('/').map(|at| after_scheme + at);
        let (server, path) = url.split_at(path.unwrap_or(url.len()));
        let path = if path.is_empty() { "/" } else { path };
        Ok((Self::of_target(server, target)?, path.to_owned()))
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it answers to a GET of `path`, whatever the code.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Bytes), Error> {
        let answer = self.answer(path).await?;
        let code = answer.status();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| self.silent(path, &error))?;
        Ok((code, body.to_bytes()))
    }

    /// How far its clock is ahead of this machine's, in whole seconds (negative: behind), by the `Date` of its answer
    /// (RFC 9110, 6.6.1); nothing where that is within what the way and the rounding take, or is not told.
    pub async fn clock_ahead(&self) -> Option<i64> {
        let asked = Timestamp::now();
        let answer = self.answer("/").await.ok()?;
        let date = answer.headers().get(DATE)?.to_str().ok()?;
        let theirs = rfc2822::parse(date).ok()?.timestamp();
        ahead(theirs, (asked, Timestamp::now()))
    }

    async fn answer(&self, path: &str) -> Result<Response<Body>, Error> {
        let request = Request::get(path).body(Body::empty());
        let request = request.map_err(|error| self.silent(path, &error))?;
        let answer = self.client.send(request).await;
        answer.map_err(|error| self.silent(path, &error))
    }

    fn silent(&self, path: &str, problem: &dyn Display) -> Error {
        Error::Silent {
            url: format!("{}{path}", self.url),
            problem: problem.to_string(),
        }
    }

    /// The same, where everything but 200 is a failure.
    pub async fn get_ok(&self, path: &str) -> Result<Bytes, Error> {
        let (status, body) = self.get(path).await?;
        if status == StatusCode::OK {
            return Ok(body);
        }
        Err(Error::Refused {
            url: format!("{}{path}", self.url),
            status,
            body: String::from_utf8_lossy(&body).chars().take(200).collect(),
        })
    }
}

/// Clocks that are no further apart agree: an answer's date has whole seconds.
const AGREE: i64 = 2;

/// How far `theirs` is ahead of a moment between two of ours.
fn ahead(theirs: Timestamp, ours: (Timestamp, Timestamp)) -> Option<i64> {
    let middle = ours.0.as_second().midpoint(ours.1.as_second());
    let ahead = theirs.as_second() - middle;
    (ahead.abs() > AGREE).then_some(ahead)
}

fn is_same_server(one: &Uri, other: &str) -> bool {
    let Ok(other) = other.parse::<Uri>() else {
        return false;
    };
    one.authority().is_some()
        && (one.scheme(), one.authority()) == (other.scheme(), other.authority())
}

/// A text as a value in a query.
pub fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Trust;
    use std::net::Ipv4Addr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    #[test]
    fn a_query_holds_only_what_it_may() {
        assert_eq!(
            encode("rate(a{b=\"c\"}[5m])"),
            "rate%28a%7Bb%3D%22c%22%7D%5B5m%5D%29"
        );
    }

    #[tokio::test]
    async fn a_page_is_a_server_and_a_path() {
        let split = |url| {
            let (server, path) = Server::of_page(url, &Target::default()).unwrap();
            (server.url().to_owned(), path)
        };
        let expected = ("http://a:8080".to_owned(), "/metrics?x=1".to_owned());
        assert_eq!(split("http://a:8080/metrics?x=1"), expected);
        assert_eq!(split("http://a").1, "/");
    }

    /// The address of a server that answers once, with the request's headers.
    async fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = connection.read(&mut head).await.unwrap();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            connection.write_all(answer.as_bytes()).await.unwrap();
            connection.write_all(&head[..length]).await.unwrap();
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn the_api_key_is_shown_to_the_target_and_to_nobody_beside_it() {
        for is_target in [true, false] {
            let url = echo().await;
            let target = Target {
                url: if is_target {
                    format!("{url}/v1")
                } else {
                    "http://127.0.0.1:9".to_owned()
                },
                api_key: Some("secret".to_owned()),
                ..Target::default()
            };
            let server = Server::of_target(&url, &target).unwrap();
            let seen = server.get_ok("/metrics").await.unwrap();
            let seen = String::from_utf8_lossy(&seen).to_ascii_lowercase();
            assert!(seen.starts_with("get /metrics "), "{seen}");
            assert_eq!(seen.contains("authorization: bearer secret"), is_target);
        }
    }

    #[tokio::test]
    async fn a_clock_that_differs_is_known_by_the_date_of_an_answer() {
        let clock = async |date: &'static str| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(async move {
                let (mut connection, _) = listener.accept().await.unwrap();
                let _ = connection.read(&mut vec![0; 4096]).await.unwrap();
                let answer = format!("HTTP/1.1 404 Not Found\r\n{date}content-length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            });
            Server::at(&url).unwrap().clock_ahead().await
        };
        let behind = clock("date: Tue, 10 Nov 2009 23:00:00 GMT\r\n").await;
        assert!(behind.unwrap() < -500_000_000, "{behind:?}");
        assert_eq!(clock("").await, None);
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(ahead(at(102), (at(99), at(101))), None);
        assert_eq!(ahead(at(103), (at(99), at(101))), Some(3));
    }

    #[tokio::test]
    async fn certificates_that_cannot_be_read_are_named() {
        let target = Target {
            trust: Trust {
                certificates: vec!["/nowhere/ca.crt".into()],
                server_name: None,
            },
            ..Target::default()
        };
        let error = Server::of_target("https://a", &target).err().unwrap();
        assert!(error.to_string().contains("/nowhere/ca.crt"), "{error}");
    }

    #[tokio::test]
    async fn nonsense_says_what_to_write() {
        let error = Server::at("localhost").err().unwrap().to_string();
        assert!(error.contains("write http://HOST:PORT"), "{error}");
    }
}
