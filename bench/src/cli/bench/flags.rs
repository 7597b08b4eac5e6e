//! The flags of `candlepower bench`, and the plan that they ask for.
use crate::{
    knee,
    load::{
        plan::{COOL_DOWN, Load as Level, ScenarioPlan},
        profiles,
        search::{By, Search},
        trace,
    },
    objectives::{self, Objective},
};
use candlepower_api::{
    benchmark::{self, Objectives, PromptMix},
    value::{Duration, Percentage},
};
use std::{path::PathBuf, str::FromStr, time};

use super::Error;

/// How much load, and for how long.
#[derive(Debug, clap::Args)]
#[group(skip)]
// Of clap: it asks for nothing that conflicts with what is there: what a flag requires it also has to conflict with the rest of.
pub(super) struct Load {
    /// `standard`: 10, 25, 50 and 100 users for 5 to 15 minutes each; `quick`: the same shape in
    /// 3 minutes.
    #[arg(long, value_enum, conflicts_with_all = ["users", "rate", "replay", "search"])]
    profile: Option<Profile>,
    /// Closed users, one level after the other, such as 1,10,25.
    #[arg(long, group = "load", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with_all = ["profile", "rate", "replay", "search"])]
    users: Vec<u32>,
    /// Users that start per second; all within a second where absent.
    #[arg(long, requires = "users", conflicts_with_all = ["rate", "replay", "search"], value_parser = clap::value_parser!(u32).range(1..))]
    spawn_rate: Option<u32>,
    /// Requests per second that arrive whatever the server does, one level after the other.
    #[arg(long, group = "load", value_delimiter = ',', conflicts_with_all = ["profile", "users", "replay", "search"])]
    rate: Vec<f64>,
    /// How such requests arrive; at random where absent.
    #[arg(long, requires = "rate", conflicts_with_all = ["users", "replay", "search"], value_enum)]
    arrivals: Option<Arrivals>,
    /// A trace to replay: JSON lines with time (seconds), promptTokens and outputTokens.
    #[arg(long, group = "load", value_name = "FILE", conflicts_with_all = ["profile", "users", "rate", "search"])]
    replay: Option<PathBuf>,
    /// Searches the highest load that meets the objectives.
    #[arg(long, group = "load", value_enum, conflicts_with_all = ["profile", "users", "rate", "replay"])]
    search: Option<SearchBy>,
    /// The lowest load of a search; 1 where absent.
    #[arg(long, requires = "search", conflicts_with_all = ["users", "rate", "replay"])]
    from: Option<f64>,
    /// The highest load of a search; 256 where absent.
    #[arg(long, requires = "search", conflicts_with_all = ["users", "rate", "replay"])]
    to: Option<f64>,
    /// How long each level lasts, warm-up included; a replay's default is its trace's length.
    #[arg(long, requires = "load", conflicts_with = "profile")]
    duration: Option<Duration>,
    /// The beginning of each level that does not count; a fifth of it, up to 30 s, where absent.
    #[arg(long, requires = "load", conflicts_with = "profile")]
    warm_up: Option<Duration>,
    /// How long the load goes on at most until all requests of the window have ended; 30s where absent.
    #[arg(long, requires = "load", conflicts_with = "profile")]
    cool_down: Option<Duration>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Profile {
    Standard,
    Quick,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Arrivals {
    /// Exponentially distributed gaps.
    #[default]
    Poisson,
    /// Equal gaps.
    Constant,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SearchBy {
    /// Closed users.
    Users,
    /// Requests per second.
    Rate,
}

/// What requests ask for.
#[derive(Debug, clap::Args)]
pub(super) struct Workload {
    /// Prompt tokens and how often each length occurs.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "64:50,128:35,256:15",
        value_name = "TOKENS:WEIGHT"
    )]
    prompt_mix: Vec<Mixed>,
    /// Tokens of each answer.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    output_tokens: i32,
    /// The same seed makes the same requests.
    #[arg(long, default_value_t = 1)]
    seed: i64,
    /// Which texts prompts are made of: other texts have the same lengths but share no words that a prefix cache could
    /// still hold from a run before.
    #[arg(long, default_value_t = 0)]
    pub(super) texts: u64,
    /// Ask for whole answers; there is no time to first token then.
    #[arg(long)]
    no_stream: bool,
}

/// What is good enough, and when to give up.
#[derive(Debug, clap::Args)]
pub(super) struct Limits {
    /// What has to be met, such as ttft-p95=1s; a search without any takes those of LLMBenchmark.
    #[arg(long = "objective", value_name = "FIGURE=LIMIT")]
    objectives: Vec<Objective>,
    /// Judge by all objectives that an LLMBenchmark has by default, too.
    #[arg(long)]
    default_objectives: bool,
    /// Give up where this share of requests fails.
    #[arg(long, value_name = "SHARE")]
    pub(super) stop_error_rate: Option<Percentage>,
    /// How long one request may take.
    #[arg(long, default_value = "10m")]
    pub(super) timeout: Duration,
}

/// One prompt length of the mix.
#[derive(Clone, Debug)]
struct Mixed(PromptMix);

impl FromStr for Mixed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let cure = || format!("{text} is no prompt length; write tokens and weight such as 64:50");
        let (tokens, weight) = text.split_once(':').unwrap_or((text, "1"));
        let number = |text: &str| {
            text.parse()
                .ok()
                .filter(|number| (1..=1_000_000).contains(number))
        };
        Ok(Self(PromptMix {
            tokens: number(tokens).ok_or_else(cure)?,
            weight: number(weight).ok_or_else(cure)?,
        }))
    }
}

/// A level's length where none is said.
const DURATION: time::Duration = time::Duration::from_secs(60);
/// The longest warm-up where none is said.
const LONGEST_WARM_UP: time::Duration = time::Duration::from_secs(30);

impl Load {
    pub(super) fn plan(
        &self,
        objectives: &[Objective],
    ) -> Result<(Vec<ScenarioPlan>, Option<Search>), Error> {
        if let Some(by) = self.search {
            return Ok((Vec::new(), Some(self.searching(by, objectives)?)));
        }
        if let Some(file) = &self.replay {
            let trace = trace::read(file)?;
            let last = trace.last().map_or(0.0, |last| last.time);
            // The last request of a trace is sent, too.
            let length = time::Duration::from_secs_f64(last) + time::Duration::from_millis(1);
            let scenario = self.level("replay".to_owned(), Level::Replay(trace.into()), length);
            return Ok((vec![scenario], None));
        }
        let users = self.users.iter().map(|&users| {
            let spawn_rate = self.spawn_rate.unwrap_or(users);
            let load = Level::Users { users, spawn_rate };
            self.level(format!("users-{users}"), load, DURATION)
        });
        let rates = self.rate.iter().map(|&rate| {
            let load = match self.arrivals.unwrap_or_default() {
                Arrivals::Poisson => Level::Poisson { rate },
                Arrivals::Constant => Level::Constant { rate },
            };
            self.level(format!("rate-{rate}"), load, DURATION)
        });
        let levels: Vec<_> = users.chain(rates).collect();
        if !levels.is_empty() {
            return Ok((levels, None));
        }
        let profile = match self.profile {
            Some(Profile::Standard) => benchmark::Profile::Standard,
            Some(Profile::Quick) | None => benchmark::Profile::Quick,
        };
        let scenarios = profiles::scenarios(profile, &[]);
        Ok((scenarios.map_err(crate::load::Error::from)?, None))
    }

    fn level(&self, name: String, load: Level, duration: time::Duration) -> ScenarioPlan {
        let duration = self.duration.map_or(duration, Duration::as_std);
        ScenarioPlan {
            name,
            // A trace's beginning is part of it.
            warm_up: match load {
                Level::Replay(_) => self.warm_up.map_or(time::Duration::ZERO, Duration::as_std),
                _ => self.warm_up(duration),
            },
            load,
            duration,
            cool_down: self.cool_down(),
        }
    }

    fn cool_down(&self) -> time::Duration {
        self.cool_down.map_or(COOL_DOWN, Duration::as_std)
    }

    fn warm_up(&self, duration: time::Duration) -> time::Duration {
        let default = (duration / 5).min(LONGEST_WARM_UP);
        self.warm_up.map_or(default, Duration::as_std)
    }

    fn searching(&self, by: SearchBy, objectives: &[Objective]) -> Result<Search, Error> {
        let (from, to) = (self.from.unwrap_or(1.0), self.to.unwrap_or(256.0));
        if !(from > 0.0 && from <= to && to <= 10_000.0) {
            return Err(Error::Other(
                "a search goes up: write --from above 0 and --to as large or larger, up to 10000"
                    .to_owned(),
            ));
        }
        let duration = self.duration.map_or(DURATION, Duration::as_std);
        let by = match by {
            SearchBy::Users => By::Users,
            SearchBy::Rate => By::Rate,
        };
        let objectives = knee::objectives(objectives);
        if objectives.is_empty() {
            return Err(Error::Other(
                "a search needs a limit that a higher load breaks: write --objective ttft-p95=1s, \
                 tpot=100ms or error-rate=1%"
                    .to_owned(),
            ));
        }
        let whole = |load: f64| if by == By::Users { load.ceil() } else { load };
        Ok(Search {
            by,
            from: whole(from),
            to: whole(to),
            duration,
            warm_up: self.warm_up(duration),
            cool_down: self.cool_down(),
            objectives,
        })
    }
}

impl Workload {
    pub(super) fn workload(&self) -> benchmark::Workload {
        benchmark::Workload {
            seed: self.seed,
            prompts: self.prompt_mix.iter().map(|one| one.0.clone()).collect(),
            output_tokens: self.output_tokens,
            stream: !self.no_stream,
        }
    }
}

impl Limits {
    /// Those that were given, before those of the defaults that were not.
    pub(super) fn objectives(&self) -> Vec<Objective> {
        let mut all = self.objectives.clone();
        if self.default_objectives {
            let defaults = objectives::of_resource(&Objectives::default());
            let given = |metric| self.objectives.iter().any(|one| one.metric == metric);
            all.extend(defaults.into_iter().filter(|one| !given(one.metric)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objectives::Metric;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        workload: Workload,
        #[command(flatten)]
        limits: Limits,
    }

    fn parse(flags: &[&str]) -> Result<Command, clap::Error> {
        Command::try_parse_from([&["bench"], flags].concat())
    }

    fn levels(flags: &[&str]) -> Vec<ScenarioPlan> {
        parse(flags).unwrap().load.plan(&[]).unwrap().0
    }

    #[test]
    fn without_flags_it_is_the_quick_profile_and_the_reports_mix() {
        let names: Vec<_> = levels(&[]).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["baseline", "medium", "high", "stress"]);
        let workload = parse(&[]).unwrap().workload.workload();
        assert_eq!(workload, benchmark::Workload::default());
    }

    #[test]
    fn each_number_of_users_is_a_level() {
        let levels = levels(&["--users", "1,10", "--duration", "10s"]);
        assert_eq!(levels[1].name, "users-10");
        assert_eq!(levels[1].warm_up, time::Duration::from_secs(2));
        assert!(matches!(
            levels[1].load,
            Level::Users {
                users: 10,
                spawn_rate: 10
            }
        ));
    }

    #[test]
    fn only_one_kind_of_load_at_a_time() {
        let error = parse(&["--users", "1", "--rate", "2"]).unwrap_err();
        assert!(error.to_string().contains("cannot be used with"), "{error}");
        assert!(parse(&["--profile", "quick", "--search", "users"]).is_err());
    }

    #[test]
    fn a_flag_that_would_do_nothing_is_refused() {
        for flags in [
            ["--duration", "10s"].as_slice(),
            &["--cool-down", "10s", "--profile", "quick"],
            &["--rate", "2", "--spawn-rate", "2"],
            &["--search", "rate", "--arrivals", "constant"],
            &["--users", "2", "--from", "2"],
        ] {
            let error = parse(flags).unwrap_err().to_string();
            assert!(
                error.contains("required") || error.contains("cannot"),
                "{error}"
            );
        }
        assert!(parse(&["--rate", "2", "--duration", "10s", "--arrivals", "constant"]).is_ok());
    }

    #[test]
    fn a_search_without_objectives_takes_those_of_the_resource() {
        let search = parse(&["--search", "rate", "--to", "8"]).unwrap().load;
        let search = search.plan(&[]).unwrap().1.unwrap();
        let metrics: Vec<_> = search.objectives.iter().map(|one| one.metric).collect();
        assert_eq!(metrics.len(), 5);
        assert!(
            !metrics.contains(&Metric::TokensPerSecond),
            "a low load misses it whatever the server can do"
        );
        let throughput_only = parse(&["--search", "users"]).unwrap().load;
        let only = ["tokens-per-second=30".parse().unwrap()];
        let error = throughput_only.plan(&only).unwrap_err().to_string();
        assert!(error.contains("ttft-p95=1s"), "{error}");
        let upside_down = parse(&["--search", "users", "--from", "9", "--to", "2"]);
        assert!(upside_down.unwrap().load.plan(&[]).is_err());
    }

    #[test]
    fn given_objectives_come_before_the_defaults() {
        let flags = ["--objective", "tpot=5ms", "--default-objectives"];
        let objectives = parse(&flags).unwrap().limits.objectives();
        assert_eq!(objectives.len(), 6);
        assert!((objectives[0].limit - 5_000.0).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_mix_says_what_to_write() {
        let error = parse(&["--prompt-mix", "64:x"]).unwrap_err().to_string();
        assert!(error.contains("such as 64:50"), "{error}");
    }
}
