//! The deployment, each change of it, and the deployment again, so that a drift of the machine is
//! seen and is not taken for the effect of a change.
use super::{
    Error,
    follow::Teller,
    mailbox::Mailbox,
    measure::{Measured, Place, measure},
    outcome::{self, Tried},
    plan::{self, Prompts},
    shorten,
};
use crate::{
    evidence::{Missing, files},
    load::CancellationToken,
    objectives, record_files,
    report::{Options, Report, build},
};
use candlepower_api::benchmark::{
    LLMBenchmarkSpec,
    job::{
        Assignment, Change, NODE_VARIABLE, RECORDS_DIR, REPORT_JSON, REPORT_MARKDOWN, SUMMARY,
        Served,
    },
};
use std::{collections::BTreeMap, env, path::Path};

/// The folder of the first round's records, and of the last one's.
const FIRST: &str = "deployment";
const AGAIN: &str = "deployment-again";

/// All rounds of one benchmark.
pub(super) struct Rounds {
    mailbox: Mailbox,
    teller: Teller,
    api_key: Option<String>,
    namespace: String,
    node: Option<String>,
    cancel: CancellationToken,
    /// The number of the last wish.
    wishes: u32,
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
            mailbox,
            api_key,
            namespace,
            node: env::var(NODE_VARIABLE).ok(),
            cancel,
            wishes: 0,
            missing: Vec::new(),
        }
    }

    /// Measures everything and leaves the report.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let assignment = self.mailbox.assignment().await?;
        self.begin_anew().await?;
        let first = self
            .round(&assignment, &assignment.target, None, Prompts::New)
            .await?;
        let options = Options {
            title: Some(assignment.benchmark.clone()),
            objectives: objectives::of_resource(&assignment.spec.objectives),
            ..Options::default()
        };
        let report = build(&first.run, &first.evidence, &options);
        let changes = changes(&assignment.spec, &report);
        let mut tried = Vec::new();
        for change in changes {
            tried.push(self.change(&assignment, change, &options).await?);
        }
        let again = if tried.is_empty() {
            None
        } else {
            // The operator has removed the last copy by then.
            let target = self.mailbox.assignment().await?.target;
            let again = self
                .round(&assignment, &target, None, Prompts::Seen)
                .await?;
            Some(build(&again.run, &again.evidence, &options))
        };
        self.conclude(&assignment, &first, options, &tried, again.as_ref())
            .await
    }

    /// An earlier pod of this job may have been lost in the middle of a change.
    async fn begin_anew(&mut self) -> Result<(), Error> {
        let Some(last) = self.mailbox.last_wish().await? else {
            return Ok(());
        };
        self.wishes = last.number;
        let why =
            "the pod was lost; the numbers are of another one, which measured everything anew";
        self.lacks("an earlier attempt", why);
        self.release().await
    }

    async fn round(
        &mut self,
        assignment: &Assignment,
        served: &Served,
        variant: Option<&str>,
        prompts: Prompts,
    ) -> Result<Measured, Error> {
        self.teller.stage("Preparing", variant);
        let plan = plan::plan(&assignment.spec, served, self.api_key.clone(), prompts)?;
        let place = Place {
            namespace: &self.namespace,
            node: self.node.as_deref(),
        };
        let mut follow = self.teller.observer(variant);
        let measured = measure(&plan, served, &place, &mut follow, &self.cancel).await?;
        let folder = match prompts {
            Prompts::New => variant.unwrap_or(FIRST),
            Prompts::Seen => AGAIN,
        };
        self.keep(&assignment.benchmark, folder, &measured);
        Ok(measured)
    }

    /// Measures a copy of the deployment with one change.
    async fn change(
        &mut self,
        assignment: &Assignment,
        change: Change,
        options: &Options,
    ) -> Result<Tried, Error> {
        let name = change.name().to_owned();
        self.teller.stage("Starting the variant", Some(&name));
        self.wishes += 1;
        let answer = tokio::select! {
            answer = self.mailbox.wish(self.wishes, Some(change)) => answer?,
            () = self.cancel.cancelled() => return Err(Error::Interrupted),
        };
        let result = match answer {
            Ok(Some(served)) => {
                let measured = self
                    .round(assignment, &served, Some(&name), Prompts::New)
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
    fn keep(&mut self, benchmark: &str, folder: &str, measured: &Measured) {
        let folder = Path::new(RECORDS_DIR)
            .join(benchmark)
            .join(file_name(folder));
        let written = record_files::Writer::new(&folder)
            .and_then(|mut writer| writer.write(&measured.run))
            .map_err(|error| error.to_string())
            .and_then(|()| {
                let evidence = files::write(&folder, &measured.evidence);
                evidence.map_err(|error| error.to_string())
            });
        if let Err(error) = written {
            self.lacks("records of the requests", &error);
        }
    }

    fn lacks(&mut self, what: &str, why: &str) {
        eprintln!("warning: {what}: {why}");
        self.missing.push(Missing {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }

    /// The report of the deployment itself, with all comparisons.
    async fn conclude(
        self,
        assignment: &Assignment,
        first: &Measured,
        options: Options,
        tried: &[Tried],
        again: Option<&Report>,
    ) -> Result<(), Error> {
        self.teller.stage("Reporting", None);
        let alone = build(&first.run, &first.evidence, &options);
        let options = Options {
            comparisons: outcome::comparisons(&alone, tried, again),
            ..options
        };
        let mut report = build(&first.run, &first.evidence, &options);
        report.missing.extend(self.missing);
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

/// The variants that are asked for, and the first recommendations that a patch would do.
fn changes(spec: &LLMBenchmarkSpec, report: &Report) -> Vec<Change> {
    let variants = spec.variants.iter().map(|variant| Change::Variant {
        name: variant.name.clone(),
    });
    let tries = usize::try_from(spec.try_recommendations).unwrap_or_default();
    let recommended = report.recommendations.iter().filter_map(|one| {
        let fields = one.patch.as_ref()?.as_object()?.clone();
        Some(Change::Recommendation {
            name: one.id.clone(),
            patch: fields.into_iter().collect(),
        })
    });
    variants.chain(recommended.take(tries)).collect()
}

/// A variant's name as one of a folder.
fn file_name(name: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' {
            letter
        } else {
            '_'
        }
    };
    name.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_out_of_the_folder() {
        assert_eq!(file_name("../int8 é"), "___int8__");
    }
}
