//! Which changes of a deployment are measured: those that the benchmark names, and those that the report recommends.
use crate::report::Report;
use candlepower_api::benchmark::{LLMBenchmarkSpec, job::Change};

/// The variants that are asked for, and the first recommendations that a patch would do.
pub(super) fn changes(spec: &LLMBenchmarkSpec, report: &Report) -> Vec<Change> {
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

/// The round of a change; a variant may have the name of a recommendation, or of another round.
pub(super) fn round_of(change: &Change) -> String {
    match change {
        Change::Variant { name } => format!("variant-{name}"),
        Change::Recommendation { name, .. } => format!("recommendation-{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn rounds_have_names_of_their_own_whatever_changes_are_called() {
        let variant = Change::Variant {
            name: "deployment".into(),
        };
        let recommended = Change::Recommendation {
            name: "deployment".into(),
            patch: BTreeMap::new(),
        };
        let names = [round_of(&variant), round_of(&recommended)];
        assert_eq!(names, ["variant-deployment", "recommendation-deployment"]);
    }
}
