//! One request and its answer: when each piece of text arrived, and how it ended.
use super::{
    client::{CHAT, Client, Connection, Failure, Unanswered, with_causes},
    events::{Chunk, DONE, Events, Usage},
    live::Live,
    requests::Outgoing,
};
use crate::record::{ErrorClass, Micros, Outcome, RequestRecord};
use http_body_util::BodyExt;
use hyper::{
    Method, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use std::time::{Duration, Instant};

/// The W3C header that makes a request's spans part of the load generator's trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest answer without a stream.
const LONGEST_ANSWER: usize = 64 << 20;

/// The run's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn now(self) -> Micros {
        self.at(Instant::now())
    }

    pub(super) fn at(self, moment: Instant) -> Micros {
        let since = moment.saturating_duration_since(self.0);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

/// What every request of a scenario shares.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) timeout: Duration,
}

impl Wire {
    /// Sends a request over the connection in `slot`, or over a new one, and fills in `record` as
    /// the answer comes, so that a caller that stops waiting keeps what there was. The connection
    /// stays in the slot where another request may use it.
    pub(super) async fn exchange(
        &self,
        slot: &mut Option<Connection>,
        outgoing: Outgoing,
        live: &Live,
        record: &mut RequestRecord,
    ) {
        record.sent = self.clock.now();
        let answered = self.answered(slot, outgoing, live, record);
        let outcome = match tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(finish_reason)) => Outcome::Success { finish_reason },
            Ok(Err(failure)) => failed(failure),
            Err(_) => {
                *slot = None;
                let message = format!("no whole answer within {} s", self.timeout.as_secs());
                failed(Failure::new(ErrorClass::Timeout, message))
            }
        };
        if !matches!(outcome, Outcome::Success { .. }) {
            record.finished = self.clock.now();
        }
        record.outcome = outcome;
    }

    async fn answered(
        &self,
        slot: &mut Option<Connection>,
        outgoing: Outgoing,
        live: &Live,
        record: &mut RequestRecord,
    ) -> Result<Option<String>, Failure> {
        let mut connection = self.connection(slot.take()).await?;
        let answer = self.send(&mut connection, outgoing).await?;
        let status = answer.status();
        if !status.is_success() {
            let body = whole(answer).await?;
            // A refusal is a whole answer, and its connection is as good as before.
            *slot = Some(connection);
            return Err(Failure::of_answer(status, &body));
        }
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let reason = if kind.starts_with("text/event-stream") {
            self.read_stream(answer, live, record).await?
        } else {
            let body = whole(answer).await?;
            record.finished = self.clock.now();
            read_answer(&body, live, record)?
        };
        *slot = Some(connection);
        Ok(reason)
    }

    /// The open connection where it still is one, or a new one.
    async fn connection(&self, open: Option<Connection>) -> Result<Connection, Failure> {
        if let Some(mut connection) = open
            && connection.ready().await
        {
            return Ok(connection);
        }
        self.client.connect().await
    }

    /// Servers close connections after an answer at any moment, and some without a word, as llama-server does after
    /// streams: a request that met with that goes out again over a new one. To ask twice changes nothing on the server
    /// (RFC 9112, 9.3.1).
    async fn send(
        &self,
        connection: &mut Connection,
        outgoing: Outgoing,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request = self.client.request(Method::POST, CHAT, outgoing.body);
        if let Ok(value) = HeaderValue::from_str(&outgoing.traceparent) {
            request.headers_mut().insert(TRACEPARENT, value);
        }
        match connection.send(request.clone()).await {
            Ok(answer) => Ok(answer),
            Err(Unanswered {
                met_a_closing: true,
                ..
            }) => {
                *connection = self.client.connect().await?;
                let answer = connection.send(request).await;
                answer.map_err(|unanswered| unanswered.failure)
            }
            Err(unanswered) => Err(unanswered.failure),
        }
    }

    async fn read_stream(
        &self,
        answer: Response<Incoming>,
        live: &Live,
        record: &mut RequestRecord,
    ) -> Result<Option<String>, Failure> {
        let mut body = answer.into_body();
        let mut events = Events::default();
        let mut state = StreamState::default();
        while let Some(frame) = body.frame().await {
            let now = self.clock.now();
            let frame = match frame {
                Ok(frame) => frame,
                // What comes after the end does not matter.
                Err(_) if state.done => break,
                Err(error) => {
                    return Err(Failure::new(ErrorClass::BrokenStream, with_causes(&error)));
                }
            };
            record.finished = now;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let fed = events.feed(&data, |data| state.event(data, now, live, record));
            if fed.is_err() {
                return Err(protocol("a line of the stream is longer than 1 MiB"));
            }
            if let Some(failure) = state.failure.take() {
                return Err(failure);
            }
        }
        state.end()
    }
}

/// What a stream has said so far.
#[derive(Default)]
struct StreamState {
    finish_reason: Option<String>,
    done: bool,
    failure: Option<Failure>,
}

impl StreamState {
    fn event(&mut self, data: &[u8], now: Micros, live: &Live, record: &mut RequestRecord) {
        if data == DONE {
            self.done = true;
            return;
        }
        let chunk = match Chunk::parse(data) {
            Ok(chunk) => chunk,
            Err(error) => {
                self.failure = Some(protocol(&format!("an event is not the API's: {error}")));
                return;
            }
        };
        if chunk.error.is_some() {
            let message = super::events::error_message(data);
            self.failure = Some(Failure::new(ErrorClass::Server, message));
            return;
        }
        if chunk.has_output() {
            record.tokens.push(now);
            live.token();
        }
        if let Some(reason) = chunk.finish_reason() {
            self.finish_reason = Some(reason.to_owned());
        }
        note_usage(chunk.usage, record);
    }

    fn end(self) -> Result<Option<String>, Failure> {
        if self.done || self.finish_reason.is_some() {
            return Ok(self.finish_reason);
        }
        let message = "the stream ended before the answer did";
        Err(Failure::new(ErrorClass::BrokenStream, message))
    }
}

/// A whole answer without a stream.
fn read_answer(
    body: &Bytes,
    live: &Live,
    record: &mut RequestRecord,
) -> Result<Option<String>, Failure> {
    let answer = Chunk::parse(body)
        .map_err(|error| protocol(&format!("the answer is not the API's JSON: {error}")))?;
    if !answer.is_answer() {
        return Err(protocol("the answer has no choices"));
    }
    note_usage(answer.usage, record);
    live.tokens(record.output_tokens.unwrap_or_default());
    Ok(answer.finish_reason().map(str::to_owned))
}

fn note_usage(usage: Option<Usage>, record: &mut RequestRecord) {
    if let Some(usage) = usage {
        record.prompt_tokens = usage.prompt_tokens.or(record.prompt_tokens);
        record.output_tokens = usage.completion_tokens.or(record.output_tokens);
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = http_body_util::Limited::new(answer.into_body(), LONGEST_ANSWER);
    let body = body.collect().await;
    let body =
        body.map_err(|error| Failure::new(ErrorClass::BrokenStream, with_causes(error.as_ref())))?;
    Ok(body.to_bytes())
}

fn protocol(message: &str) -> Failure {
    Failure::new(ErrorClass::Protocol, message)
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed {
        class: failure.class,
        status: failure.status,
        message: failure.message,
    }
}
