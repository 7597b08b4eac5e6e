//! Conditions in Kubernetes' shape, whose transition time moves only when their status does.
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::{Timestamp, Unit},
};

/// What one condition says, before it gets its times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) type_: &'static str,
    pub(crate) status: Truth,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// A condition's status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// The status of a condition that was written before.
    pub(crate) fn of(condition: &Condition) -> Self {
        [Self::True, Self::False]
            .into_iter()
            .find(|truth| truth.as_str() == condition.status)
            .unwrap_or(Self::Unknown)
    }
}

impl Verdict {
    pub(crate) fn new(
        type_: &'static str,
        status: Truth,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// The conditions of one status.
pub(crate) struct Conditions<'a> {
    previous: &'a [Condition],
    generation: Option<i64>,
    now: Timestamp,
    list: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(crate) fn new(previous: &'a [Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            previous,
            generation,
            // Kubernetes writes whole seconds.
            now: now.round(Unit::Second).unwrap_or(now),
            list: Vec::new(),
        }
    }

    pub(crate) fn set(&mut self, verdict: Verdict) {
        let status = verdict.status.as_str();
        let unchanged = self
            .previous
            .iter()
            .find(|before| before.type_ == verdict.type_ && before.status == status);
        self.list.push(Condition {
            type_: verdict.type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason,
            message: verdict.message,
            observed_generation: self.generation,
            last_transition_time: unchanged
                .map_or(Time(self.now), |before| before.last_transition_time.clone()),
        });
    }

    pub(crate) fn is_true(&self, type_: &str) -> bool {
        self.list
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == "True")
    }

    pub(crate) fn into_list(self) -> Vec<Condition> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::SignedDuration;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let start = "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap();
        let later = start + SignedDuration::from_secs(60);
        let at = |previous: &[Condition], now, truth, reason| {
            let mut conditions = Conditions::new(previous, Some(1), now);
            conditions.set(Verdict::new("Ready", truth, reason, "m"));
            conditions.into_list()
        };
        let first = at(&[], start, Truth::False, "A");
        let same = at(&first, later, Truth::False, "B");
        let flipped = at(&first, later, Truth::True, "C");
        assert_eq!(same[0].last_transition_time.0, start);
        assert_eq!(same[0].reason, "B");
        assert_eq!(flipped[0].last_transition_time.0, later);
    }
}
