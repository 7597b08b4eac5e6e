//! Does what was decided: the worker and its mailbox, copies of the deployment, runs of a schedule.
use super::{
    answer, build,
    context::Context,
    copy,
    decide::Decision,
    dereference::Observed,
    machine::{self, Look},
    schedule::Schedule,
};
pub(super) use crate::children::Refusal;
use crate::{
    children::{self, Failure, Writer},
    error::Error,
};
use candlepower_api::{
    benchmark::{
        LLMBenchmark,
        job::{Answer, Assignment, MachineAnswer, Served},
    },
    deployment::LLMDeployment,
};
use kube::{ResourceExt, api::PropagationPolicy};
use std::sync::{Arc, atomic::AtomicBool};

/// How it fared.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The cluster is as it should be.
    Applied {
        /// The run of the schedule that was made just now.
        run: Option<String>,
    },
    /// The API server did not accept a child.
    Refused(Refusal),
}

/// Does what was decided about `resource`.
pub(super) async fn apply(
    resource: &LLMBenchmark,
    decision: &Decision,
    observed: &Observed,
    context: &Context,
) -> Result<Outcome, Error> {
    let namespace = resource.namespace().ok_or(Error::Incomplete("namespace"))?;
    let owner = children::owner_reference(resource).ok_or(Error::Incomplete("uid"))?;
    let writer = Writer {
        client: &context.client,
        metrics: &context.metrics,
        namespace: &namespace,
        owner: &owner,
        // A copy that is gone has no pod left that would disturb the next measurement.
        deletion: PropagationPolicy::Foreground,
        has_written: AtomicBool::new(false),
    };
    let hand = Hand {
        resource,
        observed,
        context,
        writer,
    };
    let result = match decision {
        Decision::Schedule(schedule) => hand.schedule(schedule).await,
        Decision::Run(served) => Box::pin(hand.run(served)).await,
        Decision::Wait(_) | Decision::End(_) | Decision::Ended => hand.tidy().await,
    };
    match result {
        Ok(outcome) => Ok(outcome),
        Err(Failure::Refused(refusal)) => Ok(Outcome::Refused(refusal)),
        Err(Failure::Error(error)) => Err(error),
    }
}

struct Hand<'a> {
    resource: &'a LLMBenchmark,
    observed: &'a Observed,
    context: &'a Context,
    writer: Writer<'a>,
}

impl Hand<'_> {
    /// Nothing runs: no copy of the deployment may be left.
    async fn tidy(&self) -> Result<Outcome, Failure> {
        self.writer
            .delete_orphans::<LLMDeployment, _>(&self.observed.copies, &[])
            .await?;
        Ok(Outcome::Applied { run: None })
    }

    /// The mailbox before the job, which reads it first.
    async fn run(&self, served: &Served) -> Result<Outcome, Failure> {
        let answer = self.grant().await?;
        let machine = self.look_at_machine().await?;
        let assignment = Assignment {
            benchmark: self.resource.name_any(),
            spec: self.resource.spec.clone(),
            target: served.clone(),
        };
        let report = build::report(
            self.resource,
            &assignment,
            answer.as_ref(),
            machine.as_ref(),
        );
        let report = report.map_err(Failure::Error)?;
        self.writer.put(&report, &self.observed.config_maps).await?;
        // A job's template can never change: whatever this operator would write, a job that is there
        // goes on as it was made.
        if self.observed.job.is_none() {
            let target = self.observed.target.as_deref();
            let worker = build::worker(self.resource, target, &self.context.settings);
            self.writer.make(&worker.account).await?;
            self.writer.make(&worker.role).await?;
            self.writer.make(&worker.binding).await?;
            self.writer.make(&worker.job).await?;
        }
        Ok(Outcome::Applied { run: None })
    }

    /// Makes the copy that the job wishes for, removes all others, and says how far it is.
    async fn grant(&self) -> Result<Option<Answer>, Failure> {
        let Some(wish) = &self.observed.mailbox.wish else {
            self.writer
                .delete_orphans::<LLMDeployment, _>(&self.observed.copies, &[])
                .await?;
            return Ok(None);
        };
        let copy = match &wish.serve {
            Some(change) => Some(self.make(change).await?),
            None => None,
        };
        let kept = match &copy {
            Some(Ok(copy)) => vec![copy.name_any()],
            Some(Err(_)) | None => Vec::new(),
        };
        self.writer
            .delete_orphans::<LLMDeployment, _>(&self.observed.copies, &kept)
            .await?;
        let copy = copy
            .as_ref()
            .map(|copy| copy.as_ref().map_err(Clone::clone));
        Ok(Some(answer::to(wish, copy, self.observed)))
    }

    /// Has the node looked at that the job wishes for, and says how far that is. What has ended, Kubernetes removes.
    async fn look_at_machine(&self) -> Result<Option<MachineAnswer>, Failure> {
        let Some(wish) = &self.observed.mailbox.machine else {
            return Ok(None);
        };
        let look = machine::look(self.resource, wish, self.observed, &self.context.settings);
        if let Look::Begin(job) = &look {
            match self.writer.make(&**job).await {
                Err(Failure::Refused(refusal)) => {
                    let failed = Look::Failed(refusal.message);
                    return Ok(machine::answer(wish, &failed));
                }
                result => result?,
            }
        }
        Ok(machine::answer(wish, &look))
    }

    /// The copy, or why there is none. What the API server says against it is an answer, too.
    async fn make(
        &self,
        change: &candlepower_api::benchmark::job::Change,
    ) -> Result<Result<LLMDeployment, String>, Failure> {
        let Some(target) = &self.observed.target else {
            return Ok(Err("the deployment to copy is gone".to_owned()));
        };
        let copy = match copy::of(self.resource, target, change) {
            Ok(copy) => copy,
            Err(why) => return Ok(Err(why)),
        };
        match self.writer.apply(&copy, &self.observed.copies).await {
            Ok(written) => Ok(Ok(written)),
            Err(Failure::Refused(refusal)) => Ok(Err(refusal.message)),
            Err(other) => Err(other),
        }
    }

    /// Makes the run that is due, and deletes those that are too old to keep.
    async fn schedule(&self, schedule: &Schedule) -> Result<Outcome, Failure> {
        let existing: Vec<Arc<LLMBenchmark>> = self
            .observed
            .runs
            .iter()
            .map(|run| run.benchmark.clone())
            .collect();
        if let Some(run) = &schedule.run {
            self.writer.put(&**run, &existing).await?;
        }
        let mut kept: Vec<_> = schedule.kept.clone();
        kept.extend(schedule.run.iter().map(|run| run.name_any()));
        self.writer
            .delete_orphans::<LLMBenchmark, _>(&existing, &kept)
            .await?;
        Ok(Outcome::Applied {
            run: schedule.run.as_ref().map(|run| run.name_any()),
        })
    }
}
