//! What the scheduler promises whatever comes: nothing leaks, nobody starves, and an answer depends
//! on nothing beside it.
use super::*;
use crate::engine::{
    batch::{EngineError, EngineLimits},
    places::{Occupied, Places},
    request::Sampling,
};
use proptest::{prelude::*, sample::Index};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc::{UnboundedReceiver, WeakUnboundedSender, unbounded_channel};

const CONTEXT: usize = 190;
const VOCABULARY: u32 = 24;
const END: u32 = VOCABULARY - 1;

/// An engine that answers by what its KV cache holds: a token that lies in the wrong place, or in
/// nobody's, changes what follows.
struct Reader {
    limits: EngineLimits,
    /// The token in each slot.
    cache: Vec<Option<u32>>,
    /// The last step.
    seen: Arc<Mutex<Batch>>,
}

/// The token after `history`.
fn next(history: impl Iterator<Item = u32>) -> u32 {
    let hash = history.fold(0xCBF2_9CE4_8422_2325_u64, |hash, token| {
        (hash ^ u64::from(token)).wrapping_mul(0x0100_0000_01B3)
    });
    u32::try_from((hash >> 32) % u64::from(VOCABULARY)).unwrap()
}

/// What a request has to be answered with.
fn expected(prompt: &[u32], max_tokens: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    while tokens.len() < prompt.len() + max_tokens {
        match next(tokens.iter().copied()) {
            END => break,
            token => tokens.push(token),
        }
    }
    tokens.split_off(prompt.len())
}

impl Engine for Reader {
    fn limits(&self) -> EngineLimits {
        self.limits
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut written = Vec::new();
        for part in &batch.sequences {
            for row in part.rows.clone() {
                let slot = part.slot(batch.positions[row] as usize).unwrap();
                self.cache[slot] = Some(batch.tokens[row]);
                written.push(slot);
            }
        }
        let rows = written.len();
        written.sort_unstable();
        written.dedup();
        assert_eq!(written.len(), rows, "two rows in one slot");
        *self.seen.lock().unwrap() = batch.clone();
        let wanting = batch.sequences.iter().filter(|part| part.wants_logits);
        Ok(wanting
            .map(|part| {
                let last = batch.positions[part.rows.end - 1] as usize;
                let token = next((0..=last).map(|position| {
                    let slot = part.slot(position).unwrap();
                    self.cache[slot].expect("a slot that was never written")
                }));
                let mut logits = vec![0.0; VOCABULARY as usize];
                logits[token as usize] = 1.0;
                logits
            })
            .collect())
    }
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// A prompt of a family, of so many tokens, with an answer of up to so many.
    Submit {
        family: u32,
        prompt: usize,
        max_tokens: usize,
    },
    /// A client goes.
    Cancel(Index),
    /// A request's deadline is over.
    Expire(Index),
    Step,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..3_u32, 1..140_usize, 1..50_usize).prop_map(|(family, prompt, max_tokens)| {
            Event::Submit { family, prompt, max_tokens }
        }),
        1 => any::<Index>().prop_map(Event::Cancel),
        1 => any::<Index>().prop_map(Event::Expire),
        5 => Just(Event::Step),
    ]
}

fn options() -> impl Strategy<Value = (EngineOptions, usize)> {
    let options = (1..7_usize, 1..80_usize, prop::bool::weighted(0.8)).prop_map(
        |(max_batch_size, prefill_chunk, prefix_caching)| EngineOptions {
            max_batch_size,
            max_batch_wait: Duration::ZERO,
            max_queue_depth: 1000,
            prefill_chunk,
            prefix_caching,
        },
    );
    (options, 6..30_usize)
}

/// A request as its client knows it.
struct Client {
    prompt: Vec<u32>,
    max_tokens: usize,
    /// Gone where nobody listens any more.
    events: Option<UnboundedReceiver<GenerationEvent>>,
    sender: WeakUnboundedSender<GenerationEvent>,
    heard: Vec<u32>,
    started: bool,
    ended: bool,
    expired: bool,
    /// Steps since it came.
    waited: usize,
    /// Steps within which it has to start: those that requests before it may take.
    patience: usize,
}

impl Client {
    fn is_there(&self) -> bool {
        self.events.is_some() && !self.ended
    }

    fn listen(&mut self) {
        while let Some(event) = self
            .events
            .as_mut()
            .and_then(|events| events.try_recv().ok())
        {
            match event {
                GenerationEvent::Started { .. } => self.started = true,
                GenerationEvent::Token { id, .. } => self.heard.push(id),
                GenerationEvent::Finished { .. } => self.ended = true,
                GenerationEvent::Failed(GenerationError::DeadlineExceeded) => {
                    assert!(self.expired);
                    self.ended = true;
                }
                GenerationEvent::Failed(error) => panic!("{error}"),
            }
        }
    }
}

struct World {
    scheduler: Scheduler,
    places: Arc<Places>,
    seen: Arc<Mutex<Batch>>,
    clients: Vec<Client>,
}

impl World {
    fn new(options: EngineOptions, kv_blocks: usize) -> Self {
        let limits = EngineLimits {
            context_length: CONTEXT,
            kv_blocks,
            vocabulary: VOCABULARY as usize,
        };
        let seen = Arc::default();
        let engine = Reader {
            limits,
            cache: vec![None; limits.kv_cache_tokens()],
            seen: Arc::clone(&seen),
        };
        Self {
            places: Arc::new(Places::new(options.places())),
            scheduler: Scheduler::new(Box::new(engine), vec![END], options),
            seen,
            clients: Vec::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Submit {
                family,
                prompt,
                max_tokens,
            } => self.submit(*family, *prompt, *max_tokens),
            Event::Cancel(index) if !self.clients.is_empty() => {
                let index = index.index(self.clients.len());
                self.clients[index].events = None;
            }
            Event::Expire(index) if !self.clients.is_empty() => {
                self.expire(index.index(self.clients.len()));
            }
            Event::Cancel(_) | Event::Expire(_) => {}
            Event::Step => self.step(),
        }
        self.count();
    }

    /// All that were submitted wait, run or have ended.
    fn count(&self) {
        let Occupied { running, waiting } = self.places.occupied();
        let here = [self.scheduler.running.len(), self.scheduler.waiting.len()];
        assert_eq!([running, waiting], here);
        // The scheduler alone holds what tells a client of its answer.
        let senders = self.clients.iter().map(|client| &client.sender);
        let ended = senders.filter(|sender| sender.strong_count() == 0).count();
        assert_eq!(self.clients.len(), waiting + running + ended);
    }

    fn expire(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some(sender) = client.sender.upgrade() else {
            return;
        };
        client.expired = true;
        let now = Some(Instant::now());
        for waiting in &mut self.scheduler.waiting {
            if waiting.events.same_channel(&sender) {
                waiting.request.deadline = now;
            }
        }
        for running in &mut self.scheduler.running {
            if running.events.same_channel(&sender) {
                running.deadline = now;
            }
        }
    }

    fn submit(&mut self, family: u32, length: usize, max_tokens: usize) {
        let prompt: Vec<_> = (0..length as u64)
            .map(|index| next([family, u32::try_from(index / 20).unwrap()].into_iter()))
            .collect();
        let (sender, events) = unbounded_channel();
        let request = GenerationRequest {
            prompt: prompt.clone(),
            max_tokens,
            deadline: None,
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
        };
        let place = self.places.take().unwrap();
        let weak = sender.downgrade();
        self.scheduler.submit(Waiting::new(request, sender, place));
        let before = self.clients.iter().filter(|client| client.is_there());
        let work = before.map(|client| client.prompt.len() + client.max_tokens);
        let patience = work.sum::<usize>() + 1;
        self.clients.push(Client {
            patience,
            prompt,
            max_tokens,
            events: Some(events),
            sender: weak,
            heard: Vec::new(),
            started: false,
            ended: false,
            expired: false,
            waited: 0,
        });
    }

    fn step(&mut self) {
        *self.seen.lock().unwrap() = Batch::default();
        self.scheduler.drop_given_up();
        let decoding: Vec<_> = self
            .scheduler
            .running
            .iter()
            .filter(|sequence| sequence.generated > 0)
            .map(|sequence| sequence.id)
            .collect();
        let summary = self.scheduler.step();
        let batch = self.seen.lock().unwrap().clone();
        let rows_of = |id| {
            let part = batch.sequences.iter().find(|part| part.id == id);
            part.map_or(0, |part| part.rows.len())
        };
        for id in &decoding {
            assert_eq!(rows_of(*id), 1, "prompts hold up an answer");
        }
        assert!(batch.rows() - decoding.len() <= self.scheduler.options.prefill_chunk);
        let prompts = batch
            .sequences
            .iter()
            .any(|part| !decoding.contains(&part.id));
        let waits = self.scheduler.running.iter().any(|one| one.generated == 0);
        assert!(prompts || !waits, "answers hold up a prompt");
        assert!(summary.kv_used_tokens <= summary.kv_total_tokens);
        self.listen();
    }

    fn listen(&mut self) {
        for client in &mut self.clients {
            client.waited += 1;
            client.listen();
            assert!(
                client.started || !client.is_there() || client.waited <= client.patience,
                "it has waited for {} steps",
                client.waited
            );
        }
        let there = self.clients.iter().filter(|client| client.is_there());
        let mut behind = there.skip_while(|client| client.started);
        assert!(
            behind.all(|client| !client.started),
            "a later request went before an earlier one"
        );
    }

    fn finish(mut self) {
        for _ in 0..10_000 {
            if self.scheduler.is_idle() {
                break;
            }
            self.step();
        }
        assert!(self.scheduler.is_idle(), "it does not come to rest");
        assert_eq!(self.scheduler.summary().kv_used_tokens, 0);
        assert_eq!(self.places.occupied(), Occupied::default());
        for client in &self.clients {
            let expected = expected(&client.prompt, client.max_tokens);
            assert!(expected.starts_with(&client.heard));
            if client.events.is_some() {
                assert!(client.ended);
                assert!(client.expired || client.heard == expected);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_leaks_nobody_starves_and_every_answer_is_its_own(
        (options, kv_blocks) in options(),
        events in prop::collection::vec(event(), 1..250),
    ) {
        let mut world = World::new(options, kv_blocks);
        for event in &events {
            world.apply(event);
        }
        world.finish();
    }
}
