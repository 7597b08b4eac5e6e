//! The HTTP side's view of the engine: submit, listen, cancel by dropping.
use super::{
    batch::{Engine, EngineLimits},
    places::Occupied,
    request::{GenerationError, GenerationEvent, GenerationRequest},
    scheduler::{StepObserver, Waiting},
    worker::{self, Command, Shared},
};
use candlepower_api::server_config::EngineConfig;
use std::{
    future::pending,
    sync::{Arc, mpsc::Sender},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;

/// How the engine's thread batches.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Sequences computed at once.
    pub max_batch_size: usize,
    /// How long an idle engine waits for company before the first step.
    pub max_batch_wait: Duration,
    /// Requests that may wait.
    pub max_queue_depth: usize,
    /// Most prompt tokens computed in one step.
    pub prefill_chunk: usize,
    /// Whether a prompt that begins as an earlier one did goes on with its KV cache.
    pub prefix_caching: bool,
}

impl EngineOptions {
    /// Requests that batch and queue hold together.
    pub(super) const fn places(&self) -> usize {
        self.max_batch_size.saturating_add(self.max_queue_depth)
    }
}

impl From<&EngineConfig> for EngineOptions {
    fn from(config: &EngineConfig) -> Self {
        Self {
            max_batch_size: config.max_batch_size.max(1),
            max_batch_wait: config.max_batch_wait.as_std(),
            max_queue_depth: config.max_queue_depth,
            prefill_chunk: config.prefill_chunk.max(1),
            prefix_caching: config.prefix_caching,
        }
    }
}

/// A request that was not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full.
    #[error("{waiting} requests are waiting already, which is the limit; try again later")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
    },
    /// Prompt and answer do not fit the context.
    #[error(
        "the prompt has {prompt} tokens and the answer may have {max_tokens}, but the model's context holds {context}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        max_tokens: usize,
        /// What the context holds.
        context: usize,
    },
    /// The prompt has no token.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The engine's thread has ended.
    #[error("the engine has stopped: try again, another replica or a new start will answer")]
    Stopped,
}

/// A cheap, cloneable way to the engine's thread.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    places: usize,
}

impl EngineHandle {
    /// Moves `engine` onto a thread of its own. `end_tokens` end a generation.
    pub fn start(
        engine: Box<dyn Engine>,
        end_tokens: Vec<u32>,
        options: EngineOptions,
        observer: Arc<dyn StepObserver>,
    ) -> std::io::Result<Self> {
        let (commands, shared) = worker::spawn(engine, end_tokens, options, observer)?;
        Ok(Self {
            commands,
            shared,
            places: options.places(),
        })
    }

    /// Requests that batch and queue hold together.
    pub const fn places(&self) -> usize {
        self.places
    }

    /// What the backend can hold.
    pub fn limits(&self) -> EngineLimits {
        self.shared.limits
    }

    /// Puts a request into the queue. The returned [`Generation`] tells what becomes of it;
    /// dropping it cancels the request.
    pub fn submit(&self, request: GenerationRequest) -> Result<Generation, SubmitError> {
        let limits = self.shared.limits;
        let total = request.prompt.len().saturating_add(request.max_tokens);
        let context = limits.context_length.min(limits.kv_cache_tokens());
        if request.prompt.is_empty() {
            return Err(SubmitError::EmptyPrompt);
        }
        if total > context {
            return Err(SubmitError::TooLong {
                prompt: request.prompt.len(),
                max_tokens: request.max_tokens,
                context,
            });
        }
        // The queue's place is taken here, not on the engine's thread, so that the answer to a
        // full queue never waits for a step.
        let place = self
            .shared
            .places
            .take()
            .ok_or_else(|| SubmitError::QueueFull {
                waiting: self.shared.places.occupied().waiting,
            })?;
        let (events, receiver) = mpsc::unbounded_channel();
        let waiting = Waiting::new(request, events, place);
        self.commands
            .send(Command::Submit(Box::new(waiting)))
            .map_err(|_| SubmitError::Stopped)?;
        Ok(Generation { events: receiver })
    }

    /// Requests being computed and requests waiting, at one moment. A request waits from when it is
    /// submitted, also while the engine's thread computes a step and does not look.
    pub fn load(&self) -> (usize, usize) {
        let Occupied { running, waiting } = self.shared.places.occupied();
        (running, waiting)
    }

    /// Whether the engine's thread makes progress: it is idle, or its current step began less
    /// than `patience` ago.
    pub fn is_alive(&self, patience: Duration) -> bool {
        self.shared.is_alive(patience)
    }

    /// Completes if the engine panics, with the panic's message. Whoever sees that should end the
    /// process: weights and KV cache may be in any state.
    pub async fn panicked(&self) -> String {
        match self.shared.end().await {
            Some(message) => message,
            // It was told to end.
            None => pending().await,
        }
    }

    /// Fails every request with [`GenerationError::ShuttingDown`] and ends the thread.
    pub fn stop(&self) {
        // A thread that has ended already needs no telling.
        let _ = self.commands.send(Command::Stop);
    }
}

/// What becomes of one request. Dropping it cancels the request.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::UnboundedReceiver<GenerationEvent>,
}

impl Generation {
    /// The next event. After `Finished` or `Failed` there is none.
    pub async fn next(&mut self) -> GenerationEvent {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// [`Self::next`], for those who listen to several generations.
    pub fn poll_next(&mut self, context: &mut Context) -> Poll<GenerationEvent> {
        self.events
            .poll_recv(context)
            .map(|event| event.unwrap_or(GenerationEvent::Failed(GenerationError::Stopped)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        mock::{END_TOKEN, MockEngine},
        request::{FinishReason, Sampling},
    };

    fn start(engine: MockEngine, max_queue_depth: usize) -> EngineHandle {
        let options = EngineOptions {
            max_batch_size: 1,
            max_batch_wait: Duration::ZERO,
            max_queue_depth,
            prefill_chunk: 64,
            prefix_caching: true,
        };
        EngineHandle::start(Box::new(engine), vec![END_TOKEN], options, Arc::new(())).unwrap()
    }

    fn request(prompt: usize, max_tokens: usize) -> GenerationRequest {
        GenerationRequest {
            prompt: vec![1; prompt],
            max_tokens,
            deadline: None,
            sampling: Sampling::default(),
        }
    }

    #[tokio::test]
    async fn a_request_is_answered() {
        let engine = start(MockEngine::new().answering(vec![7]), 1);
        let mut generation = engine.submit(request(2, 9)).unwrap();
        assert!(matches!(
            generation.next().await,
            GenerationEvent::Started { .. }
        ));
        assert!(matches!(
            generation.next().await,
            GenerationEvent::Token { id: 7, .. }
        ));
        let GenerationEvent::Finished {
            reason, generated, ..
        } = generation.next().await
        else {
            panic!("not finished")
        };
        assert_eq!((reason, generated), (FinishReason::Stop, 2));
    }

    #[tokio::test]
    async fn the_wait_in_the_queue_begins_in_the_middle_of_another_requests_step() {
        let step = Duration::from_millis(200);
        let engine = start(MockEngine::new().with_step_time(step), 1);
        let mut first = engine.submit(request(1, 2)).unwrap();
        assert!(matches!(
            first.next().await,
            GenerationEvent::Started { .. }
        ));
        let mut second = engine.submit(request(1, 1)).unwrap();
        let submitted = std::time::Instant::now();
        let GenerationEvent::Started { queued, .. } = second.next().await else {
            panic!("not started")
        };
        assert!(queued <= submitted);
    }

    #[tokio::test]
    async fn a_request_that_comes_in_the_middle_of_a_step_waits_at_once() {
        let step = Duration::from_millis(200);
        let engine = start(MockEngine::new().with_step_time(step), 1);
        let mut first = engine.submit(request(1, 1)).unwrap();
        assert!(matches!(
            first.next().await,
            GenerationEvent::Started { .. }
        ));
        assert_eq!(engine.load(), (1, 0));
        let second = engine.submit(request(1, 1)).unwrap();
        assert_eq!(engine.load(), (1, 1));
        let Err(SubmitError::QueueFull { waiting: 1 }) = engine.submit(request(1, 1)) else {
            panic!("not refused")
        };
        drop((first, second));
    }

    #[tokio::test]
    async fn one_request_more_than_batch_and_queue_hold_is_refused_until_a_place_is_free() {
        let engine = start(
            MockEngine::new().with_step_time(Duration::from_millis(5)),
            1,
        );
        let first = engine.submit(request(1, 50)).unwrap();
        let second = engine.submit(request(1, 50)).unwrap();
        assert!(matches!(
            engine.submit(request(1, 50)),
            Err(SubmitError::QueueFull { .. })
        ));
        drop((first, second));
        while engine.load() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(engine.submit(request(1, 50)).is_ok());
    }

    #[test]
    fn a_request_that_can_never_fit_is_refused_with_the_numbers() {
        let engine = start(MockEngine::new().with_capacity(10, 4), 1);
        let error = engine.submit(request(8, 3)).unwrap_err();
        assert_eq!(
            error,
            SubmitError::TooLong {
                prompt: 8,
                max_tokens: 3,
                context: 10
            }
        );
        assert_eq!(
            engine.submit(request(0, 3)).unwrap_err(),
            SubmitError::EmptyPrompt
        );
    }

    #[tokio::test]
    async fn stopping_fails_what_runs_and_refuses_what_comes() {
        let engine = start(
            MockEngine::new()
                .answering(vec![1; 1000])
                .with_step_time(Duration::from_millis(1)),
            1,
        );
        let mut generation = engine.submit(request(1, 1000)).unwrap();
        generation.next().await;
        engine.stop();
        loop {
            match generation.next().await {
                GenerationEvent::Started { .. } | GenerationEvent::Token { .. } => {}
                GenerationEvent::Failed(error) => {
                    assert!(matches!(error, GenerationError::ShuttingDown));
                    break;
                }
                GenerationEvent::Finished { .. } => panic!("finished"),
            }
        }
        while engine.is_alive(Duration::MAX) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(
            engine.submit(request(1, 1)).unwrap_err(),
            SubmitError::Stopped
        );
    }

    #[tokio::test]
    async fn a_step_that_takes_too_long_is_no_longer_alive() {
        let engine = start(
            MockEngine::new().with_step_time(Duration::from_millis(300)),
            1,
        );
        assert!(engine.is_alive(Duration::from_millis(50)), "idle is alive");
        let _generation = engine.submit(request(1, 5)).unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!engine.is_alive(Duration::from_millis(50)));
        assert!(engine.is_alive(Duration::from_secs(60)));
    }
}
