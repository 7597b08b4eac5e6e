//! An answer, whose tokens come when the laws say.
use super::{
    Log, http,
    laws::{Dice, Laws},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{
    io::AsyncWriteExt, net::tcp::OwnedWriteHalf, sync::OwnedSemaphorePermit, time::sleep_until,
};

const TOKEN: &str = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"stand-in","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}"#;

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
    pub(super) place: Place,
    pub(super) dice: Dice,
    pub(super) times: Vec<Instant>,
}

impl Answer {
    /// Writes it; an error is a client that went away, or a stream that breaks as the laws say.
    pub(super) async fn write(mut self, writer: &mut OwnedWriteHalf) -> io::Result<()> {
        if self.content.stream {
            writer.write_all(http::STREAM).await?;
        }
        let token = http::chunk(&format!("{TOKEN}\n\n"));
        let at_once = self.laws.at_once.min(self.content.tokens);
        let group = token.repeat(at_once as usize);
        // From when each token was due, so that lateness of timers does not add up.
        let mut due = Instant::now() + self.laws.prefill(self.content.prompt_tokens);
        let mut now = Instant::now();
        for sent in 1..=self.content.tokens {
            if (sent - 1).is_multiple_of(at_once) {
                sleep_until(due.into()).await;
                now = Instant::now();
                let left = self.content.tokens - sent + 1;
                let length = token.len() * at_once.min(left) as usize;
                if self.content.stream {
                    writer.write_all(&group.as_bytes()[..length]).await?;
                }
            }
            self.times.push(now);
            if self.content.breaks_after == Some(sent) {
                return Err(io::ErrorKind::Other.into());
            }
            let running = self.place.running.load(Relaxed);
            due += self.laws.gap(sent, running, &mut self.dice);
        }
        self.end(true);
        if self.content.stream {
            let last = http::chunk(&self.last_events()) + http::END;
            writer.write_all(last.as_bytes()).await
        } else {
            http::whole(writer, 200, &self.whole()).await
        }
    }

    /// Puts what was sent into the log.
    fn end(&mut self, complete: bool) {
        let mut log = self.log.lock().unwrap();
        if let Some(entry) = log.get_mut(&self.content.trace) {
            entry.tokens = std::mem::take(&mut self.times);
            entry.finished = complete.then(Instant::now);
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
        if !self.times.is_empty() {
            self.end(false);
        }
    }
}
