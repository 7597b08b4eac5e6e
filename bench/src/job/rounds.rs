//! The deployment, each change of it, and the deployment again, so that a drift of the machine is
//! seen and is not taken for the effect of a change.
use super::{
    Error, baseline,
    bucket::Bucket,
    changes::{changes, round_of},
    ends::Ends,
    follow::Teller,
    machines::Machines,
    mailbox::Mailbox,
    measure::{Measured, Place, measure},
    outcome::{self, Tried},
    plan, shorten,
    store::Store,
};
use crate::{
    analysis::{comparison::Comparison, cost::Price},
    evidence::Missing,
    load::CancellationToken,
    objectives,
    report::{Options, Report, build},
};
use candlepower_api::benchmark::{
    LLMBenchmarkSpec,
    job::{
        Assignment, BASELINE_DIR, Change, KEPT, NODE_VARIABLE, RECORDS_DIR, REPORT_JSON,
        REPORT_MARKDOWN, SUMMARY, Served, TARGET_TLS_DIR, Wish,
    },
};
use std::{collections::BTreeMap, env, path::Path};

/// The first round, and the last one.
const FIRST: &str = "deployment";
const AGAIN: &str = "deployment-again";

/// All rounds of one benchmark.
pub(super) struct Rounds {
    mailbox: Mailbox,
    teller: Teller,
    machines: Machines,
    api_key: Option<String>,
    namespace: String,
    node: Option<String>,
    cancel: CancellationToken,
    /// The number of the last wish.
    wishes: u32,
    /// Which texts the prompts are made of: others in each pod, for the same requests may have been sent to the same
    /// deployment before, by a pod that was lost or by a run of the day before, and its prefix cache may hold them.
    texts: u64,
    /// Whether another pod of this job was lost before.
    follows: bool,
    /// Rounds that it had left.
    found: Vec<String>,
    /// Where files go besides.
    bucket: Option<Bucket>,
    /// What could not be done, for the report.
    missing: Vec<Missing>,
}

impl Rounds {
    pub(super) fn new(
        mailbox: Mailbox,
        api_key: Option<String>,
        namespace: String,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            teller: Teller::new(mailbox.clone()),
            machines: Machines::new(mailbox.clone()),
            mailbox,
            api_key,
            namespace,
            node: env::var(NODE_VARIABLE).ok(),
            cancel,
            wishes: 0,
            texts: plan::new_texts(),
            follows: false,
            found: Vec::new(),
            bucket: None,
            missing: Vec::new(),
        }
    }

    /// Measures everything and leaves the report.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let assignment = self.mailbox.assignment().await?;
        let folder = Path::new(RECORDS_DIR).join(&assignment.benchmark);
        let left = self.mailbox.left().await?;
        let mut store = Store::new(folder, left.kept);
        self.open_bucket(&assignment.spec);
        self.follows = left.began;
        self.release_what_a_lost_pod_had(left.last_wish).await?;
        self.machines.go_on_after(left.last_machine).await?;
        let first = self
            .round(&mut store, &assignment, &assignment.target, FIRST, None)
            .await?;
        let options = Options {
            title: Some(assignment.benchmark.clone()),
            objectives: objectives::of_resource(&assignment.spec.objectives),
            price: assignment.spec.price.as_ref().and_then(price),
            benchmark: Some(assignment.spec.clone()),
            ..Options::default()
        };
        let report = build(&first.run, &first.evidence, &options);
        let changes = changes(&assignment.spec, &report);
        let mut tried = Vec::new();
        for change in changes {
            let trying = self.change(&mut store, &assignment, change, &options);
            tried.push(trying.await?);
        }
        let again = if tried.is_empty() {
            None
        } else {
            self.again(&mut store, &assignment, &options).await?
        };
        self.conclude(&assignment, &first, options, &tried, again.as_ref())
            .await
    }

    fn open_bucket(&mut self, spec: &LLMBenchmarkSpec) {
        let records = spec
            .records
            .as_ref()
            .and_then(|records| records.s3.as_ref());
        match records.map(|s3| Bucket::open(s3, |name| env::var(name).ok())) {
            Some(Ok(bucket)) => self.bucket = Some(bucket),
            Some(Err(error)) => self.lacks("records in the bucket", &error.to_string()),
            None => {}
        }
    }

    /// An earlier pod of this job may have been lost in the middle of a change.
    async fn release_what_a_lost_pod_had(&mut self, last: Option<Wish>) -> Result<(), Error> {
        let Some(last) = last else {
            return Ok(());
        };
        self.wishes = last.number;
        self.release().await
    }

    /// Measures `served`, unless a pod that was lost already has.
    async fn round(
        &mut self,
        store: &mut Store,
        assignment: &Assignment,
        served: &Served,
        round: &str,
        variant: Option<&str>,
    ) -> Result<Measured, Error> {
        if let Some(measured) = self.left_by_another(store, assignment, round).await {
            return Ok(measured);
        }
        self.teller.stage("Preparing", variant);
        // Those of the first round are in the deployment's prefix cache.
        let texts = self.texts.wrapping_add(u64::from(round == AGAIN));
        let plan = plan::plan(
            &assignment.spec,
            served,
            self.api_key.clone(),
            plan::certificates(Path::new(TARGET_TLS_DIR)),
            texts,
        )?;
        let place = Place {
            namespace: &self.namespace,
            node: self.node.as_deref(),
        };
        let mut follow = self.teller.observer(variant);
        let copy = variant.map(|_| self.wishes);
        let ends = Ends::follow(self.mailbox.clone(), served, copy);
        let machines = &mut self.machines;
        let measuring = measure(
            &plan,
            served,
            &place,
            machines,
            ends,
            &mut follow,
            &self.cancel,
        );
        let measured = measuring.await?;
        self.keep(store, assignment, round, &measured).await?;
        Ok(measured)
    }

    async fn left_by_another(
        &mut self,
        store: &Store,
        assignment: &Assignment,
        round: &str,
    ) -> Option<Measured> {
        let measured = store.load(round)?;
        eprintln!("{round}: measured by the pod that was lost");
        self.found.push(round.to_owned());
        // That pod may have been lost before it had done so.
        self.upload(store, assignment, round).await;
        Some(measured)
    }

    /// The deployment once more. The operator has removed the last copy by then. That it cannot be measured again is no
    /// reason to lose what was measured.
    async fn again(
        &mut self,
        store: &mut Store,
        assignment: &Assignment,
        options: &Options,
    ) -> Result<Option<Report>, Error> {
        let target = self.mailbox.assignment().await?.target;
        match self.round(store, assignment, &target, AGAIN, None).await {
            Ok(again) => Ok(Some(build(&again.run, &again.evidence, options))),
            Err(Error::Load(error)) => {
                self.lacks("the deployment again", &error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Measures a copy of the deployment with one change.
    async fn change(
        &mut self,
        store: &mut Store,
        assignment: &Assignment,
        change: Change,
        options: &Options,
    ) -> Result<Tried, Error> {
        let (name, round) = (change.name().to_owned(), round_of(&change));
        if let Some(measured) = self.left_by_another(store, assignment, &round).await {
            let result = Ok(build(&measured.run, &measured.evidence, options));
            return Ok(Tried { name, result });
        }
        self.teller.stage("Starting the variant", Some(&name));
        self.wishes += 1;
        let answer = tokio::select! {
            answer = self.mailbox.wish(self.wishes, Some(change)) => answer?,
            () = self.cancel.cancelled() => return Err(Error::Interrupted),
        };
        let result = match answer {
            Ok(Some(served)) => {
                let measured = self
                    .round(store, assignment, &served, &round, Some(&name))
                    .await;
                // A copy that cannot be measured is no reason to lose all other rounds.
                match measured {
                    Ok(measured) => Ok(build(&measured.run, &measured.evidence, options)),
                    Err(Error::Load(error)) => Err(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
            Ok(None) => Err("the operator gave no address".to_owned()),
            Err(why) => Err(why),
        };
        self.teller.stage("Removing the variant", Some(&name));
        self.release().await?;
        if let Err(why) = &result {
            self.lacks(&format!("the variant {name}"), why);
        }
        Ok(Tried { name, result })
    }

    async fn release(&mut self) -> Result<(), Error> {
        self.wishes += 1;
        if let Err(why) = self.mailbox.wish(self.wishes, None).await? {
            self.lacks("certainty that the copy was gone", &why);
        }
        Ok(())
    }

    /// Records that cannot be kept, such as for a full disk, do not cost the report.
    async fn keep(
        &mut self,
        store: &mut Store,
        assignment: &Assignment,
        round: &str,
        measured: &Measured,
    ) -> Result<(), Error> {
        if let Err(error) = store.keep(round, measured) {
            self.lacks("records of the requests", &error.to_string());
            return Ok(());
        }
        let kept = serde_json::to_string(store.kept()).map_err(super::mailbox::Error::from)?;
        self.mailbox.keep(&BTreeMap::from([(KEPT, kept)])).await?;
        self.upload(store, assignment, round).await;
        Ok(())
    }

    async fn upload(&mut self, store: &Store, assignment: &Assignment, round: &str) {
        let Some(bucket) = &self.bucket else { return };
        let folder = store.folder(round);
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{}/{name}", assignment.benchmark);
        if let Err(error) = bucket.put(&folder, &name).await {
            self.lacks("records in the bucket", &error.to_string());
        }
    }

    fn lacks(&mut self, what: &str, why: &str) {
        eprintln!("warning: {what}: {why}");
        self.missing.push(Missing {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }

    fn beside_baseline(&mut self, spec: &LLMBenchmarkSpec, alone: &Report) -> Option<Comparison> {
        let name = &spec.baseline.as_ref()?.benchmark;
        let found = baseline::compare(name, Path::new(BASELINE_DIR), alone);
        found
            .map_err(|missing| self.lacks(&missing.what, &missing.why))
            .ok()
    }

    /// The report of the deployment itself, with all comparisons.
    async fn conclude(
        mut self,
        assignment: &Assignment,
        first: &Measured,
        options: Options,
        tried: &[Tried],
        again: Option<&Report>,
    ) -> Result<(), Error> {
        self.teller.stage("Reporting", None);
        let alone = build(&first.run, &first.evidence, &options);
        let mut comparisons = outcome::comparisons(&alone, tried, again);
        comparisons.extend(self.beside_baseline(&assignment.spec, &alone));
        let options = Options {
            comparisons,
            ..options
        };
        let mut report = build(&first.run, &first.evidence, &options);
        report.missing.extend(self.missing);
        report.missing.extend(lost(self.follows, &self.found));
        let mut summary = outcome::summary(&report, tried, again);
        summary.workload = plan::fingerprint(&assignment.spec);
        let short = shorten::fit(report)?;
        summary.shortened = short.left_out;
        let mut texts = BTreeMap::from([(REPORT_MARKDOWN, short.markdown)]);
        texts.extend(short.json.map(|json| (REPORT_JSON, json)));
        // Last, because with it the benchmark is complete.
        self.mailbox.keep(&texts).await?;
        let summary = serde_json::to_string(&summary).map_err(super::mailbox::Error::from)?;
        self.mailbox
            .keep(&BTreeMap::from([(SUMMARY, summary)]))
            .await?;
        eprintln!("the report is written");
        Ok(())
    }
}

/// The price as the report computes with it.
fn price(asked: &candlepower_api::benchmark::Price) -> Option<Price> {
    Some(Price {
        per_hour: asked.amount()?,
        currency: asked.currency.clone(),
    })
}

/// What readers should know where a pod was lost.
fn lost(follows: bool, found: &[String]) -> Option<Missing> {
    let why = if found.is_empty() {
        "the pod was lost; the numbers are of another one, which measured everything anew"
            .to_owned()
    } else {
        format!(
            "the pod was lost; another one went on with what it had left on the claim ({}), and \
             measured the rest",
            found.join(", ")
        )
    };
    follows.then(|| Missing {
        what: "an earlier attempt".to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_the_number_that_its_text_says() {
        let asked = serde_json::from_value(serde_json::json!({"perHour": "2.50"})).unwrap();
        let price = price(&asked).unwrap();
        assert!(
            (price.per_hour - 2.5).abs() < 1e-12 && price.currency == "USD",
            "{price:?}"
        );
    }

    #[test]
    fn a_report_says_what_a_lost_pod_left_and_what_was_measured_again() {
        assert_eq!(lost(false, &[]), None);
        let anew = lost(true, &[]).unwrap();
        assert!(anew.why.contains("everything anew"), "{anew:?}");
        let went_on = lost(true, &["deployment".into(), "variant-a".into()]).unwrap();
        assert!(
            went_on.why.contains("(deployment, variant-a)"),
            "{went_on:?}"
        );
    }
}
