//! What the scheduler promises, with the mock engine.
use super::*;
use crate::engine::{
    mock::{END_TOKEN, MockEngine},
    places::Places,
    request::Sampling,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

struct Bench {
    scheduler: Scheduler,
    places: Arc<Places>,
}

fn options() -> EngineOptions {
    EngineOptions {
        max_batch_size: 4,
        max_batch_wait: Duration::ZERO,
        max_queue_depth: 100,
        prefill_chunk: 8,
        prefix_caching: true,
    }
}

fn bench(engine: MockEngine, options: EngineOptions) -> Bench {
    let places = Arc::new(Places::new(options.places()));
    Bench {
        scheduler: Scheduler::new(Box::new(engine), vec![END_TOKEN], options),
        places,
    }
}

impl Bench {
    fn submit(&mut self, prompt: usize, max_tokens: usize) -> UnboundedReceiver<GenerationEvent> {
        self.submit_until(None, prompt, max_tokens)
    }

    fn submit_until(
        &mut self,
        deadline: Option<Instant>,
        prompt: usize,
        max_tokens: usize,
    ) -> UnboundedReceiver<GenerationEvent> {
        let (events, receiver) = unbounded_channel();
        let request = GenerationRequest {
            prompt: vec![1; prompt],
            max_tokens,
            deadline,
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
        };
        let place = self.places.take().unwrap();
        self.scheduler.submit(Waiting::new(request, events, place));
        receiver
    }

    /// Requests that have a place.
    fn outstanding(&self) -> usize {
        let occupied = self.places.occupied();
        occupied.running + occupied.waiting
    }

    fn run_to_idle(&mut self) -> usize {
        let mut steps = 0;
        while !self.scheduler.is_idle() {
            self.scheduler.step();
            steps += 1;
            assert!(steps < 10_000, "the scheduler does not come to rest");
        }
        steps
    }
}

fn tokens(receiver: &mut UnboundedReceiver<GenerationEvent>) -> (Vec<u32>, Option<FinishReason>) {
    let mut tokens = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        match event {
            GenerationEvent::Token { id, .. } => tokens.push(id),
            GenerationEvent::Finished { reason, .. } => return (tokens, Some(reason)),
            GenerationEvent::Started { .. } => {}
            GenerationEvent::Failed(_) => return (tokens, None),
        }
    }
    (tokens, None)
}

#[test]
fn an_answer_ends_with_the_models_end_token_which_is_not_reported() {
    let mut bench = bench(MockEngine::new().answering(vec![5, 6, 7]), options());
    let mut receiver = bench.submit(3, 10);
    bench.run_to_idle();
    assert_eq!(
        tokens(&mut receiver),
        (vec![5, 6, 7], Some(FinishReason::Stop))
    );
}

#[test]
fn an_answer_stops_at_its_token_limit() {
    let mut bench = bench(MockEngine::new().answering(vec![5; 50]), options());
    let mut receiver = bench.submit(3, 4);
    bench.run_to_idle();
    assert_eq!(
        tokens(&mut receiver),
        (vec![5; 4], Some(FinishReason::Length))
    );
}

#[test]
fn requests_share_steps_and_a_late_one_joins_in_the_middle() {
    let mut bench = bench(MockEngine::new().answering(vec![5; 20]), options());
    let _first = bench.submit(3, 20);
    assert_eq!(bench.scheduler.step().sequences, 1);
    let _second = bench.submit(3, 20);
    let summary = bench.scheduler.step();
    assert_eq!((summary.sequences, summary.rows), (2, 1 + 3));
}

#[test]
fn a_long_prompt_is_computed_in_chunks_while_others_go_on_decoding() {
    let mut bench = bench(MockEngine::new().answering(vec![5; 30]), options());
    let mut short = bench.submit(1, 30);
    bench.scheduler.step();
    let mut long = bench.submit(20, 1);
    let rows: Vec<_> = (0..3).map(|_| bench.scheduler.step().rows).collect();
    assert_eq!(
        rows,
        [1 + 8, 1 + 8, 1 + 4],
        "chunks of at most 8 beside one decoding row"
    );
    assert_eq!(tokens(&mut short).0.len(), 4);
    assert_eq!(tokens(&mut long), (vec![5], Some(FinishReason::Length)));
}

#[test]
fn requests_beyond_the_batch_wait_in_order_of_arrival() {
    let mut bench = bench(
        MockEngine::new().answering(vec![5, 5]),
        EngineOptions {
            max_batch_size: 1,
            ..options()
        },
    );
    let mut receivers: Vec<_> = (0..3).map(|_| bench.submit(1, 5)).collect();
    let mut finished = Vec::new();
    while !bench.scheduler.is_idle() {
        bench.scheduler.step();
        for (index, receiver) in receivers.iter_mut().enumerate() {
            if tokens(receiver).1.is_some() {
                finished.push(index);
            }
        }
    }
    assert_eq!(finished, [0, 1, 2]);
}

#[test]
fn a_request_waits_until_the_kv_cache_has_room_for_its_longest_answer() {
    let mut bench = bench(
        MockEngine::new()
            .answering(vec![5; 50])
            .with_capacity(100, 3),
        options(),
    );
    let _first = bench.submit(10, 50);
    let _second = bench.submit(10, 50);
    let summary = bench.scheduler.step();
    assert_eq!(
        (summary.running, summary.waiting, summary.kv_used_tokens),
        (1, 1, 64)
    );
    bench.run_to_idle();
    assert_eq!(bench.scheduler.summary().kv_used_tokens, 0);
}

#[test]
fn a_request_whose_client_has_gone_gives_back_its_place_and_its_cache_at_once() {
    let mut bench = bench(MockEngine::new().answering(vec![5; 50]), options());
    let receiver = bench.submit(3, 50);
    bench.scheduler.step();
    assert_eq!(bench.outstanding(), 1);
    drop(receiver);
    bench.scheduler.step();
    assert!(bench.scheduler.is_idle());
    assert_eq!(
        (
            bench.scheduler.summary().kv_used_tokens,
            bench.outstanding()
        ),
        (0, 0)
    );
}

#[test]
fn what_is_set_aside_for_a_step_is_known_before_it_is_computed() {
    let mut bench = bench(MockEngine::new().answering(vec![5; 50]), options());
    let _receiver = bench.submit(3, 50);
    let (batch, begun) = bench.scheduler.begin_step();
    assert_eq!((begun.running, begun.waiting), (1, 0));
    assert!(begun.kv_used_tokens >= 53, "{begun:?}");
    let summary = bench.scheduler.finish_step(&batch, begun);
    assert_eq!(summary, begun, "it goes on");
}

#[test]
fn a_request_that_takes_too_long_ends_whether_it_waits_or_runs() {
    let mut bench = bench(
        MockEngine::new().answering(vec![5; 50]),
        EngineOptions {
            max_batch_size: 1,
            ..options()
        },
    );
    let soon = Some(Instant::now() + Duration::from_millis(300));
    let mut receivers = [soon, soon].map(|deadline| bench.submit_until(deadline, 3, 50));
    assert_eq!(bench.scheduler.step().waiting, 1);
    std::thread::sleep(Duration::from_millis(300));
    bench.scheduler.step();
    assert!(bench.scheduler.is_idle());
    assert_eq!(bench.scheduler.summary().kv_used_tokens, 0);
    assert_eq!(bench.outstanding(), 0);
    for receiver in &mut receivers {
        let events = std::iter::from_fn(|| receiver.try_recv().ok());
        assert!(matches!(
            events.last(),
            Some(GenerationEvent::Failed(GenerationError::DeadlineExceeded))
        ));
    }
}

#[test]
fn a_prompt_that_begins_as_an_earlier_one_did_is_computed_from_where_they_differ() {
    let capacity = |engine: MockEngine| engine.with_capacity(200, 16);
    let mut bench = bench(capacity(MockEngine::new()), options());
    let _first = bench.submit(70, 5);
    bench.run_to_idle();
    let _second = bench.submit(71, 5);
    let summary = bench.scheduler.step();
    assert_eq!(
        (summary.prompt_tokens, summary.cached_prompt_tokens),
        (71, 64)
    );
    assert_eq!(summary.rows, 71 - 64);
    bench.run_to_idle();
    assert_eq!(bench.scheduler.summary().kv_used_tokens, 0);
}

#[test]
fn the_next_turn_of_a_conversation_goes_on_behind_the_answer_before() {
    let engine = MockEngine::new().answering(vec![1; 60]);
    let mut bench = bench(engine.with_capacity(300, 16), options());
    let _first = bench.submit(40, 60);
    bench.run_to_idle();
    // 40 tokens and 60 more, of which the last was picked but never computed: three blocks of 32.
    let _second = bench.submit(110, 5);
    assert_eq!(bench.scheduler.step().cached_prompt_tokens, 96);
}

#[test]
fn what_a_client_heard_before_it_left_is_found_again() {
    let engine = MockEngine::new().answering(vec![1; 200]);
    let mut bench = bench(engine.with_capacity(300, 16), options());
    let first = bench.submit(1, 200);
    for _ in 0..70 {
        bench.scheduler.step();
    }
    drop(first);
    bench.scheduler.step();
    let _second = bench.submit(100, 5);
    assert_eq!(bench.scheduler.step().cached_prompt_tokens, 64);
}

#[test]
fn logits_that_are_no_numbers_fail_their_request_and_its_prompt_is_computed_anew() {
    let mut bench = bench(MockEngine::new().damaging(0), options());
    let mut first = bench.submit(70, 5);
    bench.run_to_idle();
    assert!(matches!(
        first.try_recv(),
        Ok(GenerationEvent::Started { .. })
    ));
    assert!(matches!(
        first.try_recv(),
        Ok(GenerationEvent::Failed(GenerationError::NotANumber))
    ));
    let left = bench.scheduler.summary().kv_used_tokens;
    assert_eq!((left, bench.outstanding()), (0, 0));
    let mut second = bench.submit(70, 5);
    assert_eq!(bench.scheduler.step().cached_prompt_tokens, 0);
    bench.run_to_idle();
    assert_eq!(tokens(&mut second).1, Some(FinishReason::Stop));
}

#[test]
fn a_failed_step_leaves_nothing_to_be_found() {
    let mut bench = bench(
        MockEngine::new().failing_at(0),
        EngineOptions {
            prefill_chunk: 64,
            ..options()
        },
    );
    let _first = bench.submit(40, 5);
    bench.run_to_idle();
    let _second = bench.submit(40, 5);
    assert_eq!(bench.scheduler.step().cached_prompt_tokens, 0);
}

#[test]
fn a_failed_step_fails_its_requests_and_the_next_ones_are_served() {
    let mut bench = bench(MockEngine::new().failing_at(1), options());
    let mut first = bench.submit(3, 10);
    bench.scheduler.step();
    bench.scheduler.step();
    assert!(bench.scheduler.is_idle());
    assert!(matches!(
        first.try_recv(),
        Ok(GenerationEvent::Started { .. })
    ));
    assert!(matches!(
        first.try_recv(),
        Ok(GenerationEvent::Token { .. })
    ));
    assert!(matches!(
        first.try_recv(),
        Ok(GenerationEvent::Failed(GenerationError::Engine(_)))
    ));
    let mut second = bench.submit(3, 10);
    bench.run_to_idle();
    assert_eq!(tokens(&mut second).1, Some(FinishReason::Stop));
}

#[test]
fn the_times_of_a_generation_are_in_order() {
    let engine = MockEngine::new().with_step_time(Duration::from_millis(1));
    let mut bench = bench(engine, options());
    let mut receiver = bench.submit(3, 10);
    bench.run_to_idle();
    let mut times = Vec::new();
    while let Ok(event) = receiver.try_recv() {
        match event {
            GenerationEvent::Started { queued, first_step } => times.extend([queued, first_step]),
            GenerationEvent::Token { at, .. } | GenerationEvent::Finished { at, .. } => {
                times.push(at);
            }
            GenerationEvent::Failed(error) => panic!("{error}"),
        }
    }
    assert_eq!(times.len(), 5, "queued, first step, two tokens, the end");
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[2] - times[1] >= Duration::from_millis(1));
}
