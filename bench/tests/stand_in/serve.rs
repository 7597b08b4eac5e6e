//! The stand-in server's routes.
use super::{
    Entry, Log,
    answer::{Answer, Content, Place},
    http::{self, Head},
    laws::{Dice, Laws},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{
    io::BufReader,
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::Semaphore,
};

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
    #[serde(alias = "max_completion_tokens")]
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
    content: Text,
}

/// As a whole, or in parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Whole(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: String,
}

impl Text {
    /// Each word is a token.
    fn tokens(&self) -> usize {
        let words = |text: &str| text.split_whitespace().count();
        match self {
            Self::Whole(text) => words(text),
            Self::Parts(parts) => parts.iter().map(|part| words(&part.text)).sum(),
        }
    }
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
        let server = server.clone();
        // A client that goes away, or a stream that breaks, ends the connection.
        tokio::spawn(async move { server.connection(stream).await });
    }
}

/// The trace id that a request came with.
fn trace(head: &Head) -> Option<&str> {
    head.header("traceparent")?.split('-').nth(1)
}

/// When the head and all of a request had been read.
#[derive(Clone, Copy)]
struct Came {
    received: Instant,
    complete: Instant,
}

/// An answer, or the status and message of a refusal.
type Refused = (u16, &'static str);

impl Server {
    async fn connection(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let mut has_answered = false;
        while let Some(head) = Head::read(&mut reader).await? {
            let received = Instant::now();
            let body = head.body(&mut reader).await?;
            let came = Came {
                received,
                complete: Instant::now(),
            };
            if has_answered && self.laws.one_answer_a_connection {
                break;
            }
            self.respond(&head, &body, came, &mut writer).await?;
            has_answered = true;
        }
        Ok(())
    }

    async fn respond(
        &self,
        head: &Head,
        body: &[u8],
        came: Came,
        writer: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        let key = self
            .laws
            .api_key
            .as_ref()
            .map(|key| format!("Bearer {key}"));
        let refused = if key.is_some() && head.header("authorization") != key.as_deref() {
            (401, "wrong key")
        } else if head.path == "/v1/models" {
            return http::whole(writer, 200, r#"{"data":[{"id":"stand-in"}]}"#).await;
        } else if head.path == "/health" {
            return http::whole(writer, 200, "{}").await;
        } else if head.path == "/log" {
            let times = super::times(&self.log.lock().unwrap());
            return http::whole(writer, 200, &times).await;
        } else if head.path != "/v1/chat/completions" {
            (404, "no such route")
        } else {
            match self.check(head, body) {
                Ok((asked, trace)) => return self.answer(asked, trace, came, writer).await,
                Err(refused) => {
                    self.log_failure(head, came);
                    refused
                }
            }
        };
        let (status, message) = refused;
        let json = format!(r#"{{"error":{{"message":"{message}"}}}}"#);
        http::whole(writer, status, &json).await
    }

    fn log_failure(&self, head: &Head, came: Came) {
        let Some(trace) = trace(head) else {
            return;
        };
        let now = Instant::now();
        let entry = Entry {
            received: came.received,
            complete: came.complete,
            admitted: now,
            prompt_tokens: 0,
            tokens: Vec::new(),
            finished: None,
            failed: Some(now),
        };
        self.log.lock().unwrap().insert(trace.to_owned(), entry);
    }

    /// Questions before the load have no trace: neither failures nor the queue are for them.
    fn check(&self, head: &Head, body: &[u8]) -> Result<(Asked, String), Refused> {
        let mut trace = trace(head).unwrap_or_default().to_owned();
        let asked: Asked =
            serde_json::from_slice(body).map_err(|_| (400, "no request of the API"))?;
        let foreign = asked.ignore_eos || asked.others.contains_key("min_tokens");
        if self.laws.strict && foreign {
            return Err((400, "unknown field"));
        }
        if trace.is_empty() && !self.laws.log_untraced {
            return Ok((asked, trace));
        }
        let number = self.requests.fetch_add(1, Relaxed);
        if trace.is_empty() {
            trace = format!("untraced-{number}");
        }
        if Dice::new(self.laws.seed ^ 7, number).share() < self.laws.error_rate {
            return Err((500, "failed as the laws say"));
        }
        let full = self.laws.slots <= self.running.load(Relaxed)
            && self.laws.queue <= self.waiting.load(Relaxed);
        if full {
            return Err((429, "the queue is full"));
        }
        Ok((asked, trace))
    }

    async fn answer(
        &self,
        asked: Asked,
        trace: String,
        came: Came,
        writer: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        self.waiting.fetch_add(1, Relaxed);
        let permit = self.slots.clone().acquire_owned().await.unwrap();
        self.waiting.fetch_sub(1, Relaxed);
        let content = self.content(&asked, trace);
        if !content.trace.is_empty() {
            let entry = Entry {
                received: came.received,
                complete: came.complete,
                admitted: Instant::now(),
                prompt_tokens: content.prompt_tokens,
                tokens: Vec::new(),
                finished: None,
                failed: None,
            };
            let mut log = self.log.lock().unwrap();
            log.insert(content.trace.clone(), entry);
        }
        let answer = Answer {
            laws: self.laws.clone(),
            log: self.log.clone(),
            place: Place::new(self.running.clone(), permit),
            dice: Dice::new(self.laws.seed, self.requests.load(Relaxed)),
            times: Vec::with_capacity(content.tokens as usize),
            content,
        };
        answer.write(writer).await
    }

    fn content(&self, asked: &Asked, trace: String) -> Content {
        let messages = asked.messages.iter();
        let words: usize = messages.map(|one| one.content.tokens()).sum();
        let natural = self.laws.natural_length.filter(|_| !asked.ignore_eos);
        let mut dice = Dice::new(self.laws.seed ^ 9, self.requests.load(Relaxed));
        let tokens = asked.max_tokens.min(natural.unwrap_or(u32::MAX));
        let stream = asked.stream && self.laws.streaming;
        let options = asked.stream_options.as_ref();
        let usage = !stream || options.is_some_and(|one| one.include_usage);
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
