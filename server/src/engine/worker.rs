//! The engine's own thread: takes requests from the queue and computes steps until told to stop.
use super::{
    batch::{Engine, EngineLimits},
    handle::EngineOptions,
    places::Places,
    request::GenerationError,
    scheduler::{Scheduler, StepObserver, StepSummary, Waiting},
};
use crate::panics;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Generate.
    Submit(Box<Waiting>),
    /// Fail what is left and end.
    Stop,
}

/// What the thread and its handles both see.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: EngineLimits,
    pub(super) places: Arc<Places>,
    started: Instant,
    /// Milliseconds from `started` to the beginning of the current step; [`IDLE`] between steps.
    step_began: AtomicU64,
    ended: CancellationToken,
    /// What the thread ended with, where that was a panic.
    panic: OnceLock<String>,
}

const IDLE: u64 = u64::MAX;

impl Shared {
    pub(super) fn new(limits: EngineLimits, options: &EngineOptions) -> Self {
        Self {
            limits,
            places: Arc::new(Places::new(options.places())),
            started: Instant::now(),
            step_began: AtomicU64::new(IDLE),
            ended: CancellationToken::new(),
            panic: OnceLock::new(),
        }
    }

    pub(super) fn is_alive(&self, patience: Duration) -> bool {
        if self.ended.is_cancelled() {
            return false;
        }
        match self.step_began.load(Ordering::Acquire) {
            IDLE => true,
            began => {
                self.started
                    .elapsed()
                    .saturating_sub(Duration::from_millis(began))
                    < patience
            }
        }
    }

    /// Completes when the thread ends; with the message of the panic, if it was one.
    pub(super) async fn end(&self) -> Option<String> {
        self.ended.cancelled().await;
        self.panic.get().cloned()
    }

    fn mark_step(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(IDLE - 1);
        self.step_began.store(now, Ordering::Release);
    }

    fn mark_idle(&self) {
        self.step_began.store(IDLE, Ordering::Release);
    }
}

/// Starts the thread.
pub(super) fn spawn(
    engine: Box<dyn Engine>,
    end_tokens: Vec<u32>,
    options: EngineOptions,
    observer: Arc<dyn StepObserver>,
) -> io::Result<(Sender<Command>, Arc<Shared>)> {
    let shared = Arc::new(Shared::new(engine.limits(), &options));
    let (sender, commands) = channel();
    let worker = Worker {
        scheduler: Scheduler::new(engine, end_tokens, options),
        commands,
        max_batch_wait: options.max_batch_wait,
        observer,
        shared: Arc::clone(&shared),
    };
    thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || worker.run())?;
    Ok((sender, shared))
}

struct Worker {
    scheduler: Scheduler,
    commands: Receiver<Command>,
    max_batch_wait: Duration,
    observer: Arc<dyn StepObserver>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) {
        // A panic in the backend must not leave clients waiting. What it left behind is not to be
        // trusted, so nothing of the scheduler runs again: `ended` turns liveness off, and the
        // events' senders are dropped with the scheduler, which fails their requests.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.serve()));
        if let Err(panic) = &outcome {
            let panic = panics::message(&**panic);
            tracing::error!(panic, "the engine has panicked and cannot go on");
            // Said once, at the thread's only end.
            let _ = self.shared.panic.set(panic.to_owned());
        }
        self.shared.ended.cancel();
        self.observer.step(&StepSummary::default());
    }

    fn serve(&mut self) {
        loop {
            if self.scheduler.is_idle() {
                self.shared.mark_idle();
                self.observe(&self.scheduler.summary());
                if !self.wait_for_work() {
                    return;
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                if !self.obey(command) {
                    return;
                }
            }
            self.shared.mark_step();
            self.observer.before_step();
            let (batch, begun) = self.scheduler.begin_step();
            self.observer.admitted(&begun);
            let summary = self.scheduler.finish_step(&batch, begun);
            self.observe(&summary);
        }
    }

    /// Sleeps until there is a request, then gives others a moment to share its first step.
    /// Returns whether to go on.
    fn wait_for_work(&mut self) -> bool {
        let Ok(command) = self.commands.recv() else {
            return false;
        };
        if !self.obey(command) {
            return false;
        }
        let deadline = Instant::now() + self.max_batch_wait;
        while !self.scheduler.has_full_batch() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match self.commands.recv_timeout(left) {
                Ok(command) => {
                    if !self.obey(command) {
                        return false;
                    }
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
        true
    }

    /// Returns whether to go on.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Submit(waiting) => {
                self.scheduler.submit(*waiting);
                true
            }
            Command::Stop => {
                self.scheduler.fail_all(&GenerationError::ShuttingDown);
                false
            }
        }
    }

    /// Reports a step, with the requests that came while it was computed: the scheduler does not know
    /// of them yet.
    fn observe(&self, summary: &StepSummary) {
        self.observer.step(&StepSummary {
            waiting: self.shared.places.occupied().waiting,
            ..*summary
        });
    }
}
