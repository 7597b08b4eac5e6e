//! A run with known laws, and evidence that agrees with it, for tests to plant things in.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "planted times are short and positive"
)]
use crate::{
    analysis::findings::Class,
    evidence::{
        Evidence,
        ends::ContainerEnd,
        facts::ModelFacts,
        probe::{Int8Rate, Probe},
        sample::{Role, Sampled},
        series::{Quantity, Series},
        trace::{Span, Trace},
    },
    objectives::{Objective, of_resource},
    record::{
        AppliedLoad, ErrorClass, GeneratorHealth, Outcome, RequestRecord, Run, ScenarioRun,
        TokenTimes,
    },
    report::{Options, Report, build},
};
use candlepower_api::{
    benchmark::{Objectives, Workload},
    deployment::LLMDeploymentSpec,
};

/// What the planted run is made of; the default is a healthy one. Times are milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Plant {
    /// Users, each of whom asks again at once.
    pub(crate) users: u32,
    pub(crate) tokenize: f64,
    pub(crate) queue: f64,
    pub(crate) prefill: f64,
    /// For each token after the first.
    pub(crate) tpot: f64,
    pub(crate) output: u32,
    /// Lost on the way in, outside the server.
    pub(crate) way_in: f64,
    /// Lost for each token on the way out.
    pub(crate) way_out: f64,
    /// Added to the first request.
    pub(crate) cold: f64,
    /// Requests of a hundred that are refused.
    pub(crate) refused: u64,
    pub(crate) seconds: u64,
    pub(crate) gauges: Vec<(Quantity, f64)>,
    /// Per second.
    pub(crate) counters: Vec<(Quantity, f64)>,
    pub(crate) generator: GeneratorHealth,
    pub(crate) deployment: LLMDeploymentSpec,
    pub(crate) weights: u64,
    pub(crate) bandwidth: f64,
    pub(crate) flops: f64,
}

impl Default for Plant {
    fn default() -> Self {
        Self {
            users: 8,
            tokenize: 1.0,
            queue: 4.0,
            prefill: 60.0,
            tpot: 20.0,
            output: 32,
            way_in: 1.0,
            way_out: 0.0,
            cold: 0.0,
            refused: 0,
            seconds: 60,
            gauges: vec![
                (Quantity::Running, 7.5),
                (Quantity::Waiting, 0.0),
                (Quantity::KvCacheUsage, 0.3),
                (Quantity::Memory, 400e6),
                (Quantity::MemoryLimit, 4e9),
                (Quantity::CpuLimit, 2.0),
                (Quantity::ModelLoaded, 1.0),
            ],
            counters: vec![
                (Quantity::CpuSeconds, 1.6),
                (Quantity::CpuPeriods, 10.0),
                (Quantity::ThrottledPeriods, 0.3),
                (Quantity::ThrottledSeconds, 0.01),
                (Quantity::BusySeconds, 0.98),
                (Quantity::Preemptions, 0.0),
            ],
            generator: GeneratorHealth {
                lag_p99: 800,
                cpu_cores: 0.1,
                cpu_available: 2.0,
                ..GeneratorHealth::default()
            },
            deployment: deployment(),
            weights: 100_000_000,
            bandwidth: 10e9,
            flops: 10e12,
        }
    }
}

pub(crate) fn deployment() -> LLMDeploymentSpec {
    let spec = serde_json::json!({"model": {"source": "pvc://models/tiny.gguf"}});
    serde_json::from_value(spec).unwrap()
}

/// A server that was ended for lack of memory.
pub(crate) fn out_of_memory(at: u64) -> ContainerEnd {
    ContainerEnd {
        pod: "tiny-1".to_owned(),
        container: "server".to_owned(),
        reason: "OOMKilled".to_owned(),
        exit_code: 137,
        at,
    }
}

/// The trace of a load of 12 s, a minute before `run`.
pub(crate) fn model_load(run: &Run) -> Trace {
    let begin = (run.started_at - 60_000_000) * 1000;
    let span = |name: &str, parent: Option<&str>, from: u64, to: u64| Span {
        id: name.to_owned(),
        parent: parent.map(ToOwned::to_owned),
        name: name.to_owned(),
        start: begin + from * 1_000_000_000,
        end: begin + to * 1_000_000_000,
    };
    let root = Some("load_model");
    Trace {
        id: "load".to_owned(),
        spans: vec![
            span("load_model", None, 0, 12),
            span("download", root, 0, 6),
            span("read_weights", root, 7, 10),
            span("warm_up", root, 11, 12),
        ],
        ..Trace::default()
    }
}

pub(crate) fn objectives() -> Vec<Objective> {
    of_resource(&Objectives::default())
}

impl Plant {
    /// The healthy run with a change.
    pub(crate) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut plant = Self::default();
        change(&mut plant);
        plant
    }

    /// The report of runs at several levels.
    pub(crate) fn report(levels: &[Self]) -> Report {
        let (run, evidence) = Self::run(levels);
        let options = Options {
            objectives: objectives(),
            ..Options::default()
        };
        build(&run, &evidence, &options)
    }

    /// The primary bottleneck of a run with it.
    pub(crate) fn primary(self) -> Option<Class> {
        Self::report(&[self]).conclusion.primary_bottleneck
    }

    fn server_first(&self) -> f64 {
        self.tokenize + self.queue + self.prefill
    }

    /// A run of several levels of load, one scenario each.
    pub(crate) fn run(levels: &[Self]) -> (Run, Evidence) {
        let mut run = Run {
            started_at: 1_764_000_000_000_000,
            url: "http://127.0.0.1:8080".to_owned(),
            model: "tiny".to_owned(),
            workload: Workload::default(),
            texts: 0,
            prompt_lengths: "by the target's tokenizer, exact".to_owned(),
            output_lengths: "ignore_eos".to_owned(),
            first_answer: None,
            generator: "candlepower test".to_owned(),
            stopped: None,
            knee: None,
            prompts: vec![],
            scenarios: vec![],
        };
        let mut evidence = Evidence {
            metrics_source: Some("scrapes".to_owned()),
            traces_source: Some("Jaeger".to_owned()),
            ..Evidence::default()
        };
        for level in levels {
            let begin = run.scenarios.last().map_or(0, |one| one.ended);
            let name = format!("{} users", level.users);
            let scenario = level.scenario(&name, begin);
            level.add_series(&mut evidence, &scenario);
            level.add_traces(&mut evidence, &name);
            evidence.model = Some(ModelFacts {
                name: "tiny".to_owned(),
                precision: Some("q8_0".to_owned()),
                device: Some("cpu".to_owned()),
                weights_bytes: Some(level.weights),
                context_length: Some(2048),
                ..ModelFacts::default()
            });
            evidence.deployment = Some(level.deployment.clone());
            evidence.probe = Some(Probe {
                bytes_per_second: level.bandwidth,
                flops_per_second: level.flops / 4.0,
                int8: Some(Int8Rate {
                    operations_per_second: level.flops,
                    instructions: "planted".to_owned(),
                }),
                threads: 2,
                buffer_bytes: 1 << 29,
                source: "planted".to_owned(),
            });
            run.scenarios.push(scenario);
        }
        (run, evidence)
    }

    fn scenario(&self, name: &str, begin: u64) -> ScenarioRun {
        let (micro, end) = (|ms: f64| (ms * 1000.0) as u64, self.seconds * 1_000_000);
        let mut requests = vec![];
        for user in 0..self.users {
            let mut sent = begin + u64::from(user) * 20_000;
            while sent < begin + end {
                let index = requests.len() as u64;
                // A spread of ±10 % that repeats, so that percentiles differ.
                let spread = 0.9 + 0.2 * ((index * 37) % 101) as f64 / 100.0;
                let cold = if index == 0 { self.cold } else { 0.0 };
                let first = spread * (self.server_first() + self.way_in) + cold;
                let gap = spread * (self.tpot + self.way_out);
                let refused = index % 100 >= 100 - self.refused;
                let tokens: TokenTimes = (0..self.output)
                    .map(|token| sent + micro(first + gap * f64::from(token)))
                    .collect();
                let finished = tokens.last().unwrap_or(sent);
                requests.push(RequestRecord {
                    index,
                    trace_id: format!("{name}-{index}"),
                    asked_prompt_tokens: 128,
                    asked_output_tokens: self.output,
                    due: sent,
                    sent,
                    tokens: if refused {
                        TokenTimes::default()
                    } else {
                        tokens
                    },
                    finished: if refused { sent + 1000 } else { finished },
                    prompt_tokens: Some(128),
                    output_tokens: Some(self.output),
                    outcome: if refused {
                        Outcome::Failed {
                            class: ErrorClass::Overloaded,
                            status: Some(429),
                            message: "queue full".to_owned(),
                        }
                    } else {
                        Outcome::Success {
                            finish_reason: Some("length".to_owned()),
                        }
                    },
                });
                sent = if refused { sent + 500_000 } else { finished };
            }
        }
        requests.sort_by_key(|one| one.finished);
        ScenarioRun {
            name: name.to_owned(),
            load: AppliedLoad::Users {
                users: self.users,
                spawn_rate: 50,
            },
            started: begin,
            window: (begin + end / 10, begin + end),
            ended: begin + end,
            requests,
            generator: self.generator.clone(),
            stopped: None,
        }
    }

    fn add_series(&self, evidence: &mut Evidence, scenario: &ScenarioRun) {
        let rate = scenario.requests.len() as f64 / self.seconds as f64;
        let decode = self.tpot * f64::from(self.output - 1);
        let sums = [
            (Quantity::FirstTokenSeconds, self.server_first()),
            (Quantity::E2eSeconds, self.server_first() + decode),
            (Quantity::QueueSeconds, self.queue),
            (Quantity::PrefillSeconds, self.prefill),
            (Quantity::DecodeSeconds, decode),
        ];
        let counts = [
            Quantity::FirstTokenCount,
            Quantity::E2eCount,
            Quantity::QueueCount,
            Quantity::PrefillCount,
            Quantity::DecodeCount,
        ];
        let tokens = [
            (Quantity::PromptTokens, rate * 128.0),
            (Quantity::GenerationTokens, rate * f64::from(self.output)),
        ];
        let sums = sums.map(|(quantity, ms)| (quantity, rate * ms / 1e3));
        let counts = counts.map(|quantity| (quantity, rate));
        let all = sums.into_iter().chain(counts).chain(tokens);
        for (quantity, rate) in all.chain(self.counters.iter().copied()) {
            add(evidence, quantity, scenario, |seconds| rate * seconds);
        }
        for &(quantity, value) in &self.gauges {
            add(evidence, quantity, scenario, |_| value);
        }
    }

    fn add_traces(&self, evidence: &mut Evidence, scenario: &str) {
        let nanos = |ms: f64| (ms * 1e6) as u64;
        let mut spans = vec![];
        let mut time = 0;
        let phases = [
            ("tokenize_input", self.tokenize),
            ("queue", self.queue),
            ("prefill", self.prefill),
            ("decode", self.tpot * f64::from(self.output - 1)),
        ];
        for (name, ms) in phases {
            spans.push(Span {
                id: name.to_owned(),
                parent: Some("root".to_owned()),
                name: name.to_owned(),
                start: time,
                end: time + nanos(ms),
            });
            time += nanos(ms);
        }
        spans.push(Span {
            id: "root".to_owned(),
            parent: None,
            name: "POST /v1/chat/completions".to_owned(),
            start: 0,
            end: time,
        });
        let trace = Trace {
            id: format!("{scenario}-trace"),
            spans,
            ..Trace::default()
        };
        for role in [Role::Sample, Role::P50, Role::Slowest] {
            evidence.traces.push(Sampled {
                scenario: scenario.to_owned(),
                role,
                trace: trace.clone(),
            });
        }
    }
}

/// Appends a scenario's points, one each second, a counter going on from where it stood.
fn add(
    evidence: &mut Evidence,
    quantity: Quantity,
    scenario: &ScenarioRun,
    value: impl Fn(f64) -> f64,
) {
    let place = evidence
        .series
        .iter()
        .position(|one| one.quantity == quantity);
    let place = place.unwrap_or_else(|| {
        evidence.series.push(Series {
            quantity,
            metric: String::new(),
            points: vec![],
        });
        evidence.series.len() - 1
    });
    let points = &mut evidence.series[place].points;
    let counter = quantity.kind() == crate::evidence::series::Kind::Counter;
    let before = points.last().map_or(0.0, |(_, value)| *value);
    let before = if counter { before } else { 0.0 };
    let seconds = (scenario.ended - scenario.started) / 1_000_000;
    for second in 0..seconds {
        let time = scenario.started + second * 1_000_000;
        points.push((time, before + value(second as f64)));
    }
}
