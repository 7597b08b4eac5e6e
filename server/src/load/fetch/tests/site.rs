//! A web server that a test tells how to behave.
use crate::load::checksum::hexadecimal;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Response, StatusCode, header},
};
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, time::sleep};

/// Pieces that a slow server sends.
const PIECE: usize = 20_000;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) path: String,
    pub(super) query: String,
    headers: HeaderMap,
    /// How many of the same path came before it.
    pub(super) before: usize,
}

impl Ask {
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first byte that it asks for.
    pub(super) fn first_byte(&self) -> Option<usize> {
        self.bytes()?.0.parse().ok()
    }

    /// The last byte that it asks for, where that is not the file's last.
    pub(super) fn last_byte(&self) -> Option<usize> {
        self.bytes()?.1.parse().ok()
    }

    fn bytes(&self) -> Option<(&str, &str)> {
        let range = self.header(header::RANGE)?.strip_prefix("bytes=")?;
        range.split_once('-')
    }

    /// The same without a header.
    fn without(&self, name: header::HeaderName) -> Self {
        let mut ask = self.clone();
        ask.headers.remove(name);
        ask
    }
}

/// The server, which ends with the test.
pub(super) struct Site {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Ask>>>,
}

impl Site {
    pub(super) async fn new(
        answer: impl Fn(&Ask) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::<Ask>::new()));
        let log = asked.clone();
        let router = Router::new().fallback(move |request: Request| {
            let mut log = log.lock().unwrap();
            let path = request.uri().path().to_owned();
            let ask = Ask {
                before: log.iter().filter(|ask| ask.path == path).count(),
                path,
                query: request.uri().query().unwrap_or_default().to_owned(),
                headers: request.headers().clone(),
            };
            log.push(ask.clone());
            let answer = answer(&ask);
            async move { answer }
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, asked }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub(super) fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn count(&self) -> usize {
        self.asked().len()
    }
}

/// The tag of a content.
pub(super) fn tag(content: &[u8]) -> String {
    format!("\"{}\"", &sha256(content)[..16])
}

pub(super) fn sha256(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

pub(super) fn status(code: u16) -> Response<Body> {
    Response::builder()
        .status(code)
        .body(Body::empty())
        .unwrap()
}

pub(super) fn redirect(to: &str) -> Response<Body> {
    let answer = Response::builder().status(302).header(header::LOCATION, to);
    answer.body(Body::empty()).unwrap()
}

/// Head and content of an honest answer, which knows ranges and tags.
fn parts<'a>(content: &'a [u8], ask: &Ask) -> (axum::http::response::Builder, &'a [u8]) {
    let tag = tag(content);
    let answer = Response::builder()
        .header(header::ETAG, &tag)
        .header(header::ACCEPT_RANGES, "bytes");
    if ask.header(header::IF_NONE_MATCH) == Some(&tag) {
        return (answer.status(StatusCode::NOT_MODIFIED), &[]);
    }
    let is_same = ask.header(header::IF_RANGE).is_none_or(|same| same == tag);
    match ask.first_byte().filter(|_| is_same) {
        None => (answer, content),
        Some(from) if from >= content.len() => {
            (answer.status(StatusCode::RANGE_NOT_SATISFIABLE), &[])
        }
        Some(from) => {
            let last = content.len() - 1;
            let to = ask.last_byte().map_or(last, |to| to.min(last));
            let range = format!("bytes {from}-{to}/{}", content.len());
            let answer = answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range);
            (answer, &content[from..=to])
        }
    }
}

/// The whole of `content`, or what is asked for of it.
pub(super) fn file(content: &[u8], ask: &Ask) -> Response<Body> {
    let (answer, bytes) = parts(content, ask);
    answer.body(Body::from(bytes.to_vec())).unwrap()
}

/// The whole of `content`, whatever is asked for.
pub(super) fn whole(content: &[u8], ask: &Ask) -> Response<Body> {
    file(content, &ask.without(header::RANGE))
}

/// What is asked for of `content`, whether or not it is what the question takes it for.
pub(super) fn careless(content: &[u8], ask: &Ask) -> Response<Body> {
    file(content, &ask.without(header::IF_RANGE))
}

/// What is asked for of `content`, once `ready` says so.
pub(super) fn held(
    content: &[u8],
    ask: &Ask,
    ready: impl Fn() -> bool + Send + 'static,
) -> Response<Body> {
    let (answer, bytes) = parts(content, ask);
    let answer = answer.header(header::CONTENT_LENGTH, bytes.len());
    let bytes = Bytes::copy_from_slice(bytes);
    let body = stream::once(async move {
        while !ready() {
            sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, Infallible>(bytes)
    });
    answer.body(Body::from_stream(body)).unwrap()
}

/// The whole, or what is asked for, with a pause before each piece.
pub(super) fn slowly(content: &[u8], ask: &Ask) -> Response<Body> {
    let (answer, bytes) = parts(content, ask);
    let length = bytes.len();
    let pieces: Vec<_> = bytes.chunks(PIECE).map(Bytes::copy_from_slice).collect();
    let body = stream::iter(pieces).then(|piece| async {
        sleep(Duration::from_millis(5)).await;
        Ok::<_, Infallible>(piece)
    });
    let answer = answer.header(header::CONTENT_LENGTH, length);
    answer.body(Body::from_stream(body)).unwrap()
}

/// The first `kept` bytes of what is asked for, and then the line breaks.
pub(super) fn cut(content: &[u8], ask: &Ask, kept: usize) -> Response<Body> {
    let (answer, bytes) = parts(content, ask);
    let head = Bytes::copy_from_slice(&bytes[..kept.min(bytes.len())]);
    let body = stream::iter([Ok(head), Err(io::Error::other("cut"))]).then(|piece| async {
        // So that what came before is sent.
        sleep(Duration::from_millis(20)).await;
        piece
    });
    let answer = answer.header(header::CONTENT_LENGTH, bytes.len());
    answer.body(Body::from_stream(body)).unwrap()
}

/// The first `kept` bytes of what is asked for, and then nothing for ever.
pub(super) fn stall(content: &[u8], ask: &Ask, kept: usize) -> Response<Body> {
    let (answer, bytes) = parts(content, ask);
    let head = Bytes::copy_from_slice(&bytes[..kept.min(bytes.len())]);
    let body = stream::iter([Ok::<_, Infallible>(head)]).chain(stream::pending());
    let answer = answer.header(header::CONTENT_LENGTH, bytes.len());
    answer.body(Body::from_stream(body)).unwrap()
}
