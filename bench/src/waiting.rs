//! What requests that were cut off while they still waited say about TTFT. Pure.
//!
//! Their TTFT is not known, but it is longer than they had waited. With that in its place, a
//! percentile can only be too low: of all requests that were sent inside the window, whether or not
//! they were answered, the percentile is more than this. It is a limit, never a figure.
use crate::{
    figures::{succeeded, ttft},
    record::{Micros, Outcome, RequestRecord, ScenarioRun},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TTFT, of which only a lower limit is known, in microseconds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MoreThan {
    /// Requests that still waited for their first token when they were cut off.
    pub waiting: u64,
    /// All requests that the limits are of.
    pub count: u64,
    /// The median is more than this.
    pub p50: Micros,
    /// The 95th percentile is.
    pub p95: Micros,
    /// The 99th percentile is.
    pub p99: Micros,
}

/// Limits of TTFT; none where no request was cut off before its first token, or answers have no
/// first token because they are not streamed.
pub fn ttft_more_than(scenario: &ScenarioRun) -> Option<MoreThan> {
    let all = &scenario.requests;
    if all
        .iter()
        .any(|one| succeeded(one) && one.tokens.is_empty())
    {
        return None;
    }
    let (from, to) = scenario.window;
    if scenario.measured().next().is_some() {
        return limits(scenario, scenario.measured());
    }
    // Users who waited all through the window sent nothing inside it.
    let through = |one: &&RequestRecord| {
        scenario.began(one) < from && still_waited(one) && one.finished >= to
    };
    limits(scenario, all.iter().filter(through))
}

fn limits<'a>(
    scenario: &ScenarioRun,
    requests: impl Iterator<Item = &'a RequestRecord>,
) -> Option<MoreThan> {
    let (mut waits, mut waiting) = (vec![], 0);
    for one in requests {
        let began = scenario.began(one);
        if still_waited(one) {
            waits.push(one.finished.saturating_sub(began));
            waiting += 1;
        } else if !matches!(one.outcome, Outcome::Failed { .. }) {
            waits.extend(ttft(one, began));
        }
    }
    waits.sort_unstable();
    let at = |percent: usize| {
        let rank = (waits.len() * percent).div_ceil(100).max(1);
        waits.get(rank - 1).copied().map(down)
    };
    Some(MoreThan {
        waiting,
        count: waits.len() as u64,
        p50: at(50)?,
        p95: at(95)?,
        p99: at(99)?,
    })
    .filter(|_| waiting > 0)
}

/// Cut off before its first token.
fn still_waited(request: &RequestRecord) -> bool {
    request.outcome == Outcome::Cancelled && request.tokens.is_empty()
}

/// Down to three digits and below the value, so that it is more than this however it is rounded to
/// be read.
fn down(value: Micros) -> Micros {
    let value = value.saturating_sub(1);
    let digits = value.checked_ilog10().unwrap_or_default();
    let unit = 10_u64.pow(digits.saturating_sub(2));
    value / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{request, scenario};

    const SECOND: Micros = 1_000_000;

    fn cut(sent: Micros, finished: Micros) -> RequestRecord {
        RequestRecord {
            finished,
            output_tokens: None,
            outcome: Outcome::Cancelled,
            ..request(sent, sent, &[])
        }
    }

    #[test]
    fn a_percentile_is_more_than_with_the_waits_so_far_in_place_of_what_they_became() {
        let answered = (1..=50).map(|place| request(0, 0, &[place * 10_000]));
        let waited = (1..=50).map(|place| cut(0, 40 * SECOND + place));
        let run = scenario((0, 10 * SECOND), answered.chain(waited).collect());
        let limits = ttft_more_than(&run).unwrap();
        assert_eq!((limits.waiting, limits.count), (50, 100));
        assert_eq!(
            limits.p50, 499_000,
            "half of them had been answered by then"
        );
        assert_eq!((limits.p95, limits.p99), (40 * SECOND, 40 * SECOND));
    }

    #[test]
    fn a_first_token_is_known_although_its_answer_was_cut_off() {
        let mut begun = request(0, 0, &[300_000]);
        begun.outcome = Outcome::Cancelled;
        let known = scenario((0, SECOND), vec![begun.clone()]);
        assert_eq!(ttft_more_than(&known), None, "nobody waited");
        let both = scenario((0, SECOND), vec![begun, cut(0, 9 * SECOND)]);
        assert_eq!(ttft_more_than(&both).unwrap().p50, 299_000);
    }

    #[test]
    fn who_waited_all_through_the_window_counts_only_where_nobody_was_sent_inside_it() {
        let window = (10 * SECOND, 20 * SECOND);
        let through = cut(SECOND, 30 * SECOND);
        let run = scenario(window, vec![through.clone()]);
        assert_eq!(ttft_more_than(&run).unwrap().p50, 28_900_000);
        let answered = request(11 * SECOND, 11 * SECOND, &[12 * SECOND]);
        let run = scenario(window, vec![through.clone(), answered]);
        assert_eq!(ttft_more_than(&run), None);
        let early = scenario(window, vec![cut(SECOND, 15 * SECOND)]);
        assert_eq!(ttft_more_than(&early), None, "it ended inside the window");
    }

    #[test]
    fn failures_and_answers_without_a_stream_give_no_limit() {
        let mut failed = cut(0, 9 * SECOND);
        failed.outcome = Outcome::Failed {
            class: crate::record::ErrorClass::Timeout,
            status: None,
            message: String::new(),
        };
        assert_eq!(ttft_more_than(&scenario((0, SECOND), vec![failed])), None);
        let whole = request(0, 0, &[]);
        let run = scenario((0, SECOND), vec![whole, cut(0, 9 * SECOND)]);
        assert_eq!(ttft_more_than(&run), None);
    }

    #[test]
    fn limits_are_rounded_down() {
        assert_eq!(
            [0, 7, 1_999, 41_256_789].map(down),
            [0, 6, 1_990, 41_200_000]
        );
    }
}
