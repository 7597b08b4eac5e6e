//! What tests of the load generator share.
#![allow(dead_code, reason = "each test program uses some of it")]
pub mod truth;

use candlepower_api::benchmark::{PromptMix, Workload};
use candlepower_bench::{
    load::{
        self, CancellationToken,
        plan::{Load, Plan, ScenarioPlan, TIMEOUT, Target, Trust},
    },
    record::{RequestRecord, Run, ScenarioRun},
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Times are measured: one test at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn users(users: u32) -> Load {
    Load::Users {
        users,
        spawn_rate: users * 5,
    }
}

/// A scenario of so many milliseconds, a fifth of it warm-up.
pub fn scenario(name: &str, load: Load, milliseconds: u64) -> ScenarioPlan {
    let duration = Duration::from_millis(milliseconds);
    ScenarioPlan {
        name: name.to_owned(),
        load,
        duration,
        warm_up: duration / 5,
        cool_down: Duration::from_secs(5),
    }
}

/// A plan with short prompts and answers of `output_tokens`.
pub fn plan(url: String, output_tokens: i32, scenarios: Vec<ScenarioPlan>) -> Plan {
    let mix = |tokens, weight| PromptMix { tokens, weight };
    Plan {
        target: Target {
            url,
            model: None,
            api_key: None,
            trust: Trust::default(),
        },
        workload: Workload {
            prompts: vec![mix(32, 50), mix(64, 50)],
            output_tokens,
            ..Workload::default()
        },
        scenarios,
        search: None,
        texts: 0,
        stop_when: None,
        timeout: TIMEOUT,
    }
}

/// Runs a plan on a runtime like the command's.
pub fn run(plan: &Plan) -> Result<Run, load::Error> {
    run_until(plan, CancellationToken::new())
}

pub fn run_until(plan: &Plan, cancel: CancellationToken) -> Result<Run, load::Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(load::run(plan, &mut (), cancel))
}

/// The one scenario of a plan that has one.
pub fn only(run: Run) -> ScenarioRun {
    assert_eq!(run.scenarios.len(), 1);
    run.scenarios.into_iter().next().unwrap()
}

pub fn successes(scenario: &ScenarioRun) -> impl Iterator<Item = &RequestRecord> {
    let requests = scenario.requests.iter();
    requests.filter(|one| candlepower_bench::figures::succeeded(one))
}
