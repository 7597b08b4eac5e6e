//! An answer as server-sent events. A stream always ends with `[DONE]`; an error in its middle is
//! an event of its own before that.
use super::{Addition, Answer, Completion, Piece, Usage};
use crate::{engine::FinishReason, http::error::ApiError};
use axum::{
    http::HeaderValue,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use serde::Serialize;
use std::{collections::VecDeque, convert::Infallible, time::Duration};
use tracing::{Instrument, Span};

/// Comments at this interval keep proxies from closing a connection whose request waits.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const DONE: &str = "[DONE]";

/// How a route writes the parts of its stream.
pub trait Chunks: Send + 'static {
    /// One event's data.
    type Chunk: Serialize;

    /// Told before each of the others: tokens in and out until then.
    fn note_usage(&mut self, _so_far: Usage) {}

    /// Before all text of a choice.
    fn begin(&mut self, _choice: usize) -> Option<Self::Chunk> {
        None
    }

    /// A choice goes on.
    fn add(&mut self, choice: usize, addition: Addition) -> Vec<Self::Chunk>;

    /// A choice is complete.
    fn end_choice(&mut self, _choice: usize, _reason: FinishReason) -> Vec<Self::Chunk> {
        Vec::new()
    }

    /// All are.
    fn end(&mut self, completion: &Completion) -> Option<Self::Chunk>;
}

struct State<C> {
    answer: Answer,
    chunks: C,
    pending: VecDeque<Event>,
    ended: bool,
}

/// The response that streams `answer`.
pub fn respond<C: Chunks>(answer: Answer, mut chunks: C) -> Response {
    chunks.note_usage(answer.usage());
    let pending = (0..answer.choices())
        .filter_map(|choice| chunks.begin(choice))
        .map(|chunk| event(&chunk))
        .collect();
    let state = State {
        answer,
        chunks,
        pending,
        ended: false,
    };
    // The body is sent after the handler has returned, and with it the request's span has been left.
    let span = Span::current();
    let events = futures::stream::unfold(state, move |mut state| {
        let advance = async move {
            let event = state.next().await?;
            Some((Ok::<_, Infallible>(event), state))
        };
        advance.instrument(span.clone())
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
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.advance().await;
        }
    }

    async fn advance(&mut self) {
        let piece = self.answer.next().await;
        self.chunks.note_usage(match &piece {
            Ok(Piece::End(completion)) => completion.usage,
            _ => self.answer.usage(),
        });
        let chunks = match piece {
            Ok(Piece::Addition(choice, addition)) => self.chunks.add(choice, addition),
            Ok(Piece::ChoiceEnd(choice, reason)) => self.chunks.end_choice(choice, reason),
            Ok(Piece::End(completion)) => {
                self.ended = true;
                self.chunks.end(&completion).into_iter().collect()
            }
            Err(error) => {
                self.ended = true;
                self.fail(&error);
                Vec::new()
            }
        };
        self.pending.extend(chunks.iter().map(event));
        if self.ended {
            self.pending.push_back(Event::default().data(DONE));
        }
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
