//! The figures of a run against what the stand-in server's own log says it really did.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    unreachable_pub,
    reason = "tests may stop at the first surprise, and share modules"
)]
mod common;
mod stand_in;

use candlepower_bench::{
    figures::{Figures, tpot, ttft},
    record::ScenarioRun,
};
use common::{
    alone, only, plan, run, scenario, successes,
    truth::{LIMIT, Row, Truth, Unit, laws},
    users,
};
use stand_in::{StandIn, laws::Laws};
use std::time::Duration;

/// A machine that is busy with something else holds a request up now and then; a false figure is false each time.
const ATTEMPTS: usize = 5;

/// Within 2% or 1 ms.
fn close(what: &str, measured: u64, truth: u64) -> Result<(), String> {
    let row = Row {
        what: what.to_owned(),
        unit: Unit::Micros,
        measured: measured as f64,
        truth: truth as f64,
    };
    row.check()
}

/// Tries until the figures are right. The generator's health can't excuse a difference: one hold-up that struck one
/// request is in no percentile of it.
fn right_once(attempt: impl Fn() -> (ScenarioRun, Result<(), String>)) {
    let mut differences = Vec::new();
    for _ in 0..ATTEMPTS {
        let (run, result) = attempt();
        let Err(difference) = result else {
            return;
        };
        differences.push(format!("{difference}; {:?}", run.generator));
    }
    panic!("false each time:\n{}", differences.join("\n"));
}

#[test]
fn latencies_percentiles_throughput_goodput_and_errors_are_those_of_the_servers_log() {
    let _alone = alone();
    right_once(|| {
        let server = StandIn::start(laws());
        let plan = plan(server.url(), 16, vec![scenario("a", users(30), 6_000)]);
        let run = only(run(&plan).unwrap());
        let result = compare(&server, &run);
        (run, result)
    });
}

fn compare(server: &StandIn, run: &ScenarioRun) -> Result<(), String> {
    let (truth, figures) = (Truth::of(server, run), Figures::of(run));
    assert!(figures.succeeded > 150, "{figures:?}");
    let errors = figures.error_rate.unwrap();
    assert!(errors > 0.05 && errors < 0.2, "by law one of ten: {errors}");
    let rows = truth.rows(run, LIMIT);
    let good = rows.iter().find(|row| row.what == "goodput").unwrap();
    assert!(
        good.measured > 0.0 && good.measured < figures.requests_per_second,
        "the limit divides them"
    );
    rows.iter().try_for_each(Row::check)
}

#[test]
fn shares_of_critical_paths_are_those_of_the_servers_log() {
    let _alone = alone();
    let server = StandIn::start(laws());
    let plan = plan(server.url(), 16, vec![scenario("a", users(30), 2_000)]);
    let run = only(run(&plan).unwrap());
    let shares = Truth::of(&server, &run).shares();
    let queue = &shares[0];
    assert!(queue.truth > 0.05, "requests waited: {queue:?}");
    for row in shares {
        row.check().unwrap();
    }
}

#[test]
fn the_servers_laws_are_kept_by_what_is_measured() {
    let _alone = alone();
    right_once(|| {
        let laws = Laws {
            first_token: Duration::from_millis(40),
            prefill_per_token: Duration::from_millis(1),
            per_token: Duration::from_millis(10),
            ..Laws::default()
        };
        let server = StandIn::start(laws);
        let plan = plan(server.url(), 11, vec![scenario("a", users(4), 3_000)]);
        let run = only(run(&plan).unwrap());
        let result = successes(&run).try_for_each(|one| {
            let prefill = 40_000 + 1_000 * u64::from(one.asked_prompt_tokens);
            // Timers of the server have whole milliseconds.
            let first = ttft(one, one.sent).unwrap();
            if !(prefill..prefill + 4_000).contains(&first) {
                return Err(format!("TTFT {first} µs, by law {prefill} µs"));
            }
            let each = tpot(one).unwrap();
            if (each - 10_000.0).abs() > 400.0 {
                return Err(format!("TPOT {each} µs, by law 10000 µs"));
            }
            Ok(())
        });
        (run, result)
    });
}

#[test]
fn open_arrivals_show_the_whole_wait_of_a_server_that_cannot_keep_up() {
    let _alone = alone();
    right_once(|| {
        // 100 ms a request, one at a time, and 20 requests a second: the wait grows by 50 ms each.
        let laws = Laws {
            slots: 1,
            first_token: Duration::from_millis(100),
            ..Laws::default()
        };
        let server = StandIn::start(laws);
        let load = candlepower_bench::load::plan::Load::Constant { rate: 20.0 };
        let mut slow = scenario("a", load, 2_000);
        slow.warm_up = Duration::ZERO;
        let run = only(run(&plan(server.url(), 1, vec![slow])).unwrap());
        let mut by_due: Vec<_> = run.measured().collect();
        assert_eq!(by_due.len(), 40, "all were sent, whatever the server did");
        assert!(
            run.requests.len() > 60,
            "others arrived while they were waited for"
        );
        by_due.sort_by_key(|one| one.index);
        let result = by_due.iter().enumerate().try_for_each(|(place, one)| {
            let due = one.due - run.started;
            close("due", due, place as u64 * 50_000)?;
            // The server's timers make each take up to 1 ms more than its law.
            let waited = one.finished - one.due;
            let least = 100_000 + place as u64 * 50_000;
            let most = least + 2_000 * (place as u64 + 2);
            if (least..most).contains(&waited) {
                return Ok(());
            }
            Err(format!(
                "request {place} waited {waited} µs, by law {least} µs"
            ))
        });
        (run, result)
    });
}

#[test]
fn the_batch_effect_shows_in_tpot() {
    let _alone = alone();
    right_once(|| {
        let laws = Laws {
            per_token: Duration::from_millis(5),
            batch_effect: 0.1,
            ..Laws::default()
        };
        let server = StandIn::start(laws);
        let levels = [1, 11].map(|count| scenario(&format!("{count}"), users(count), 2_000));
        let both = run(&plan(server.url(), 20, levels.to_vec())).unwrap();
        let means: Vec<_> = both
            .scenarios
            .iter()
            .map(|one| Figures::of(one).tpot.unwrap().mean)
            .collect();
        let ratio = means[1] / means[0];
        let result = if (1.8..2.1).contains(&ratio) {
            Ok(())
        } else {
            Err(format!("eleven requests take {ratio} times as long as one"))
        };
        (both.scenarios.into_iter().nth(1).unwrap(), result)
    });
}
