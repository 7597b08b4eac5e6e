//! Questions to others (pods, a Prometheus) that a reconcile does not wait for: one that is silent must hold up nobody
//! else's reconcile, and is asked ever more rarely.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, time::timeout};

/// Who is well answers within this time. Whatever comes later starts another reconcile.
const WAIT: Duration = Duration::from_millis(25);
/// The same of who has answered before: a busy machine makes it slow for a moment, and what it says now may be what
/// everybody waits for.
const WAIT_FOR_KNOWN: Duration = Duration::from_millis(500);
/// What nobody has asked for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1200);

/// An answer, and how long it holds.
pub(super) trait Answer: Clone + Send + 'static {
    /// Whether nothing was learnt.
    fn is_silence(&self) -> bool;

    /// How long it holds: it took `took`, and was the last of so many silences in a row.
    fn lifetime(&self, took: Duration, silences: u32) -> Duration;
}

/// What is known of one question.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Known<A> {
    /// The newest answer; `None` before the first.
    pub(super) answer: Option<A>,
    /// Whether a newer one is on its way, which will start another reconcile.
    pub(super) is_pending: bool,
    /// When to ask again.
    pub(super) again: Option<Duration>,
}

/// Asks, and remembers the answers, each under the key of what it is about.
#[derive(Debug)]
pub(super) struct Asking<Q, A>(Arc<Mutex<HashMap<String, Entry<Q, A>>>>);

#[derive(Debug)]
struct Entry<Q, A> {
    question: Q,
    answer: Option<A>,
    asked: Instant,
    fresh_until: Instant,
    silences: u32,
    is_pending: bool,
}

impl<Q, A> Default for Asking<Q, A> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Q, A> Clone for Asking<Q, A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<Q, A> Asking<Q, A>
where
    Q: Clone + PartialEq + Send + 'static,
    A: Answer,
{
    /// What is known about `key`. Where it is too old, `ask` brings the next answer; if that takes longer than a
    /// moment, `late` is called once it is there.
    pub(super) async fn about<F>(
        &self,
        key: &str,
        question: Q,
        ask: F,
        late: impl FnOnce() + Send + 'static,
    ) -> Known<A>
    where
        F: Future<Output = A> + Send + 'static,
    {
        if let Some(wait) = self.begin(key, &question) {
            let (done, arrived) = oneshot::channel();
            let (this, key, question) = (self.clone(), key.to_owned(), question.clone());
            tokio::spawn(async move {
                let answer = ask.await;
                this.note(&key, &question, answer);
                // Nobody waits any more.
                if done.send(()).is_err() {
                    late();
                }
            });
            // What is known then is known, in time or not.
            let _ = timeout(wait, arrived).await;
        }
        self.known(key, &question)
    }

    /// How long to wait for an answer; `None` where it is not time to ask. One question about a thing is on its way at a
    /// time.
    fn begin(&self, key: &str, question: &Q) -> Option<Duration> {
        let now = Instant::now();
        let mut entries = self.lock();
        entries.retain(|_, entry| now.duration_since(entry.asked) < FORGOTTEN);
        let entry = entries.entry(key.to_owned()).or_insert_with(|| Entry {
            question: question.clone(),
            answer: None,
            asked: now,
            fresh_until: now,
            silences: 0,
            is_pending: false,
        });
        if entry.is_pending || (entry.question == *question && now < entry.fresh_until) {
            return None;
        }
        if entry.question != *question {
            entry.question = question.clone();
            entry.answer = None;
            entry.silences = 0;
        }
        entry.asked = now;
        entry.is_pending = true;
        let has_answered = entry.answer.as_ref().is_some_and(|it| !it.is_silence());
        Some(if has_answered { WAIT_FOR_KNOWN } else { WAIT })
    }

    fn note(&self, key: &str, question: &Q, answer: A) {
        let now = Instant::now();
        let mut entries = self.lock();
        let Some(entry) = entries
            .get_mut(key)
            .filter(|entry| entry.question == *question)
        else {
            return;
        };
        entry.is_pending = false;
        entry.silences = if answer.is_silence() {
            entry.silences.saturating_add(1)
        } else {
            0
        };
        entry.fresh_until = now + answer.lifetime(now.duration_since(entry.asked), entry.silences);
        entry.answer = Some(answer);
    }

    fn known(&self, key: &str, question: &Q) -> Known<A> {
        let entries = self.lock();
        let Some(entry) = entries.get(key) else {
            return Known {
                answer: None,
                is_pending: false,
                again: None,
            };
        };
        let left = entry.fresh_until.saturating_duration_since(Instant::now());
        Known {
            answer: entry.answer.clone().filter(|_| entry.question == *question),
            is_pending: entry.is_pending,
            again: (!entry.is_pending).then_some(left),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry<Q, A>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pause that grows by `factor` with each silence after the first, from `first` to `longest`.
pub(super) fn growing(first: Duration, factor: u32, longest: Duration, silences: u32) -> Duration {
    let times = factor.saturating_pow(silences.saturating_sub(1).min(16));
    first.saturating_mul(times).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const LONG: Duration = Duration::from_secs(100);

    impl Answer for Result<u32, String> {
        fn is_silence(&self) -> bool {
            self.is_err()
        }

        fn lifetime(&self, _: Duration, silences: u32) -> Duration {
            if self.is_ok() {
                Duration::ZERO
            } else {
                growing(LONG, 2, 8 * LONG, silences)
            }
        }
    }

    fn never() {
        panic!("the answer was in time");
    }

    #[tokio::test]
    async fn an_answer_in_time_is_given_at_once() {
        let asking = Asking::default();
        let first = asking.about("a", "who", async { Ok(1) }, never).await;
        assert_eq!(first.answer, Some(Ok(1)));
        assert!(!first.is_pending);
        let next = asking.about("a", "who", async { Ok(2) }, never).await;
        assert_eq!(next.answer, Some(Ok(2)), "it does not hold");
    }

    #[tokio::test]
    async fn who_is_silent_is_not_asked_again_soon() {
        let asking: Asking<_, Result<u32, String>> = Asking::default();
        let silence = async { Err("late".to_owned()) };
        asking.about("a", "who", silence, never).await;
        let known = asking.about("a", "who", async { Ok(1) }, never).await;
        assert_eq!(known.answer, Some(Err("late".to_owned())));
        assert!(known.again.is_some_and(|again| again > LONG / 2));
        let other = asking.about("a", "whom", async { Ok(1) }, never).await;
        assert_eq!(other.answer, Some(Ok(1)), "another question");
    }

    #[tokio::test]
    async fn nobody_waits_for_a_late_answer_and_its_arrival_is_told() {
        let asking: Asking<_, Result<u32, String>> = Asking::default();
        let (release, released) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let late = async move { released.await.map_err(|error| error.to_string()) };
        let known = asking
            .about("a", "who", late, || {
                let _ = tell.send(());
            })
            .await;
        assert!(known.is_pending && known.answer.is_none() && known.again.is_none());
        let meanwhile = asking.about("a", "who", pending(), never).await;
        assert!(meanwhile.is_pending, "it is asked once");
        release.send(7).unwrap();
        told.await.unwrap();
        let known = asking.known("a", &"who");
        assert_eq!(known.answer, Some(Ok(7)));
        assert!(!known.is_pending);
    }

    #[tokio::test]
    async fn who_has_answered_before_may_be_slow_once() {
        let asking: Asking<_, Result<u32, String>> = Asking::default();
        let after = |answer| async move {
            tokio::time::sleep(3 * WAIT).await;
            answer
        };
        asking.about("a", "who", async { Ok(1) }, never).await;
        let slow = asking.about("a", "who", after(Ok(2)), never).await;
        assert_eq!(slow.answer, Some(Ok(2)));
        let stranger = asking.about("b", "who", after(Ok(3)), || ()).await;
        assert_eq!(stranger.answer, None, "a stranger is not waited for");
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        let pauses = [1, 2, 3, 40].map(|silences| growing(LONG, 4, 10 * LONG, silences));
        assert_eq!(pauses, [LONG, 4 * LONG, 10 * LONG, 10 * LONG]);
    }
}
