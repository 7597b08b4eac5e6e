//! The stand-in server's routes.
use super::{
    Entry, Log,
    answer::{Answer, Broken, Content, Place},
    laws::{Dice, Laws},
};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{net::TcpListener, sync::Semaphore};

type Body = Either<Full<Bytes>, Answer>;

struct Server {
    laws: Arc<Laws>,
    log: Log,
    slots: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    waiting: AtomicUsize,
    requests: AtomicU64,
}

#[derive(Deserialize)]
struct Asked {
    messages: Vec<Message>,
    max_tokens: u32,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    ignore_eos: bool,
    stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    others: HashMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

/// Serves until the runtime ends.
pub(super) async fn serve(listener: std::net::TcpListener, laws: Laws, log: Log) {
    let listener = TcpListener::from_std(listener).unwrap();
    let server = Arc::new(Server {
        slots: Arc::new(Semaphore::new(laws.slots)),
        laws: Arc::new(laws),
        log,
        running: Arc::default(),
        waiting: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let _ = stream.set_nodelay(true);
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let server = server.clone();
                async move { Ok::<_, Broken>(server.answer(request).await) }
            });
            // A client that goes away, or a stream that breaks, ends the connection.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn plain(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(text.into())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let json = "application/json".parse().unwrap();
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn refused(status: u16, message: &str) -> Response<Body> {
    plain(status, format!(r#"{{"error":{{"message":"{message}"}}}}"#))
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let received = Instant::now();
        if let Some(key) = &self.laws.api_key {
            let given = request.headers().get(AUTHORIZATION);
            if given.is_none_or(|given| given != format!("Bearer {key}").as_str()) {
                return refused(401, "wrong key");
            }
        }
        match request.uri().path() {
            "/v1/models" => plain(200, r#"{"data":[{"id":"stand-in"}]}"#.to_owned()),
            "/v1/chat/completions" => self.chat(request, received).await,
            _ => refused(404, "no such route"),
        }
    }

    async fn chat(&self, request: Request<Incoming>, received: Instant) -> Response<Body> {
        let trace = request.headers().get("traceparent");
        let trace = trace.and_then(|value| value.to_str().ok()?.split('-').nth(1));
        let trace = trace.unwrap_or_default().to_owned();
        let Ok(body) = request.into_body().collect().await else {
            return refused(400, "no body");
        };
        let Ok(asked) = serde_json::from_slice::<Asked>(&body.to_bytes()) else {
            return refused(400, "no request of the API");
        };
        let beyond = asked.ignore_eos || asked.others.contains_key("min_tokens");
        if self.laws.strict && beyond {
            return refused(400, "unknown field");
        }
        // Questions before the load have no trace: neither failures nor delays are for them.
        if trace.is_empty() {
            return self.begin(asked, trace, received).await;
        }
        let number = self.requests.fetch_add(1, Relaxed);
        if Dice::new(self.laws.seed ^ 7, number).share() < self.laws.error_rate {
            return refused(500, "failed as the laws say");
        }
        if self.laws.slots <= self.running.load(Relaxed)
            && self.laws.queue <= self.waiting.load(Relaxed)
        {
            return refused(429, "the queue is full");
        }
        self.begin(asked, trace, received).await
    }

    async fn begin(&self, asked: Asked, trace: String, received: Instant) -> Response<Body> {
        self.waiting.fetch_add(1, Relaxed);
        let permit = self.slots.clone().acquire_owned().await.unwrap();
        self.waiting.fetch_sub(1, Relaxed);
        let content = self.content(&asked, trace);
        if !content.trace.is_empty() {
            let entry = Entry {
                received,
                admitted: Instant::now(),
                prompt_tokens: content.prompt_tokens,
                tokens: Vec::new(),
                finished: None,
            };
            self.log
                .lock()
                .unwrap()
                .insert(content.trace.clone(), entry);
        }
        let dice = Dice::new(self.laws.seed, self.requests.load(Relaxed));
        let kind = if content.stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        let place = Place::new(self.running.clone(), permit);
        let answer = Answer::new(self.laws.clone(), content, self.log.clone(), place, dice);
        let mut response = Response::new(Either::Right(answer));
        let kind = kind.parse().unwrap();
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// Each word is a token.
    fn content(&self, asked: &Asked, trace: String) -> Content {
        let words = asked.messages.iter();
        let words = words
            .map(|one| one.content.split_whitespace().count())
            .sum::<usize>();
        let natural = self.laws.natural_length.filter(|_| !asked.ignore_eos);
        let mut dice = Dice::new(self.laws.seed ^ 9, self.requests.load(Relaxed));
        let tokens = asked.max_tokens.min(natural.unwrap_or(u32::MAX));
        let stream = asked.stream && self.laws.streaming;
        let usage = !stream
            || asked
                .stream_options
                .as_ref()
                .is_some_and(|one| one.include_usage);
        let breaks = !trace.is_empty() && dice.share() < self.laws.break_rate;
        Content {
            prompt_tokens: self.laws.template + u32::try_from(words).unwrap(),
            tokens,
            stream,
            usage: usage && self.laws.usage,
            breaks_after: breaks.then_some(tokens / 2),
            trace,
        }
    }
}
