//! Puts load on a server that speaks OpenAI's API, and records what each request met.
//!
//! - [`plan`] and [`profiles`]: what is asked for;
//! - [`target`]: what a server can do, found out by asking it: its model, whether answers can be
//!   given a length, what words cost under its tokenizer;
//! - `requests`: the seeded order of requests, the same for the same seed;
//! - `schedule`, `users` and `arrivals`: when requests are due;
//! - `client`, `trust` and `exchange`: one request over a connection, its tokens with their times;
//! - `scenario`: one level of load, its window and the generator's own health;
//! - [`search`]: the highest load within the objectives.
mod arrivals;
mod client;
mod events;
mod exchange;
pub mod health;
mod limits;
mod live;
pub mod plan;
pub mod profiles;
mod random;
mod requests;
mod run;
mod samples;
mod scenario;
mod schedule;
pub mod search;
pub mod target;
pub mod trace;
mod trust;
mod users;

pub use client::InvalidTarget;
pub use live::{Phase, Progress};
pub use run::{Error, Observer, run};
pub use tokio_util::sync::CancellationToken;
pub use trust::Untrustworthy;
pub(crate) use trust::certificates;
