//! What a Lease says, and what follows from it: pure functions of the caller's clocks.
//!
//! Times in the record are the holder's, whose clock may be wrong. Whether it still holds the Lease is
//! told by whether the record changes, by the clock of this process alone.
use k8s_openapi::{
    api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use std::time::{Duration, Instant};

/// For how long a holder may leave its record unchanged.
pub(super) const DURATION_SECONDS: i32 = 15;

/// How a Lease stands for one process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// This process holds it.
    Ours,
    /// Nobody holds it, or its holder has gone.
    Free,
    /// Another process holds it.
    Held(String),
}

/// The record as it was seen last, and since when it has been so.
#[derive(Debug, Default)]
pub(super) struct Observer {
    seen: Option<(LeaseSpec, Instant)>,
}

impl Observer {
    /// Takes in the record that was asked for and answered at these times, for the process of this
    /// identity. That it has not changed counts from an answer to a question, so that a slow answer
    /// makes the time shorter, never longer.
    pub(super) fn look(
        &mut self,
        record: &LeaseSpec,
        identity: &str,
        asked: Instant,
        answered: Instant,
    ) -> Standing {
        let since = match &self.seen {
            Some((seen, since)) if seen == record => *since,
            _ => answered,
        };
        self.seen = Some((record.clone(), since));
        match holder(record) {
            None => Standing::Free,
            Some(holder) if holder == identity => Standing::Ours,
            Some(_) if asked.duration_since(since) >= duration(record) => Standing::Free,
            Some(holder) => Standing::Held(holder.to_owned()),
        }
    }
}

fn holder(record: &LeaseSpec) -> Option<&str> {
    record
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// What the holder has asked for, which may be another version of the operator.
fn duration(record: &LeaseSpec) -> Duration {
    let seconds = record.lease_duration_seconds.unwrap_or(DURATION_SECONDS);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// The record with which `identity` takes the Lease that was as `before`, by its own clock `at`.
pub(super) fn taken(before: &LeaseSpec, identity: &str, at: Timestamp) -> LeaseSpec {
    let others = holder(before).is_some_and(|holder| holder != identity);
    let transitions = before.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(DURATION_SECONDS),
        acquire_time: Some(MicroTime(at)),
        renew_time: Some(MicroTime(at)),
        lease_transitions: Some(
            transitions.saturating_add(i32::from(others || before.acquire_time.is_some())),
        ),
        ..before.clone()
    }
}

/// The record with which its holder goes on.
pub(super) fn renewed(before: &LeaseSpec, at: Timestamp) -> LeaseSpec {
    LeaseSpec {
        lease_duration_seconds: Some(DURATION_SECONDS),
        renew_time: Some(MicroTime(at)),
        ..before.clone()
    }
}

/// The record with which its holder gives the Lease away.
pub(super) fn released(before: &LeaseSpec, at: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: None,
        // The shortest that the API server takes, for those that go by it nevertheless.
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(at)),
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::SignedDuration;

    fn at(second: i64) -> Timestamp {
        "2026-01-01T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
    }

    fn held_by(identity: &str, renewed_at: i64) -> LeaseSpec {
        taken(&LeaseSpec::default(), identity, at(renewed_at))
    }

    /// How the Lease stands for `a` when it looks like this at these seconds.
    fn looks(seen: &[(u64, LeaseSpec)]) -> Vec<Standing> {
        let start = Instant::now();
        let mut observer = Observer::default();
        seen.iter()
            .map(|(second, record)| {
                let now = start + Duration::from_secs(*second);
                observer.look(record, "a", now, now)
            })
            .collect()
    }

    fn held() -> Standing {
        Standing::Held("b".to_owned())
    }

    #[test]
    fn a_holder_that_renews_holds_it_and_one_that_does_not_has_gone() {
        let before = held_by("b", 0);
        let later = renewed(&before, at(10));
        assert_eq!(
            looks(&[
                (0, before.clone()),
                (10, later.clone()),
                (24, later.clone()),
                (25, later),
            ]),
            [held(), held(), held(), Standing::Free]
        );
    }

    #[test]
    fn a_holder_whose_clock_is_wrong_by_hours_loses_nothing() {
        for skew in [-7200, 7200] {
            let before = held_by("b", skew);
            let later = renewed(&before, at(skew + 10));
            assert_eq!(
                looks(&[(0, before.clone()), (14, before), (15, later)]),
                [held(), held(), held()],
                "{skew} s"
            );
        }
    }

    #[test]
    fn the_first_look_at_an_old_record_waits_for_a_whole_duration() {
        let old = held_by("b", -86_400);
        assert_eq!(
            looks(&[(0, old.clone()), (14, old.clone()), (15, old)]),
            [held(), held(), Standing::Free]
        );
    }

    #[test]
    fn a_slow_answer_does_not_make_the_holder_look_gone() {
        let (start, mut observer) = (Instant::now(), Observer::default());
        let at = |second| start + Duration::from_secs(second);
        let record = held_by("b", 0);
        assert_eq!(observer.look(&record, "a", at(0), at(5)), held());
        assert_eq!(observer.look(&record, "a", at(15), at(20)), held());
        assert_eq!(observer.look(&record, "a", at(20), at(20)), Standing::Free);
    }

    #[test]
    fn what_was_given_away_or_never_held_is_free_at_once() {
        let released = released(&held_by("b", 0), at(1));
        assert_eq!(
            looks(&[(0, held_by("b", 0)), (1, released)]),
            [held(), Standing::Free]
        );
        assert_eq!(looks(&[(0, LeaseSpec::default())]), [Standing::Free]);
    }

    #[test]
    fn ones_own_is_ones_own_however_old() {
        let own = held_by("a", 0);
        assert_eq!(
            looks(&[(0, own.clone()), (60, own)]),
            [Standing::Ours, Standing::Ours]
        );
    }

    #[test]
    fn each_change_of_the_holder_is_counted() {
        let first = held_by("a", 0);
        assert_eq!(first.lease_transitions, Some(0));
        let second = taken(&first, "b", at(20));
        assert_eq!(second.lease_transitions, Some(1));
        let third = taken(&released(&second, at(30)), "c", at(31));
        assert_eq!(third.lease_transitions, Some(2));
        assert_eq!(third.holder_identity.as_deref(), Some("c"));
        assert_eq!(third.acquire_time, Some(MicroTime(at(31))));
        assert_eq!(renewed(&third, at(33)).acquire_time, third.acquire_time);
    }
}
