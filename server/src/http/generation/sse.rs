//! An answer as server-sent events. A stream always ends with `[DONE]`; an error in its middle is
//! an event of its own before that.
use super::{Answer, Completion, Piece};
use crate::http::error::ApiError;
use axum::{
    http::HeaderValue,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use serde::Serialize;
use std::{collections::VecDeque, convert::Infallible, time::Duration};

/// Comments at this interval keep proxies from closing a connection whose request waits.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const DONE: &str = "[DONE]";

/// How a route writes the parts of its stream.
pub trait Chunks: Send + 'static {
    /// One event's data.
    type Chunk: Serialize;

    /// Before all text.
    fn begin(&mut self) -> Option<Self::Chunk> {
        None
    }

    /// A piece of text.
    fn text(&mut self, text: String) -> Self::Chunk;

    /// After all text.
    fn end(&mut self, completion: &Completion) -> Vec<Self::Chunk>;
}

struct State<C> {
    answer: Answer,
    chunks: C,
    pending: VecDeque<Event>,
    ended: bool,
}

/// The response that streams `answer`.
pub fn respond<C: Chunks>(answer: Answer, mut chunks: C) -> Response {
    let pending = chunks
        .begin()
        .map(|chunk| event(&chunk))
        .into_iter()
        .collect();
    let state = State {
        answer,
        chunks,
        pending,
        ended: false,
    };
    let events = futures::stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    });
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    // Proxies of the nginx kind would collect the events otherwise.
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl<C: Chunks> State<C> {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.pending.pop_front() {
            return Some(event);
        }
        if self.ended {
            return None;
        }
        match self.answer.next().await {
            Ok(Piece::Text(text)) => return Some(event(&self.chunks.text(text))),
            Ok(Piece::End(completion)) => {
                self.pending
                    .extend(self.chunks.end(&completion).iter().map(event));
            }
            Err(error) => self.fail(&error),
        }
        self.ended = true;
        self.pending.push_back(Event::default().data(DONE));
        self.pending.pop_front()
    }

    /// The status is sent already, so the error is counted and reported here.
    fn fail(&mut self, error: &ApiError) {
        self.answer.fail(error.kind);
        self.pending.push_back(event(&error.body()));
    }
}

fn event(chunk: &impl Serialize) -> Event {
    // Chunks are plain structs; writing one cannot fail.
    Event::default().data(serde_json::to_string(chunk).unwrap_or_default())
}
