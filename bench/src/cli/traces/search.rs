//! Asks a Jaeger that several deployments share until enough traces of one of them are found: its
//! query API selects by service and time only, and all servers are one service to it.
use crate::{
    cli::Error,
    evidence::{jaeger, trace::Trace},
};
use candlepower_api::value::Duration;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Most questions for one answer, so that a Jaeger full of other traces is not asked for minutes.
const MOST_QUESTIONS: usize = 100;
/// A time that is not worth two questions.
const SHORTEST: i128 = 1_000_000;

/// From when to when traces are looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::cli) struct Window {
    pub(in crate::cli) from: Timestamp,
    pub(in crate::cli) to: Timestamp,
}

impl Window {
    /// From so long ago until now, by a clock that is `ahead` seconds ahead of this machine's.
    pub(in crate::cli) fn of_last(lookback: Duration, ahead: i64) -> Self {
        let now = Timestamp::now();
        let to = now
            .checked_add(SignedDuration::from_secs(ahead))
            .unwrap_or(now);
        let back = SignedDuration::try_from(lookback.as_std()).unwrap_or_default();
        let from = to.checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH);
        Self { from, to }
    }

    /// The older and the newer half; `None` where it is too short for that.
    fn halves(self) -> Option<(Self, Self)> {
        let (from, to) = (self.from.as_nanosecond(), self.to.as_nanosecond());
        if to - from < SHORTEST {
            return None;
        }
        let middle = Timestamp::from_nanosecond(from.midpoint(to)).ok()?;
        let older = Self { to: middle, ..self };
        let newer = Self {
            from: middle,
            ..self
        };
        Some((older, newer))
    }
}

/// What a search found.
#[derive(Debug)]
pub(super) struct Found {
    /// The newest of the wanted traces.
    pub(super) traces: Vec<Trace>,
    /// Whether there may be more in the window, although fewer than wanted were found.
    pub(super) gave_up: bool,
}

/// The newest `wanted` of the traces in `whole` that `select` keeps. `ask` answers with at most
/// `page` traces of a window: fewer are all there are, and a window with more is halved, the newer
/// half first. That needs no order in what Jaeger leaves out.
pub(super) async fn search<A>(
    whole: Window,
    page: usize,
    wanted: usize,
    mut ask: impl FnMut(Window) -> A,
    select: impl Fn(Vec<Trace>) -> Vec<Trace>,
) -> Result<Found, Error>
where
    A: Future<Output = Result<Vec<Trace>, Error>>,
{
    let mut found = Vec::new();
    let mut open = vec![whole];
    for _ in 0..MOST_QUESTIONS {
        let Some(window) = open.pop() else {
            return Ok(newest(found, wanted, false));
        };
        let answer = ask(window).await?;
        let is_cut = answer.len() >= page;
        found = jaeger::merge([found, select(answer)]);
        if found.len() >= wanted {
            return Ok(newest(found, wanted, false));
        }
        if is_cut && let Some((older, newer)) = window.halves() {
            open.extend([older, newer]);
        }
    }
    let gave_up = !open.is_empty();
    Ok(newest(found, wanted, gave_up))
}

fn newest(mut traces: Vec<Trace>, wanted: usize, gave_up: bool) -> Found {
    traces.sort_by_key(|trace| std::cmp::Reverse(trace.root().map(|root| root.start)));
    traces.truncate(wanted);
    Found { traces, gave_up }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::trace::Span;
    use std::{cell::Cell, future::ready};

    const PAGE: usize = 20;

    /// A trace of the model that starts at this millisecond.
    fn trace(millisecond: u64, model: &str) -> Trace {
        let start = millisecond * 1_000_000;
        let id = millisecond.to_string();
        Trace {
            spans: vec![Span {
                id: id.clone(),
                parent: None,
                name: "request".to_owned(),
                start,
                end: start + 1,
            }],
            id,
            models: [model.to_owned()].into(),
            ..Trace::default()
        }
    }

    fn of_ours(traces: Vec<Trace>) -> Vec<Trace> {
        let ours = |trace: &Trace| trace.models.contains("ours");
        traces.into_iter().filter(ours).collect()
    }

    /// What is found, newest first, and after how many questions, in a Jaeger that gives `PAGE` of
    /// the traces in a window: the newest, or the oldest.
    async fn looked_for(stored: &[Trace], wanted: usize, gives_newest: bool) -> (Found, usize) {
        let asked = Cell::new(0);
        let ask = |window: Window| {
            asked.set(asked.get() + 1);
            let within = |trace: &&Trace| {
                let start = i128::from(trace.spans[0].start);
                (window.from.as_nanosecond()..=window.to.as_nanosecond()).contains(&start)
            };
            let mut answer: Vec<_> = stored.iter().filter(within).cloned().collect();
            if gives_newest {
                answer.reverse();
            }
            answer.truncate(PAGE);
            ready(Ok(answer))
        };
        let whole = Window {
            from: Timestamp::UNIX_EPOCH,
            to: Timestamp::from_second(1).unwrap(),
        };
        let found = search(whole, PAGE, wanted, ask, of_ours).await.unwrap();
        (found, asked.get())
    }

    /// One of ours among every hundred.
    fn shared() -> Vec<Trace> {
        let owner = |at| if at % 100 == 0 { "ours" } else { "theirs" };
        (0..500).map(|at| trace(at, owner(at))).collect()
    }

    fn starts(found: &Found) -> Vec<&str> {
        found.traces.iter().map(|trace| &*trace.id).collect()
    }

    #[tokio::test]
    async fn all_of_a_deployments_traces_are_found_among_many_others_whatever_is_cut_off() {
        for gives_newest in [true, false] {
            let (found, _) = looked_for(&shared(), 50, gives_newest).await;
            assert_eq!(starts(&found), ["400", "300", "200", "100", "0"]);
            assert!(!found.gave_up);
        }
    }

    #[tokio::test]
    async fn no_more_is_asked_than_is_wanted() {
        let (found, asked) = looked_for(&shared(), 2, true).await;
        assert_eq!(starts(&found), ["400", "300"]);
        let (_, for_all) = looked_for(&shared(), 50, true).await;
        assert!(asked < for_all, "{asked} of {for_all}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_cut_is_all_there_is() {
        let few = [trace(1, "ours"), trace(2, "theirs")];
        let (found, asked) = looked_for(&few, 50, true).await;
        assert_eq!((starts(&found), asked), (vec!["1"], 1));
    }

    #[tokio::test]
    async fn a_search_that_cannot_see_everything_says_so() {
        let crowd: Vec<_> = (0..20_000).map(|at| trace(at % 1000, "theirs")).collect();
        let (found, asked) = looked_for(&crowd, 1, true).await;
        assert_eq!((found.gave_up, asked), (true, MOST_QUESTIONS));
    }
}
