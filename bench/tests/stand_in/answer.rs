//! The body of an answer, whose tokens come when the laws say.
use super::{
    Log,
    laws::{Dice, Laws},
};
use hyper::body::{Body, Bytes, Frame};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Instant,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep_until},
};

const TOKEN: &[u8] = b"data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"stand-in\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

/// What an answer says.
pub(super) struct Content {
    pub(super) trace: String,
    pub(super) prompt_tokens: u32,
    pub(super) tokens: u32,
    pub(super) stream: bool,
    pub(super) usage: bool,
    /// The stream breaks after so many tokens.
    pub(super) breaks_after: Option<u32>,
}

/// A place among the running requests.
pub(super) struct Place {
    running: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn new(running: Arc<AtomicUsize>, permit: OwnedSemaphorePermit) -> Self {
        running.fetch_add(1, Relaxed);
        Self {
            running,
            _permit: permit,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Relaxed);
    }
}

pub(super) struct Answer {
    pub(super) laws: Arc<Laws>,
    pub(super) content: Content,
    pub(super) log: Log,
    place: Place,
    dice: Dice,
    next: Pin<Box<Sleep>>,
    /// When the next token is due.
    due: Instant,
    times: Vec<Instant>,
    ended: bool,
}

impl Answer {
    pub(super) fn new(
        laws: Arc<Laws>,
        content: Content,
        log: Log,
        place: Place,
        dice: Dice,
    ) -> Self {
        let due = Instant::now() + laws.prefill(content.prompt_tokens);
        Self {
            next: Box::pin(sleep_until(due.into())),
            times: Vec::with_capacity(content.tokens as usize),
            laws,
            content,
            log,
            place,
            dice,
            due,
            ended: false,
        }
    }

    fn sent(&self) -> u32 {
        u32::try_from(self.times.len()).unwrap()
    }

    fn token(&mut self, now: Instant) {
        self.times.push(now);
        let running = self.place.running.load(Relaxed);
        let gap = self.laws.gap(self.sent(), running, &mut self.dice);
        // From when the token was due, so that lateness of timers does not add up.
        self.due += gap;
        self.next.as_mut().reset(self.due.into());
    }

    fn end(&mut self, now: Instant) {
        self.ended = true;
        let mut log = self.log.lock().unwrap();
        if let Some(entry) = log.get_mut(&self.content.trace) {
            entry.tokens = std::mem::take(&mut self.times);
            entry.finished = Some(now);
        }
    }

    fn usage(&self) -> String {
        let (prompt, tokens) = (self.content.prompt_tokens, self.content.tokens);
        let total = prompt + tokens;
        format!(
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{tokens},"total_tokens":{total}}}"#
        )
    }

    fn last_events(&self) -> String {
        let head = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"stand-in","choices":"#;
        let finish = r#"[{"index":0,"delta":{},"finish_reason":"length"}]}"#;
        let usage = if self.content.usage {
            format!("{head}[],\"usage\":{}}}\n\n", self.usage())
        } else {
            String::new()
        };
        format!("{head}{finish}\n\n{usage}data: [DONE]\n\n")
    }

    fn whole(&self) -> String {
        let text = " word".repeat(self.content.tokens as usize);
        let head = format!(
            r#"{{"id":"a","object":"chat.completion","created":1,"model":"stand-in","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"length"}}]"#
        );
        if self.content.usage {
            format!("{head},\"usage\":{}}}", self.usage())
        } else {
            format!("{head}}}")
        }
    }
}

impl Drop for Answer {
    /// A client that went away leaves the tokens that were sent to it.
    fn drop(&mut self) {
        if !self.ended {
            self.end(Instant::now());
        }
    }
}

/// The stream breaks here.
#[derive(Debug, thiserror::Error)]
#[error("broken as the laws say")]
pub(super) struct Broken;

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = |bytes: Bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            let now = Instant::now();
            if self.content.breaks_after == Some(self.sent()) {
                self.end(now);
                return Poll::Ready(Some(Err(Broken)));
            }
            if self.sent() == self.content.tokens {
                let text = if self.content.stream {
                    self.last_events()
                } else {
                    self.whole()
                };
                self.end(now);
                return frame(text.into());
            }
            if self.next.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.token(Instant::now());
            if self.content.stream {
                return frame(Bytes::from_static(TOKEN));
            }
        }
    }
}
