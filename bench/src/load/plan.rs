//! What a run is asked to do.
use super::{search::Search, trace::TracedRequest};
use crate::record::AppliedLoad;
use candlepower_api::{
    benchmark::{Scenario, Workload},
    value::Percentage,
};
use std::{ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};

/// Where requests go.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The server's address, with or without `/v1`.
    pub url: String,
    /// The model that requests ask for; the server's first one where absent.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// How an https server is known to be the right one.
    pub trust: Trust,
}

/// How an https server is known to be the right one.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Files in PEM form with certificates, of an authority or the server's own; this machine's where there is none.
    pub certificates: Vec<PathBuf>,
    /// The name that the server's certificate is for; the address' host where absent.
    pub server_name: Option<String>,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// What they ask for.
    pub workload: Workload,
    /// Which texts prompts are made of. Other texts have the same lengths, in the same order and at the same times, but no
    /// words in common with them that a prefix cache could hold.
    pub texts: u64,
    /// Levels of load, in order.
    pub scenarios: Vec<ScenarioPlan>,
    /// A search for the highest load, after the scenarios.
    pub search: Option<Search>,
    /// The share of failed requests from which the rest is not worth running.
    pub stop_when: Option<Percentage>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// How long a request may take where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// One level of load.
#[derive(Clone, Debug)]
pub struct ScenarioPlan {
    /// Its name in the report.
    pub name: String,
    /// Users or arrivals.
    pub load: Load,
    /// How long requests are sent, warm-up included.
    pub duration: Duration,
    /// The beginning that does not count.
    pub warm_up: Duration,
    /// How long the load goes on afterwards at most, until all requests of the window have ended; it does not count either.
    pub cool_down: Duration,
}

/// Users or arrivals.
#[derive(Clone, Debug)]
pub enum Load {
    /// Users that each wait for an answer before they ask again.
    Users {
        /// How many.
        users: u32,
        /// How many start per second.
        spawn_rate: u32,
    },
    /// Equal gaps between requests.
    Constant {
        /// Requests per second.
        rate: f64,
    },
    /// Exponentially distributed gaps.
    Poisson {
        /// Requests per second.
        rate: f64,
    },
    /// The times and lengths of a recorded trace.
    Replay(Arc<[TracedRequest]>),
}

impl Load {
    /// As the record has it.
    pub fn applied(&self) -> AppliedLoad {
        let arrivals = |process: &str, rate| AppliedLoad::Arrivals {
            process: process.to_owned(),
            rate,
        };
        match self {
            Self::Users { users, spawn_rate } => AppliedLoad::Users {
                users: *users,
                spawn_rate: *spawn_rate,
            },
            Self::Constant { rate } => arrivals("constant", *rate),
            Self::Poisson { rate } => arrivals("poisson", *rate),
            Self::Replay(trace) => {
                let seconds = trace.last().map_or(0.0, |last| last.time);
                let rate = trace.len() as f64 / seconds.max(1e-6);
                arrivals("replay", if seconds > 0.0 { rate } else { 0.0 })
            }
        }
    }
}

/// Why a plan makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A rate is not one, or none that can be kept.
    #[error(
        "scenario {scenario}: {rate} is no rate; write requests per second such as 3/s, from 0.001 to 100000"
    )]
    Rate {
        /// The scenario.
        scenario: String,
        /// What was written.
        rate: String,
    },
    /// A scenario has both kinds of load, or neither.
    #[error(
        "scenario {0}: write either users, for a closed loop, or arrival with poisson or constant, for an open one"
    )]
    Load(String),
    /// Nothing would be measured.
    #[error("scenario {0}: its warm-up takes all of its duration; write a longer duration")]
    NoWindow(String),
    /// Two scenarios have one name.
    #[error("two scenarios are called {0}; give each a name of its own")]
    SameName(String),
    /// There is nothing to do.
    #[error("there is no scenario; write users, a rate or a profile")]
    Nothing,
    /// The workload makes no sense.
    #[error("the workload is wrong: {0}")]
    Workload(&'static str),
}

/// How long the load goes on at most after the window, where a scenario does not say.
pub const COOL_DOWN: Duration = Duration::from_secs(30);

impl ScenarioPlan {
    /// Of a resource's scenario.
    pub fn of_resource(scenario: &Scenario) -> Result<Self, Invalid> {
        let invalid = || Invalid::Load(scenario.name.clone());
        let rate = |text: &str| parse_rate(&scenario.name, text);
        let load = match (scenario.users, &scenario.arrival) {
            (Some(users), None) => {
                let users = u32::try_from(users).map_err(|_| invalid())?;
                let spawn_rate = scenario.spawn_rate.and_then(|rate| rate.try_into().ok());
                Load::Users {
                    users,
                    spawn_rate: spawn_rate.unwrap_or(users),
                }
            }
            (None, Some(arrival)) => match (&arrival.poisson, &arrival.constant) {
                (Some(poisson), None) => Load::Poisson {
                    rate: rate(poisson)?,
                },
                (None, Some(constant)) => Load::Constant {
                    rate: rate(constant)?,
                },
                _ => return Err(invalid()),
            },
            _ => return Err(invalid()),
        };
        Ok(Self {
            name: scenario.name.clone(),
            load,
            duration: scenario.duration.as_std(),
            warm_up: scenario.warm_up.as_std(),
            cool_down: COOL_DOWN,
        })
    }
}

/// Rates that can be kept: a request in a quarter of an hour, and more than any generator sends.
const RATES: RangeInclusive<f64> = 0.001..=100_000.0;

/// Requests per second, written `3/s` or `3`.
fn parse_rate(scenario: &str, text: &str) -> Result<f64, Invalid> {
    let number = text.strip_suffix("/s").unwrap_or(text).parse::<f64>();
    let rate = number.ok().filter(|rate| RATES.contains(rate));
    rate.ok_or_else(|| Invalid::Rate {
        scenario: scenario.to_owned(),
        rate: text.to_owned(),
    })
}

impl Plan {
    /// Refuses what makes no sense before any request is sent.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.scenarios.is_empty() && self.search.is_none() {
            return Err(Invalid::Nothing);
        }
        let workload = &self.workload;
        if workload.prompts.is_empty() {
            return Err(Invalid::Workload(
                "it has no prompts; write a mix such as 64:50,256:50",
            ));
        }
        if workload
            .prompts
            .iter()
            .any(|one| one.tokens < 1 || one.weight < 1)
        {
            return Err(Invalid::Workload(
                "tokens and weights of prompts are 1 or more",
            ));
        }
        if workload.output_tokens < 1 {
            return Err(Invalid::Workload("an answer has 1 token or more"));
        }
        for (place, scenario) in self.scenarios.iter().enumerate() {
            scenario.validate()?;
            if self.scenarios[..place]
                .iter()
                .any(|one| one.name == scenario.name)
            {
                return Err(Invalid::SameName(scenario.name.clone()));
            }
        }
        Ok(())
    }
}

impl ScenarioPlan {
    fn validate(&self) -> Result<(), Invalid> {
        let rate = match self.load {
            Load::Users { users: 0, .. } | Load::Users { spawn_rate: 0, .. } => {
                return Err(Invalid::Load(self.name.clone()));
            }
            Load::Constant { rate } | Load::Poisson { rate } => rate,
            Load::Users { .. } | Load::Replay(_) => 1.0,
        };
        if !RATES.contains(&rate) {
            return Err(Invalid::Rate {
                scenario: self.name.clone(),
                rate: rate.to_string(),
            });
        }
        if self.warm_up >= self.duration {
            return Err(Invalid::NoWindow(self.name.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(scenario: &Value) -> Result<ScenarioPlan, Invalid> {
        ScenarioPlan::of_resource(&serde_json::from_value(scenario.clone()).unwrap())
    }

    #[test]
    fn a_resources_scenario_is_users_or_arrivals() {
        let users = of(&json!({"name": "a", "users": 7, "duration": "1m"})).unwrap();
        let at_once = |load: &Load| {
            matches!(
                load,
                Load::Users {
                    users: 7,
                    spawn_rate: 7
                }
            )
        };
        assert!(
            at_once(&users.load),
            "without a spawn rate all start at once"
        );
        let poisson =
            of(&json!({"name": "a", "arrival": {"poisson": "2.5/s"}, "duration": "1m"})).unwrap();
        assert!(matches!(poisson.load, Load::Poisson { rate } if (rate - 2.5).abs() < 1e-9));
    }

    #[test]
    fn contradictions_say_what_to_write() {
        for (scenario, cure) in [
            (json!({"name": "a", "duration": "1m"}), "write either users"),
            (
                json!({"name": "a", "duration": "1m", "arrival": {"constant": "0/s"}}),
                "such as 3/s",
            ),
            (
                json!({"name": "a", "duration": "1m", "arrival": {"poisson": "0.00000000000000000001/s"}}),
                "from 0.001",
            ),
            (
                json!({"name": "a", "duration": "1m", "arrival": {"poisson": "1e12/s"}}),
                "to 100000",
            ),
            (
                json!({"name": "a", "duration": "1m", "arrival": {}}),
                "poisson or constant",
            ),
        ] {
            let error = of(&scenario).unwrap_err().to_string();
            assert!(error.contains(cure), "{error}");
        }
    }

    #[test]
    fn a_plan_that_measures_nothing_is_refused() {
        let scenario = ScenarioPlan {
            name: "a".to_owned(),
            load: Load::Constant { rate: 1.0 },
            duration: Duration::from_secs(1),
            warm_up: Duration::ZERO,
            cool_down: Duration::ZERO,
        };
        let plan = |scenarios| Plan {
            target: Target {
                url: String::new(),
                model: None,
                api_key: None,
                trust: Trust::default(),
            },
            workload: Workload::default(),
            texts: 0,
            scenarios,
            search: None,
            stop_when: None,
            timeout: TIMEOUT,
        };
        assert!(plan(vec![scenario.clone()]).validate().is_ok());
        assert!(matches!(plan(vec![]).validate(), Err(Invalid::Nothing)));
        let mut late = scenario.clone();
        late.warm_up = late.duration;
        assert!(matches!(
            plan(vec![late]).validate(),
            Err(Invalid::NoWindow(_))
        ));
        let twice = plan(vec![scenario.clone(), scenario]).validate();
        assert!(matches!(twice, Err(Invalid::SameName(_))));
    }
}
