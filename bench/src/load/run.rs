//! A whole run: the target explored, every scenario applied, the highest load searched for.
use super::{
    client::{Client, InvalidTarget},
    exchange::{Clock, Wire},
    limits::{TooFewFiles, allow_connections},
    live::Progress,
    plan::{Invalid, Load, Plan, ScenarioPlan},
    requests::Requests,
    samples,
    scenario::{INTERRUPTED, Stage},
    search::{By, Found},
    target::{self, Known},
};
use crate::{
    figures,
    objectives::goodput,
    record::{Knee, Run},
};
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};
use tokio_util::sync::CancellationToken;

/// Why there is no run. What happens once the load has begun is in the record instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] Invalid),
    /// The address or key makes no sense.
    #[error(transparent)]
    Address(#[from] InvalidTarget),
    /// The target does not answer, or cannot do what is asked for.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// This machine does not allow so many connections.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// This machine gave no thread.
    #[error("no thread could be started for the arrivals of requests: {0}")]
    Thread(#[from] std::io::Error),
}

/// Follows a run.
pub trait Observer: Send {
    /// Something other than load begins.
    fn phase(&mut self, _what: &str) {}
    /// A scenario goes on; about once a second.
    fn progress(&mut self, _progress: &Progress) {}
    /// A scenario has ended; the run holds all that have.
    fn scenario_ended(&mut self, _run: &Run) {}
}

/// Observes nothing.
impl Observer for () {}

/// Applies a plan's load to its target. Where `cancel` is cancelled, the run ends at once and has
/// what there was until then.
pub async fn run(
    plan: &Plan,
    observer: &mut dyn Observer,
    cancel: CancellationToken,
) -> Result<Run, Error> {
    plan.validate()?;
    let connections = allow_connections(most_users(plan))?;
    let client = Client::new(&plan.target)?;
    observer.phase("asking the target what it can do and what words cost");
    let known = tokio::select! {
        known = target::explore(&client, plan) => known?,
        () = cancel.cancelled() => return Ok(begin(plan, &client, None)),
    };
    let run = begin(plan, &client, Some(&known));
    let mut runner = Runner {
        plan,
        client,
        known,
        clock: Clock(Instant::now()),
        connections,
        cancel,
        run,
        place: 0,
    };
    runner.scenarios(observer).await?;
    runner.search(observer).await?;
    Ok(runner.run)
}

/// Answers that had fewer tokens than were asked for, and all that the server counted.
fn shorter(run: &Run) -> (usize, usize) {
    let requests = run.scenarios.iter().flat_map(|one| &one.requests);
    let answered = requests.filter(|one| figures::succeeded(one));
    let counted = answered.filter_map(|one| Some((one.output_tokens?, one.asked_output_tokens)));
    counted.fold((0, 0), |(shorter, all), (got, asked)| {
        (shorter + usize::from(got < asked), all + 1)
    })
}

/// Connections that closed users need; open arrivals make do with what there is.
fn most_users(plan: &Plan) -> u64 {
    let users = plan.scenarios.iter().map(|scenario| match scenario.load {
        Load::Users { users, .. } => u64::from(users),
        _ => 1,
    });
    // A search that ran out of files in the middle would lose what it had measured.
    let searched = plan.search.iter().map(|search| match search.by {
        // Users are at most 10,000, far below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        By::Users => search.to as u64,
        By::Rate => 1,
    });
    users.chain(searched).max().unwrap_or(1)
}

fn begin(plan: &Plan, client: &Client, known: Option<&Known>) -> Run {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let micros = now.unwrap_or_default().as_micros();
    let lengths = known.map(|known| known.dialect.lengths.words(0, 0));
    Run {
        started_at: u64::try_from(micros).unwrap_or(u64::MAX),
        url: client.address(),
        model: known.map_or_else(String::new, |known| known.model.to_string()),
        workload: plan.workload.clone(),
        texts: plan.texts,
        prompt_lengths: known.map_or_else(String::new, |known| known.prompt_lengths.clone()),
        output_lengths: lengths.unwrap_or_default(),
        first_answer: known.map(|known| known.first_answer),
        generator: concat!("candlepower ", env!("CARGO_PKG_VERSION")).to_owned(),
        stopped: known.is_none().then(|| INTERRUPTED.to_owned()),
        knee: None,
        prompts: vec![],
        scenarios: Vec::new(),
    }
}

struct Runner<'a> {
    plan: &'a Plan,
    client: Client,
    known: Known,
    clock: Clock,
    connections: u64,
    cancel: CancellationToken,
    run: Run,
    /// How many scenarios have begun.
    place: usize,
}

impl Runner<'_> {
    async fn scenarios(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let of = self
            .plan
            .search
            .is_none()
            .then_some(self.plan.scenarios.len());
        let plan = self.plan;
        for scenario in &plan.scenarios {
            if !self.scenario(scenario, of, observer).await? {
                break;
            }
        }
        Ok(())
    }

    async fn search(&mut self, observer: &mut dyn Observer) -> Result<(), Error> {
        let plan = self.plan;
        let Some(search) = &plan.search else {
            return Ok(());
        };
        let (mut found, mut good) = (Found::default(), 0.0);
        while self.run.stopped.is_none() {
            let Some(load) = found.next(search) else {
                break;
            };
            self.scenario(&search.scenario(load), None, observer)
                .await?;
            let Some(last) = self.run.scenarios.last() else {
                break;
            };
            let met = search.met(last);
            if met {
                good = goodput(last, &search.objectives);
            }
            found.learn(load, met);
            // A level that failed wholly ends itself, not the search.
            if !self.cancel.is_cancelled() {
                self.run.stopped = None;
            }
        }
        self.run.knee = Some(Knee {
            scenario: found.met.map(|load| search.name(load)),
            goodput: good,
            missed_at: found.missed.map(|load| search.name(load)),
        });
        observer.scenario_ended(&self.run);
        Ok(())
    }

    /// Runs one; false where no other is worth running.
    async fn scenario(
        &mut self,
        plan: &ScenarioPlan,
        of: Option<usize>,
        observer: &mut dyn Observer,
    ) -> Result<bool, Error> {
        self.place += 1;
        let requests = Requests {
            model: self.known.model.clone(),
            dialect: self.known.dialect,
            vocabulary: self.known.vocabulary.clone(),
            workload: Arc::new(self.plan.workload.clone()),
            texts: self.plan.texts,
            scenario: self.place as u64,
        };
        let stage = Stage {
            plan,
            wire: Wire {
                client: self.client.clone(),
                clock: self.clock,
                timeout: self.plan.timeout,
            },
            requests: requests.clone(),
            connections: self.connections,
            cancel: self.cancel.clone(),
            stop_at: self
                .plan
                .stop_when
                .map(candlepower_api::value::Percentage::fraction),
            place: (self.place, of),
        };
        let scenario = stage.run(observer).await?;
        self.run.stopped.clone_from(&scenario.stopped);
        if self.cancel.is_cancelled() {
            self.run.stopped = Some(INTERRUPTED.to_owned());
        }
        let samples = &mut self.run.prompts;
        samples::keep(samples, &plan.load, &scenario.requests, &requests);
        self.run.scenarios.push(scenario);
        let (shorter, all) = shorter(&self.run);
        self.run.output_lengths = self.known.dialect.lengths.words(shorter, all);
        observer.scenario_ended(&self.run);
        Ok(self.run.stopped.is_none())
    }
}
