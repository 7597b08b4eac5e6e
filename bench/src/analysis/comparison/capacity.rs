//! How much load each of two runs bears within its objectives.
use crate::{analysis::level::Level, record::AppliedLoad};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The highest of the common loads under which every objective was met; none where that was none.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Before.
    pub before: Option<Borne>,
    /// After.
    pub after: Option<Borne>,
}

/// A load that was borne.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Borne {
    /// In words: `25 users`.
    pub load: String,
    /// Users, or requests per second.
    pub size: f64,
}

impl Capacity {
    /// Of the scenarios that both ran, before and after.
    pub(super) fn of(common: &[(&Level, &Level)]) -> Option<Self> {
        let judged = |level: &Level| !level.verdicts.is_empty();
        common
            .iter()
            .all(|(before, after)| judged(before) && judged(after))
            .then(|| Self {
                before: highest_borne(common.iter().map(|(before, _)| *before)),
                after: highest_borne(common.iter().map(|(_, after)| *after)),
            })
    }
}

fn highest_borne<'a>(levels: impl Iterator<Item = &'a Level>) -> Option<Borne> {
    let borne = levels.filter(|level| level.verdicts.iter().all(|one| one.met() == Some(true)));
    borne
        .map(|level| Borne {
            load: level.load_text(),
            size: match level.load {
                AppliedLoad::Users { users, .. } => f64::from(users),
                AppliedLoad::Arrivals { rate, .. } => rate,
            },
        })
        .max_by(|a, b| a.size.total_cmp(&b.size))
}
