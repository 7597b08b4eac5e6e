//! Alerts about the operator itself, and about what belongs to no deployment that has rules of its own: the chart
//! delivers them.
use super::{Alert, Rule, RuleFile, RuleGroup};
use candlepower_api::{
    deployment::Severity,
    names::{alerts as names, operator_metrics as metrics},
};

/// Failures of one kind that are worth an alert, within [`WINDOW`]: an object that fails again and
/// again is tried every two minutes.
const FAILURES: u32 = 3;
const WINDOW: &str = "15m";
/// What the resource's own conditions tell, and what a stop of the operator brings.
const TOLD_ELSEWHERE: &str = "malformed|refused|stopping";

/// The rules of an installation. `runbooks` is the folder of the runbooks.
pub fn of_operator(runbooks: &str) -> RuleFile {
    RuleFile {
        groups: vec![RuleGroup {
            name: "candlepower:operator".to_owned(),
            interval: None,
            rules: vec![
                down(runbooks),
                reconcile_errors(runbooks),
                benchmark_regressed(runbooks),
            ],
        }],
    }
}

fn down(runbooks: &str) -> Rule {
    Alert {
        name: names::OPERATOR_DOWN,
        expr: format!("absent({} == 1)", metrics::LEADER),
        hold: "5m".to_owned(),
        severity: Severity::Critical,
        summary: "No operator works.",
        description:
            "No operator works, or Prometheus cannot scrape it: models serve on, but changes \
                      have no effect, and nothing is scaled."
                .to_owned(),
    }
    .into_plain_rule(runbooks)
}

fn reconcile_errors(runbooks: &str) -> Rule {
    Alert {
        name: names::OPERATOR_RECONCILE_ERRORS,
        expr: format!(
            "sum by (controller, category) (increase({}{{category!~\"{TOLD_ELSEWHERE}\"}}[{WINDOW}])) > {FAILURES}",
            metrics::RECONCILE_FAILURES
        ),
        hold: "15m".to_owned(),
        severity: Severity::Warning,
        summary: "Reconciles fail again and again.",
        description: format!(
            "{{{{ $value | humanize }}}} reconciles of the controller {{{{ $labels.controller }}}} failed within {WINDOW} ({{{{ $labels.category }}}})."
        ),
    }
    .into_plain_rule(runbooks)
}

/// Of another server than ours; each deployment's own rules speak of its benchmarks.
fn benchmark_regressed(runbooks: &str) -> Rule {
    Alert {
        name: names::BENCHMARK_REGRESSED,
        expr: format!(
            "max by ({namespace}, {benchmark}) ({}{{{}=\"\"}}) == 1",
            metrics::BENCHMARK_REGRESSED,
            metrics::LABEL_LLM_DEPLOYMENT,
            namespace = metrics::LABEL_NAMESPACE,
            benchmark = metrics::LABEL_LLM_BENCHMARK,
        ),
        hold: "0s".to_owned(),
        severity: Severity::Warning,
        summary: "A benchmark of another server got worse.",
        description: format!(
            "{{{{ $labels.{} }}}}/{{{{ $labels.{} }}}}: the last run is worse than the one that it is compared with.",
            metrics::LABEL_NAMESPACE,
            metrics::LABEL_LLM_BENCHMARK
        ),
    }
    .into_plain_rule(runbooks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Error, observability::rules::DEFAULT_RUNBOOKS};

    fn rules() -> Vec<Rule> {
        let mut file = of_operator(DEFAULT_RUNBOOKS);
        file.groups.remove(0).rules
    }

    #[test]
    fn every_alert_of_the_operator_exists_and_leads_to_its_page() {
        let rules = rules();
        let found: Vec<_> = rules
            .iter()
            .filter_map(|rule| rule.alert.as_deref())
            .collect();
        assert_eq!(found, names::OPERATOR);
        for rule in &rules {
            let page = format!("docs/runbooks/{}.md", rule.alert.as_deref().unwrap());
            assert!(rule.annotations["runbook_url"].ends_with(&page));
        }
    }

    #[test]
    fn what_is_left_out_is_what_reconciles_really_report() {
        let left_out: Vec<_> = TOLD_ELSEWHERE.split('|').collect();
        assert!(left_out.iter().all(|one| Error::CATEGORIES.contains(one)));
    }
}
