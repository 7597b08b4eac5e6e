//! Prints figures of the load generator beside what the stand-in server's own log says:
//! `cargo run --release --example truth_table -- --duration 30s`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    unreachable_pub,
    reason = "it shares modules with the tests, which may stop at the first surprise"
)]
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use candlepower_api::value;
use candlepower_bench::{
    load::{health::problems, plan::Load},
    record::GeneratorHealth,
};
use clap::Parser;
use common::{
    only, plan, run, scenario,
    truth::{LIMIT, Row, Truth, laws},
    users,
};
use serde::Serialize;
use stand_in::StandIn;

/// Puts load on a server that logs what it does and prints both sides as JSON.
#[derive(Parser)]
struct Flags {
    /// How long each load lasts, a fifth of it warm-up.
    #[arg(long, default_value = "30s")]
    duration: value::Duration,
}

/// One load and what came of it.
#[derive(Serialize)]
struct Table {
    load: &'static str,
    requests: usize,
    rows: Vec<Row>,
    shares: Vec<Row>,
    /// Rows that are further from the truth than they may be.
    off: Vec<String>,
    generator: GeneratorHealth,
    /// Why the figures would say nothing, where they would.
    problems: Vec<String>,
}

fn main() {
    let flags = Flags::parse();
    let milliseconds = u64::try_from(flags.duration.as_std().as_millis()).unwrap();
    let loads = [
        ("30 users, 24 at once", users(30)),
        ("30 a second, Poisson", Load::Poisson { rate: 30.0 }),
    ];
    for (name, load) in loads {
        let server = StandIn::start(laws());
        let plan = plan(server.url(), 16, vec![scenario("a", load, milliseconds)]);
        let run = only(run(&plan).unwrap());
        let truth = Truth::of(&server, &run);
        let (rows, shares) = (truth.rows(&run, LIMIT), truth.shares());
        let all = rows.iter().chain(&shares);
        let table = Table {
            load: name,
            requests: run.requests.len(),
            off: all.filter_map(|row| row.check().err()).collect(),
            rows,
            shares,
            problems: problems(&run.generator),
            generator: run.generator,
        };
        println!("{}", serde_json::to_string(&table).unwrap());
    }
}
