//! The report of the benchmark to compare with, as kubelet hands it over.
use super::outcome;
use crate::{analysis::comparison::Comparison, evidence::Missing, report::Report};
use candlepower_api::benchmark::job::REPORT_JSON;
use std::{fs, io, path::Path};

/// The benchmark `name`, whose report lies in `folder`, beside the deployment's; or why there is no comparison.
pub(super) fn compare(
    name: &str,
    folder: &Path,
    deployment: &Report,
) -> Result<Comparison, Missing> {
    let missing = |why: String| Missing {
        what: format!("the comparison with {name}"),
        why,
    };
    let text = fs::read_to_string(folder.join(REPORT_JSON)).map_err(|error| {
        missing(match error.kind() {
            io::ErrorKind::NotFound => {
                "its report is gone, or was too large for its ConfigMap".to_owned()
            }
            _ => error.to_string(),
        })
    })?;
    let baseline: Report = serde_json::from_str(&text).map_err(|error| {
        missing(format!(
            "its report cannot be read ({error}); run it again with this version"
        ))
    })?;
    outcome::beside_baseline(name, &baseline, deployment)
        .map_err(|unlike| missing(unlike.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{
        comparison::{Change, Compared, DEPLOYMENT},
        testing::Plant,
    };

    fn of_tpot(tpot: f64) -> Report {
        Plant::report(&[Plant::with(|plant| plant.tpot = tpot)])
    }

    fn compared(text: Option<&str>) -> Result<Comparison, String> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = text {
            fs::write(folder.path().join(REPORT_JSON), text).unwrap();
        }
        let found = compare("before", folder.path(), &of_tpot(20.0));
        found.map_err(|missing| format!("{}: {}", missing.what, missing.why))
    }

    #[test]
    fn a_benchmark_is_compared_with_its_baseline_with_intervals() {
        let baseline = serde_json::to_string(&of_tpot(30.0)).unwrap();
        let found = compared(Some(&baseline)).unwrap();
        assert_eq!(
            (found.before.as_str(), found.after.as_str()),
            ("before", DEPLOYMENT)
        );
        assert!(
            found.figures_that(Change::Better).contains(&Compared::Tpot),
            "{found:?}"
        );
    }

    #[test]
    fn where_there_is_no_comparison_the_report_says_why() {
        let mut other = of_tpot(30.0);
        other.run.workload.seed += 1;
        let other = serde_json::to_string(&other).unwrap();
        for (text, why) in [
            (None, "its report is gone"),
            (Some("{}"), "run it again with this version"),
            (Some(other.as_str()), "the workloads differ in seed"),
        ] {
            let said = compared(text).unwrap_err();
            assert!(
                said.starts_with("the comparison with before: ") && said.contains(why),
                "{said}"
            );
        }
    }
}
