//! What the load generator does with targets of all kinds, and when something goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    unreachable_pub,
    reason = "tests may stop at the first surprise, and share modules"
)]
mod common;
mod stand_in;

use candlepower_api::value::Percentage;
use candlepower_bench::{
    figures::Figures,
    load::{
        self, CancellationToken, Error,
        health::problems,
        plan::Load,
        search::{By, Search},
        trace::TracedRequest,
    },
    record::{ErrorClass, Outcome, Run, ScenarioRun},
};
use common::{alone, only, plan, run, run_until, scenario, successes, users};
use stand_in::{StandIn, laws::Laws};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

fn steady() -> Laws {
    Laws {
        first_token: Duration::from_millis(20),
        per_token: Duration::from_millis(5),
        ..Laws::default()
    }
}

fn classes(scenario: &ScenarioRun) -> BTreeSet<ErrorClass> {
    let outcomes = scenario.requests.iter().map(|one| &one.outcome);
    outcomes
        .filter_map(|outcome| match outcome {
            Outcome::Failed { class, .. } => Some(*class),
            _ => None,
        })
        .collect()
}

#[test]
fn users_start_one_after_the_other_at_their_rate() {
    let _alone = alone();
    // No user asks twice before the window ends.
    let server = StandIn::start(Laws {
        first_token: Duration::from_millis(600),
        ..Laws::default()
    });
    let load = Load::Users {
        users: 4,
        spawn_rate: 10,
    };
    let run = only(run(&plan(server.url(), 1, vec![scenario("a", load, 500)])).unwrap());
    let mut due: Vec<_> = run
        .requests
        .iter()
        .filter(|one| one.due < run.window.1)
        .map(|one| one.due - run.started)
        .collect();
    due.sort_unstable();
    // Times are cut to whole microseconds.
    let by_rate = [0, 100_000, 200_000, 300_000];
    assert_eq!(due.len(), by_rate.len(), "{due:?}");
    let near = |(due, by_rate): (&u64, u64)| due.abs_diff(by_rate) <= 1;
    assert!(due.iter().zip(by_rate).all(near), "{due:?}");
}

#[test]
fn prompts_have_exactly_the_tokens_that_the_server_counts() {
    let _alone = alone();
    let server = StandIn::start(steady());
    let run = run(&plan(server.url(), 4, vec![scenario("a", users(4), 800)])).unwrap();
    assert!(
        run.prompt_lengths.starts_with("exact"),
        "{}",
        run.prompt_lengths
    );
    assert!(
        run.output_lengths.contains("ignore_eos"),
        "{}",
        run.output_lengths
    );
    let scenario = only(run);
    let mut lengths = BTreeSet::new();
    for one in successes(&scenario) {
        assert_eq!(one.prompt_tokens, Some(one.asked_prompt_tokens));
        assert_eq!(one.output_tokens, Some(4));
        lengths.insert(one.asked_prompt_tokens);
    }
    assert_eq!(lengths, BTreeSet::from([32, 64]));
}

#[test]
fn a_strict_server_gets_no_foreign_fields_and_its_short_answers_are_counted() {
    let _alone = alone();
    let laws = Laws {
        strict: true,
        natural_length: Some(3),
        ..steady()
    };
    let server = StandIn::start(laws);
    let run = run(&plan(server.url(), 50, vec![scenario("a", users(2), 500)])).unwrap();
    assert!(
        run.output_lengths.contains("may be shorter"),
        "{}",
        run.output_lengths
    );
    let scenario = only(run);
    assert!(successes(&scenario).count() > 5);
    assert!(successes(&scenario).all(|one| one.output_tokens == Some(3)));
}

#[test]
fn a_server_without_streaming_has_throughput_and_no_ttft() {
    let _alone = alone();
    let laws = Laws {
        streaming: false,
        ..steady()
    };
    let server = StandIn::start(laws);
    let scenario = only(run(&plan(server.url(), 5, vec![scenario("a", users(2), 800)])).unwrap());
    let figures = Figures::of(&scenario);
    assert!(figures.succeeded > 10 && figures.failed == 0, "{figures:?}");
    assert_eq!((figures.ttft, figures.tpot), (None, None));
    assert!(figures.output_tokens_per_second > 50.0, "{figures:?}");
}

#[test]
fn a_server_without_usage_has_prompts_in_words_and_tokens_by_pieces() {
    let _alone = alone();
    let laws = Laws {
        usage: false,
        ..steady()
    };
    let server = StandIn::start(laws);
    let run = run(&plan(server.url(), 5, vec![scenario("a", users(2), 500)])).unwrap();
    assert!(
        run.prompt_lengths.starts_with("in words"),
        "{}",
        run.prompt_lengths
    );
    let figures = Figures::of(&only(run));
    assert_eq!(figures.without_usage, figures.ttft.unwrap().count);
}

#[test]
fn failures_are_recorded_by_class_and_the_run_goes_on() {
    let _alone = alone();
    let laws = Laws {
        error_rate: 0.2,
        break_rate: 0.2,
        ..steady()
    };
    let server = StandIn::start(laws);
    let scenario = only(run(&plan(server.url(), 6, vec![scenario("a", users(8), 1_500)])).unwrap());
    let expected = BTreeSet::from([ErrorClass::Server, ErrorClass::BrokenStream]);
    assert_eq!(classes(&scenario), expected);
    assert!(successes(&scenario).count() > 20);
    let broken = scenario.requests.iter().filter(|one| {
        matches!(
            &one.outcome,
            Outcome::Failed {
                class: ErrorClass::BrokenStream,
                ..
            }
        )
    });
    for one in broken {
        assert_eq!(one.tokens.len(), 3, "what came before the break is kept");
    }
    let said = scenario.requests.iter().any(|one| {
        matches!(&one.outcome, Outcome::Failed { status: Some(500), message, .. }
            if message == "failed as the laws say")
    });
    assert!(said, "the server's own words are kept");
}

#[test]
fn a_server_that_closes_connections_without_a_word_loses_no_request() {
    let _alone = alone();
    let laws = Laws {
        one_answer_a_connection: true,
        ..steady()
    };
    let server = StandIn::start(laws);
    let scenario = only(run(&plan(server.url(), 4, vec![scenario("a", users(2), 800)])).unwrap());
    assert_eq!(classes(&scenario), BTreeSet::new());
    assert!(successes(&scenario).count() > 10);
}

#[test]
fn a_full_queue_is_overload() {
    let _alone = alone();
    let laws = Laws {
        slots: 1,
        queue: 1,
        ..steady()
    };
    let server = StandIn::start(laws);
    let scenario = only(run(&plan(server.url(), 10, vec![scenario("a", users(6), 800)])).unwrap());
    assert_eq!(classes(&scenario), BTreeSet::from([ErrorClass::Overloaded]));
}

#[test]
fn a_target_that_dies_in_the_middle_is_a_record_and_no_crash() {
    let _alone = alone();
    let mut server = StandIn::start(steady());
    let plan = plan(server.url(), 20, vec![scenario("a", users(4), 1_500)]);
    let killing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        server.die();
    });
    let scenario = only(run(&plan).unwrap());
    killing.join().unwrap();
    assert!(successes(&scenario).count() > 4);
    let expected = BTreeSet::from([ErrorClass::Connect, ErrorClass::BrokenStream]);
    assert_eq!(classes(&scenario), expected);
    let failed = scenario.requests.len() - successes(&scenario).count();
    assert!(
        failed < 60,
        "a dead target is not hammered: {failed} failures"
    );
}

#[test]
fn a_request_that_takes_too_long_is_a_timeout() {
    let _alone = alone();
    let laws = Laws {
        stall: Some((2, Duration::from_secs(60))),
        ..steady()
    };
    let server = StandIn::start(laws);
    let mut plan = plan(server.url(), 5, vec![scenario("a", users(2), 800)]);
    plan.timeout = Duration::from_millis(150);
    let scenario = only(run(&plan).unwrap());
    assert_eq!(classes(&scenario), BTreeSet::from([ErrorClass::Timeout]));
}

#[test]
fn what_is_unfinished_after_the_cool_down_is_cut_off_and_is_no_error() {
    let _alone = alone();
    let laws = Laws {
        first_token: Duration::from_millis(10),
        per_token: Duration::from_millis(50),
        ..Laws::default()
    };
    let server = StandIn::start(laws);
    let mut short = scenario("a", users(3), 500);
    short.cool_down = Duration::from_millis(100);
    let scenario = only(run(&plan(server.url(), 1_000, vec![short])).unwrap());
    assert_eq!(scenario.requests.len(), 3);
    for one in &scenario.requests {
        assert_eq!(one.outcome, Outcome::Cancelled);
        assert!(one.tokens.len() > 5, "its tokens are kept");
    }
    let figures = Figures::of(&scenario);
    assert_eq!(
        (figures.failed, figures.cancelled, figures.error_rate),
        (0, 3, None)
    );
    assert!(
        figures.output_tokens_per_second > 30.0,
        "and count: {figures:?}"
    );
}

#[test]
fn an_interrupted_run_ends_at_once_and_keeps_what_there_is() {
    let _alone = alone();
    let server = StandIn::start(steady());
    let two = ["a", "b"].map(|name| scenario(name, users(2), 60_000));
    let cancel = CancellationToken::new();
    let later = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(900));
        later.cancel();
    });
    let began = Instant::now();
    let run = run_until(&plan(server.url(), 5, two.to_vec()), cancel).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(run.stopped.as_deref(), Some("the run was interrupted"));
    assert!(successes(&only(run)).count() > 5);
}

#[test]
fn too_many_failures_end_the_run() {
    let _alone = alone();
    let laws = Laws {
        error_rate: 0.9,
        ..steady()
    };
    let server = StandIn::start(laws);
    let two = ["a", "b"].map(|name| scenario(name, users(20), 30_000));
    let mut plan = plan(server.url(), 5, two.to_vec());
    plan.stop_when = Some(Percentage::of_hundred(50.0));
    let run = run(&plan).unwrap();
    assert_eq!(
        run.scenarios.len(),
        1,
        "the second one is not worth running"
    );
    let why = run.stopped.unwrap();
    assert!(why.contains("of requests failed"), "{why}");
}

#[test]
fn a_key_that_is_wrong_is_said_before_any_load() {
    let _alone = alone();
    let laws = Laws {
        api_key: Some("right".to_owned()),
        ..steady()
    };
    let server = StandIn::start(laws);
    let mut plan = plan(server.url(), 5, vec![scenario("a", users(1), 400)]);
    let error = run(&plan).unwrap_err();
    assert!(matches!(error, Error::Target(_)), "{error}");
    assert!(error.to_string().contains("wrong key"), "{error}");
    plan.target.api_key = Some("right".to_owned());
    assert!(run(&plan).is_ok());
}

#[test]
fn a_target_that_is_not_there_and_prompts_that_cannot_be_are_errors() {
    let _alone = alone();
    let nobody = plan(
        "http://127.0.0.1:9".to_owned(),
        5,
        vec![scenario("a", users(1), 400)],
    );
    let error = run(&nobody).unwrap_err().to_string();
    assert!(error.contains("did not answer"), "{error}");
    let server = StandIn::start(steady());
    let mut short = plan(server.url(), 5, vec![scenario("a", users(1), 400)]);
    short.workload.prompts[0].tokens = 3;
    let error = run(&short).unwrap_err();
    let short = matches!(
        error,
        Error::Target(load::target::Error::PromptTooShort { least: 13, .. })
    );
    assert!(short, "{error}");
}

#[test]
fn a_replay_keeps_the_traces_times_and_lengths() {
    let _alone = alone();
    let server = StandIn::start(steady());
    let one = |time, prompt_tokens, output_tokens| TracedRequest {
        time,
        prompt_tokens,
        output_tokens,
    };
    let trace = vec![one(0.0, 40, 3), one(0.25, 90, 7), one(0.25, 41, 2)];
    let mut replay = scenario("a", Load::Replay(trace.clone().into()), 400);
    replay.warm_up = Duration::ZERO;
    let scenario = only(run(&plan(server.url(), 5, vec![replay])).unwrap());
    let mut requests = scenario.requests.clone();
    requests.sort_by_key(|one| one.index);
    assert_eq!(requests.len(), 3);
    for (one, traced) in requests.iter().zip(&trace) {
        assert_eq!(one.prompt_tokens, Some(traced.prompt_tokens));
        assert_eq!(one.output_tokens, Some(traced.output_tokens));
        let due = (one.due - scenario.started) as f64 / 1e6;
        assert!((due - traced.time).abs() < 1e-3, "{due}");
    }
}

#[test]
fn the_search_finds_the_load_at_which_requests_begin_to_wait() {
    let _alone = alone();
    // Four at a time, each some 90 ms and no two in step: with a fifth user, each waits for the next place.
    let laws = Laws {
        slots: 4,
        first_token: Duration::from_millis(50),
        per_token: Duration::from_millis(40),
        jitter: 0.6,
        ..Laws::default()
    };
    let server = StandIn::start(laws);
    let mut plan = plan(server.url(), 2, vec![]);
    plan.search = Some(Search {
        by: By::Users,
        from: 1.0,
        to: 64.0,
        duration: Duration::from_millis(1_500),
        warm_up: Duration::from_millis(700),
        cool_down: Duration::from_secs(3),
        objectives: vec!["ttft-p50=57ms".parse().unwrap()],
    });
    // A load that a busy machine could not apply counts as missed: try again.
    let busy = |run: &Run| {
        let mut health = run.scenarios.iter().map(|one| &one.generator);
        health.any(|one| !problems(one).is_empty())
    };
    let run = (0..5)
        .map(|_| run(&plan).unwrap())
        .find(|run| !busy(run))
        .expect("a machine that has time for one of five searches");
    let knee = run.knee.clone().unwrap();
    let tried: Vec<_> = run.scenarios.iter().map(|one| one.name.clone()).collect();
    assert_eq!(
        knee.scenario.as_deref(),
        Some("search-users-4"),
        "{tried:?}"
    );
    assert!(knee.goodput > 30.0 && knee.goodput < 46.0, "{knee:?}");
}
