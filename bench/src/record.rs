//! What a run of load leaves behind: one record for each request, grouped by scenario.
//!
//! Everything later (evidence, analysis, report) reads these types and nothing of the load generator.
//! Times are microseconds since the run's start on the load generator's monotonic clock, so that a
//! clock that is set in mid-run moves nothing; [`Run::started_at`] ties them to the wall clock.
mod token_times;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use token_times::{Backwards, TokenTimes};

/// A moment or a span of time in microseconds.
pub type Micros = u64;

/// One request, from the moment that it was due to its last byte.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Its place in the seeded order of the scenario's requests, from 0.
    pub index: u64,
    /// Its trace id in hexadecimal, made by the load generator.
    pub trace_id: String,
    /// Tokens that the prompt was made to have, chat template included.
    pub asked_prompt_tokens: u32,
    /// Tokens that the answer was allowed to have.
    pub asked_output_tokens: u32,
    /// When it was due: for open arrivals by their schedule, for closed users when the user was free.
    pub due: Micros,
    /// When it was sent; `sent - due` is the load generator's own lag.
    pub sent: Micros,
    /// When each piece of text arrived, the first one being the first token; empty without a stream.
    #[serde(default, skip_serializing_if = "TokenTimes::is_empty")]
    pub tokens: TokenTimes,
    /// When the last byte arrived, or the request failed.
    pub finished: Micros,
    /// Prompt tokens by the server's own `usage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u32>,
    /// Output tokens by the server's own `usage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Outcome {
    /// A whole answer.
    Success {
        /// The reason that the server gave for its end, such as `stop` or `length`.
        finish_reason: Option<String>,
    },
    /// No whole answer.
    Failed {
        /// Its class.
        class: ErrorClass,
        /// The HTTP status, where one came.
        status: Option<u16>,
        /// What happened, in words, cut to a bounded length.
        message: String,
    },
    /// Cut off by the end of its scenario; neither a success nor an error.
    Cancelled,
}

/// Why a request failed.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "camelCase")]
pub enum ErrorClass {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// Refused because the server has too much to do (429 or 503).
    Overloaded,
    /// Refused for another reason (4xx).
    Refused,
    /// The server failed (5xx).
    Server,
    /// The stream ended or broke before the answer did.
    BrokenStream,
    /// The answer is not what the API promises.
    Protocol,
}

/// The load of one scenario, as it was really applied.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioRun {
    /// Its name.
    pub name: String,
    /// What was asked for.
    pub load: AppliedLoad,
    /// When the load began.
    pub started: Micros,
    /// The window whose tokens count: after the warm-up and before the cool-down.
    pub window: (Micros, Micros),
    /// When the last request had ended.
    pub ended: Micros,
    /// All requests, in the order in which they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestRecord>,
    /// How the load generator itself fared.
    pub generator: GeneratorHealth,
    /// Why the scenario ended before its time, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// Closed users or open arrivals.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum AppliedLoad {
    /// Users that each wait for an answer before they ask again.
    Users {
        /// How many, once all have started.
        users: u32,
        /// How many start per second.
        spawn_rate: u32,
    },
    /// Requests that arrive whether or not earlier ones were answered.
    Arrivals {
        /// `poisson`, `constant` or `replay`.
        process: String,
        /// Requests per second, on average.
        rate: f64,
    },
}

/// How the load generator itself fared; a bad one voids verdicts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorHealth {
    /// The 99th percentile of `sent - due`.
    pub lag_p99: Micros,
    /// The 99th percentile of how late a timer of its own fired: by so much it may have been late
    /// to see what arrived.
    #[serde(default)]
    pub timer_lag_p99: Micros,
    /// CPU that the generator used over the scenario, in cores.
    pub cpu_cores: f64,
    /// Cores that it could have used.
    pub cpu_available: f64,
    /// Its largest resident memory, in bytes.
    pub peak_memory: u64,
}

/// A whole run: every scenario against one target.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Wall clock at time 0, in microseconds since 1970.
    pub started_at: u64,
    /// The address that was loaded.
    pub url: String,
    /// The model that requests asked for.
    pub model: String,
    /// The workload as it was asked for.
    pub workload: candlepower_api::benchmark::Workload,
    /// Which texts prompts were made of: with the same workload and number, the same requests are sent again.
    #[serde(default)]
    pub texts: u64,
    /// How prompts were given their lengths, in words: by which tokenizer, and how exactly.
    pub prompt_lengths: String,
    /// How answers were given their lengths, in words: enforced, or only limited.
    #[serde(default)]
    pub output_lengths: String,
    /// How long the first question to the target took that it answered; asked before any load, to find
    /// out what it can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer: Option<Micros>,
    /// The version of the load generator.
    #[serde(default)]
    pub generator: String,
    /// Why scenarios are missing, where some are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// What a search for the highest load within the objectives found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
    /// The first prompt of each length that was sent; of a replay, some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<SamplePrompt>,
    /// Scenarios in the order in which they ran.
    pub scenarios: Vec<ScenarioRun>,
}

/// A prompt that was sent.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SamplePrompt {
    /// The tokens that it was made to have, chat template included.
    pub tokens: u32,
    /// Its text, or the beginning of it.
    pub text: String,
}

/// The highest load that still met the objectives.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Knee {
    /// The scenario that applied it; none where even the lowest load was too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Requests per second within the objectives under it.
    pub goodput: f64,
    /// The lowest load that missed an objective; none where the search's highest load met all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_at: Option<String>,
}

impl Run {
    /// Everything but the requests.
    #[must_use]
    pub fn without_requests(&self) -> Self {
        Self {
            started_at: self.started_at,
            url: self.url.clone(),
            model: self.model.clone(),
            workload: self.workload.clone(),
            texts: self.texts,
            prompt_lengths: self.prompt_lengths.clone(),
            output_lengths: self.output_lengths.clone(),
            first_answer: self.first_answer,
            generator: self.generator.clone(),
            stopped: self.stopped.clone(),
            knee: self.knee.clone(),
            prompts: self.prompts.clone(),
            scenarios: self
                .scenarios
                .iter()
                .map(ScenarioRun::without_requests)
                .collect(),
        }
    }
}

impl ScenarioRun {
    /// When a request's latencies begin. A user's next request begins when it is sent, for the user was not waiting before. One
    /// that arrives by itself begins when it was due: that a late load generator, or one without a free connection, sent
    /// it later hides no waiting time (known as coordinated omission).
    pub fn began(&self, request: &RequestRecord) -> Micros {
        match self.load {
            AppliedLoad::Users { .. } => request.sent,
            AppliedLoad::Arrivals { .. } => request.due,
        }
    }

    /// Requests that began inside the window.
    pub fn measured(&self) -> impl Iterator<Item = &RequestRecord> {
        let (from, to) = self.window;
        self.requests.iter().filter(move |one| {
            let began = self.began(one);
            from <= began && began < to
        })
    }

    fn without_requests(&self) -> Self {
        Self {
            name: self.name.clone(),
            load: self.load.clone(),
            started: self.started,
            window: self.window,
            ended: self.ended,
            requests: Vec::new(),
            generator: self.generator.clone(),
            stopped: self.stopped.clone(),
        }
    }
}
