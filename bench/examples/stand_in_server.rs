//! The tests' stand-in server on its own, such as for measuring what the load generator costs:
//! `cargo run --release --example stand_in_server -- --port 8100 --per-token 20ms`.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "it is part of the tests, which may stop at the first surprise"
)]
#[path = "../tests/stand_in/mod.rs"]
mod stand_in;

use candlepower_api::value::{Duration, Percentage};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use stand_in::{StandIn, laws::Laws};

/// A server that takes exactly as long as its laws say.
#[derive(Parser)]
struct Flags {
    #[arg(long, default_value_t = 8100)]
    port: u16,
    /// Time to the first token.
    #[arg(long, default_value = "0")]
    first_token: Duration,
    /// And for each token of the prompt.
    #[arg(long, default_value = "0")]
    prefill_per_token: Duration,
    /// Time between tokens.
    #[arg(long, default_value = "20ms")]
    per_token: Duration,
    /// Tokens that are sent at once, when the first of them is due.
    #[arg(long, default_value_t = 1)]
    at_once: u32,
    /// Share by which that varies.
    #[arg(long, default_value = "0%")]
    jitter: Percentage,
    /// Share by which each other running request lengthens it.
    #[arg(long, default_value = "0%")]
    batch_effect: Percentage,
    /// Requests that run at once.
    #[arg(long, default_value_t = 100_000)]
    slots: usize,
    /// Requests that may wait.
    #[arg(long, default_value_t = 100_000)]
    queue: usize,
    /// Share of requests that fail.
    #[arg(long, default_value = "0%")]
    error_rate: Percentage,
    /// Share of streams that break.
    #[arg(long, default_value = "0%")]
    break_rate: Percentage,
    /// Log requests without a trace as well, for /log.
    #[arg(long)]
    log_untraced: bool,
    /// Answer without streams.
    #[arg(long)]
    no_streaming: bool,
}

fn main() {
    let flags = Flags::parse();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let laws = Laws {
        first_token: flags.first_token.as_std(),
        prefill_per_token: flags.prefill_per_token.as_std(),
        per_token: flags.per_token.as_std(),
        at_once: flags.at_once,
        jitter: flags.jitter.fraction(),
        batch_effect: flags.batch_effect.fraction(),
        slots: flags.slots,
        queue: flags.queue,
        error_rate: flags.error_rate.fraction(),
        break_rate: flags.break_rate.fraction(),
        streaming: !flags.no_streaming,
        log_untraced: flags.log_untraced,
        ..Laws::default()
    };
    let server = StandIn::at(([127, 0, 0, 1], flags.port).into(), laws);
    println!("{}", server.url());
    server.wait();
}
