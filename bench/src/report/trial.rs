//! What came of recommendations that were tried, and what is left to do. Pure.
use super::model::Report;
use crate::analysis::{
    advice::Recommendation,
    comparison::{Change, Comparison, DEPLOYMENT},
    findings::{Finding, Proof, primary},
};

/// What came of a recommendation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trial<'a> {
    /// Nobody tried it.
    None,
    /// It could not be measured: why.
    Failed(&'a str),
    /// It was measured beside the deployment.
    Measured(&'a Comparison),
}

impl Trial<'_> {
    /// Whether it was measured, and nothing became better for certain.
    pub(super) fn brought_nothing(self) -> bool {
        matches!(self, Self::Measured(found) if found.figures_that(Change::Better).is_empty())
    }
}

/// What came of `one`: rounds of recommendations bear their ids.
pub(super) fn trial<'a>(report: &'a Report, one: &Recommendation) -> Trial<'a> {
    let found = report
        .comparisons
        .iter()
        .find(|found| found.before == DEPLOYMENT && found.after == one.id);
    if let Some(found) = found {
        // What may be the machine's doing says nothing of the change.
        let other = found.other_machine.as_ref();
        let other = other.filter(|_| found.is_of_another_machine());
        return other.map_or(Trial::Measured(found), |other| Trial::Failed(&other.text));
    }
    let lost = format!("the variant {}", one.id);
    let lost = report.missing.iter().find(|missing| missing.what == lost);
    lost.map_or(Trial::None, |missing| Trial::Failed(&missing.why))
}

/// Recommendations that answer a finding: those that quote its cause or its figures.
pub(super) fn remedies<'a>(
    report: &'a Report,
    finding: &'a Finding,
) -> impl Iterator<Item = &'a Recommendation> {
    report.recommendations.iter().filter(move |one| {
        let quotes = |proof: &Proof| one.evidence.contains(&proof.to_string());
        one.problem.contains(&finding.cause) || finding.evidence.iter().any(quotes)
    })
}

/// What to do first: a remedy of the primary bottleneck, or else the most urgent recommendation; never one
/// that was measured and brought nothing.
pub(super) fn first(report: &Report) -> Option<&Recommendation> {
    let open = |one: &&Recommendation| !trial(report, one).brought_nothing();
    let of_primary =
        primary(&report.findings).and_then(|finding| remedies(report, finding).find(open));
    of_primary.or_else(|| report.recommendations.iter().find(open))
}

/// The finding that a recommendation answers.
pub(super) fn cause<'a>(report: &'a Report, one: &Recommendation) -> Option<&'a Finding> {
    let mut all = report.findings.iter();
    all.find(|finding| remedies(report, finding).any(|remedy| remedy.id == one.id))
}
