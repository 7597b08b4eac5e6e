//! What a report comes to, in a few sentences.
use super::{
    model::{Outcome, Report},
    trial, words,
};
use crate::analysis::{
    comparison::{Comparison, DEPLOYMENT},
    findings::primary,
};

/// Three or four sentences.
pub(super) fn summary(report: &Report) -> String {
    let mut sentences = vec![first_sentence(report)];
    sentences.extend(limit(report));
    sentences.extend(measured(report));
    let first = trial::first(report);
    sentences.extend(first.map(|one| format!("First thing to do: {}.", lower(&one.title))));
    sentences.join(" ")
}

/// What was measured beside the run, each with its verdict.
fn measured(report: &Report) -> Option<String> {
    if report.conclusion.outcome == Outcome::Void {
        return None;
    }
    let (drift, changes): (Vec<_>, Vec<_>) =
        report.comparisons.iter().partition(|one| one.is_drift());
    let told: Vec<_> = changes.into_iter().map(told).collect();
    let drifted = drift.iter().any(|one| one.has_changed());
    let warning = if drifted {
        " (the deployment itself changed, too: section 7.1)"
    } else {
        ""
    };
    (!told.is_empty()).then(|| format!("Measured: {}{warning}.", told.join("; ")))
}

/// `q4_0 is better in TPOT Avg`.
fn told(comparison: &Comparison) -> String {
    let effect = words::effect(comparison);
    if comparison.before == DEPLOYMENT {
        format!("{} {effect}", comparison.after)
    } else {
        format!(
            "{}, beside {}, {effect}",
            comparison.after, comparison.before
        )
    }
}

fn first_sentence(report: &Report) -> String {
    let count = report.levels.len();
    let plural = if count == 1 { "" } else { "s" };
    match report.conclusion.outcome {
        Outcome::NoAnswers => "No request was answered, so there are no latencies.".to_owned(),
        Outcome::Void => "The load generator did not keep up, so these figures say little about \
                          the server and no verdict is given."
            .to_owned(),
        Outcome::Met | Outcome::Missed if report.run.knee.is_some() => searched(report),
        Outcome::Met if report.objectives.is_empty() => {
            format!("{count} scenario{plural} measured, with no objectives to judge them by.")
        }
        Outcome::Met => format!("Every objective was met in all {count} scenario{plural}."),
        Outcome::Inconclusive => inconclusive(report),
        Outcome::Missed => missed(report),
    }
}

/// What a search found.
fn searched(report: &Report) -> String {
    let load = |name: Option<&String>| {
        let level = report
            .levels
            .iter()
            .find(|level| Some(&level.name) == name)?;
        Some(level.load_text())
    };
    let knee = report.run.knee.as_ref();
    let [met, missed] = [
        knee.and_then(|knee| load(knee.scenario.as_ref())),
        knee.and_then(|knee| load(knee.missed_at.as_ref())),
    ];
    match (met, missed) {
        (Some(met), _) if report.conclusion.outcome == Outcome::Missed => {
            format!(
                "Objectives are missed under {met}, the highest load that the search found good."
            )
        }
        (Some(met), Some(missed)) => format!(
            "The highest load within the objectives is {met}; {missed} missed them, as a search's last load has to."
        ),
        (Some(met), None) => format!("The highest load of the search, {met}, met the objectives."),
        (None, Some(missed)) => {
            format!("Even the lowest load of the search, {missed}, missed the objectives.")
        }
        (None, None) => "The search found no load within the objectives.".to_owned(),
    }
}

/// Under which loads objectives are missed.
fn missed(report: &Report) -> String {
    let mut by_load: Vec<_> = report.levels.iter().collect();
    by_load.sort_by(|a, b| a.concurrency.total_cmp(&b.concurrency));
    let first = by_load.iter().position(|level| level.misses());
    let above = &by_load[first.unwrap_or(by_load.len())..];
    match above {
        [] => "Objectives are missed.".to_owned(),
        [lowest, ..] if above.iter().all(|level| level.misses()) => {
            format!("Objectives are missed from {} on.", lowest.load_text())
        }
        _ => {
            let loads = above.iter().filter(|level| level.misses());
            let loads: Vec<_> = loads.map(|level| level.load_text()).collect();
            format!("Objectives are missed under {}.", loads.join(", "))
        }
    }
}

/// No objective was seen to be missed, and that is all that can be said.
fn inconclusive(report: &Report) -> String {
    let unknown = report.levels.iter().flat_map(|level| &level.verdicts);
    let mut names: Vec<_> = unknown
        .filter(|one| one.met().is_none())
        .map(|one| words::metric_name(one.objective.metric))
        .collect();
    names.sort_unstable();
    names.dedup();
    if report.run.knee.is_some() && report.run.stopped.is_none() {
        return "No verdict: the search found no load within the objectives, but not because one was seen to be missed."
            .to_owned();
    }
    let why = match &report.run.stopped {
        Some(stopped) if report.run.knee.is_some() => format!("the search did not end: {stopped}"),
        _ if !names.is_empty() => format!(
            "in some scenario there is no figure for {} (section 10.4)",
            names.join(", ")
        ),
        Some(stopped) => format!("scenarios are missing: {stopped}"),
        None => "figures are missing".to_owned(),
    };
    format!("No verdict: no objective was seen to be missed, but {why}.")
}

fn limit(report: &Report) -> Option<String> {
    if report.conclusion.outcome == Outcome::Void {
        return None;
    }
    match primary(&report.findings) {
        Some(finding) => Some(format!(
            "The primary bottleneck is {} ({} of {}): {}.",
            finding.class.title(),
            words::percent(finding.share),
            finding.share_of,
            finding.cause
        )),
        None if report.conclusion.outcome == Outcome::Met => {
            Some("No bottleneck was found.".to_owned())
        }
        None => Some("The evidence names no bottleneck.".to_owned()),
    }
}

/// With a small first letter, unless the first word is a name.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::testing::{Plant, objectives},
        evidence::Evidence,
        knee::tests::{hopeless, searched},
        record::Run,
        report::{Options, build},
    };

    #[test]
    fn loads_that_miss_are_named_and_none_that_does_not() {
        let level = |users, queue| Plant {
            users,
            queue,
            ..Plant::default()
        };
        let said = |plants: &[Plant]| summary(&Plant::report(plants));
        let from_on = said(&[level(2, 1.0), level(4, 3_000.0), level(8, 3_000.0)]);
        assert!(from_on.contains("missed from 4 users on."), "{from_on}");
        let one = said(&[level(2, 1.0), level(4, 3_000.0), level(8, 1.0)]);
        assert!(one.contains("missed under 4 users."), "{one}");
    }

    #[test]
    fn a_search_is_summed_up_by_its_knee_as_its_exit_code_is() {
        let told = |(run, evidence): (Run, Evidence)| {
            let options = Options {
                objectives: objectives(),
                ..Options::default()
            };
            build(&run, &evidence, &options).conclusion
        };
        let found = told(searched());
        assert_eq!(found.outcome, Outcome::Met);
        let summary = found.summary;
        assert!(
            summary
                .starts_with("The highest load within the objectives is 4 users; 8 users missed"),
            "{summary}"
        );
        let none = told(hopeless());
        assert_eq!(none.outcome, Outcome::Missed);
        assert!(none.summary.contains("lowest load of the search, 8 users"));
        let mut ended = searched();
        ended.0.stopped = Some("the run was interrupted".to_owned());
        let ended = told(ended);
        assert_eq!(ended.outcome, Outcome::Inconclusive);
        let summary = ended.summary;
        assert!(
            summary.contains("the search did not end: the run was interrupted"),
            "{summary}"
        );
    }

    #[test]
    fn nothing_is_said_of_changes_where_the_load_generator_was_the_limit() {
        let mut report = Plant::report(&[Plant::default()]);
        report.comparisons = vec![Comparison {
            before: DEPLOYMENT.to_owned(),
            after: "q4".to_owned(),
            levels: vec![],
            left_out: vec![],
            capacity: None,
            other_machine: None,
        }];
        assert!(summary(&report).contains("Measured: q4"));
        report.conclusion.outcome = Outcome::Void;
        assert!(
            !summary(&report).contains("Measured"),
            "{}",
            summary(&report)
        );
    }
}
