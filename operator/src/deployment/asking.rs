//! Questions to others (pods, a Prometheus) that a reconcile does not wait for: one that is silent must hold up nobody
//! else's reconcile, and is asked ever more rarely. One that stays silent starts none.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

/// Who is well answers within this time. Whatever comes later starts another reconcile.
const WAIT: Duration = Duration::from_millis(25);
/// The same of who has answered before: a busy machine makes it slow for a moment, and what it says now may be what
/// everybody waits for.
const WAIT_FOR_KNOWN: Duration = Duration::from_millis(500);
/// What nobody has asked for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1200);

/// An answer, and how long it holds.
pub(super) trait Answer: Clone + PartialEq + Send + 'static {
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
    /// When to ask again; `None` while that happens by itself.
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
    /// When somebody last wanted to know.
    wanted: Instant,
    fresh_until: Instant,
    silences: u32,
    is_pending: bool,
    /// Whether it is asked again by itself.
    is_followed: bool,
}

/// What the first answer to a question is held against.
struct First<T> {
    /// Whoever waits for it for a moment.
    done: oneshot::Sender<()>,
    /// Whether it was known before anybody asked.
    is_told: T,
}

/// What follows from an answer.
struct Noted {
    /// There was none before.
    is_first: bool,
    /// It differs from the one before.
    is_news: bool,
    /// It is a silence that holds for so long.
    silent_for: Option<Duration>,
}

/// What is to be done after a silence.
enum Next {
    Ask,
    /// Somebody else has asked meanwhile.
    End,
    /// Nobody has wanted to know for long.
    Tell,
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
                this.note(&key, &question, answer, false);
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

    /// The same, but who is silent is asked again by itself, and `late` is called only once there is another answer. The
    /// first one counts as another unless it `is_told`, as by an operator that ran before. When nobody has wanted to know for
    /// long `late` is called as well: who still does asks again.
    pub(super) async fn follow<F>(
        &self,
        key: &str,
        question: Q,
        ask: impl Fn() -> F + Send + 'static,
        is_told: impl Fn(&A) -> bool + Send + 'static,
        late: impl Fn() + Send + 'static,
    ) -> Known<A>
    where
        F: Future<Output = A> + Send + 'static,
    {
        if let Some(wait) = self.begin(key, &question) {
            let (done, arrived) = oneshot::channel();
            let (key, question) = (key.to_owned(), question.clone());
            let first = First { done, is_told };
            tokio::spawn(self.clone().keep_asking(key, question, ask, first, late));
            let _ = timeout(wait, arrived).await;
        }
        self.known(key, &question)
    }

    async fn keep_asking<F>(
        self,
        key: String,
        question: Q,
        ask: impl Fn() -> F,
        first: First<impl Fn(&A) -> bool>,
        late: impl Fn(),
    ) where
        F: Future<Output = A>,
    {
        let mut first = Some(first);
        loop {
            // On the heap, because it is large and between two questions there is none.
            let answer = Box::pin(ask()).await;
            let is_told = first.as_ref().is_some_and(|it| (it.is_told)(&answer));
            let Some(noted) = self.note(&key, &question, answer, true) else {
                return;
            };
            let is_news = noted.is_news && !(noted.is_first && is_told);
            let in_time = first.take().is_some_and(|it| it.done.send(()).is_ok());
            if !in_time && (is_news || noted.silent_for.is_none()) {
                late();
            }
            let Some(pause) = noted.silent_for else {
                return;
            };
            sleep(pause).await;
            match self.next(&key, &question) {
                Next::Ask => {}
                Next::End => return,
                Next::Tell => return late(),
            }
        }
    }

    /// After a silence that no longer holds.
    fn next(&self, key: &str, question: &Q) -> Next {
        let now = Instant::now();
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(key) else {
            return Next::End;
        };
        if entry.question != *question || entry.is_pending || now < entry.fresh_until {
            return Next::End;
        }
        if now.duration_since(entry.wanted) >= FORGOTTEN {
            entries.remove(key);
            return Next::Tell;
        }
        entry.asked = now;
        entry.is_pending = true;
        Next::Ask
    }

    /// How long to wait for an answer; `None` where it is not time to ask. A question is on its way once at a time; another
    /// one about the same thing takes its place.
    fn begin(&self, key: &str, question: &Q) -> Option<Duration> {
        let now = Instant::now();
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.is_followed || now.duration_since(entry.asked) < FORGOTTEN);
        let entry = entries.entry(key.to_owned()).or_insert_with(|| Entry {
            question: question.clone(),
            answer: None,
            asked: now,
            wanted: now,
            fresh_until: now,
            silences: 0,
            is_pending: false,
            is_followed: false,
        });
        entry.wanted = now;
        if entry.question == *question {
            if entry.is_pending || now < entry.fresh_until {
                return None;
            }
        } else {
            // Whatever is on its way answers another question, and is not noted.
            entry.question = question.clone();
            entry.answer = None;
            entry.silences = 0;
        }
        entry.asked = now;
        entry.is_pending = true;
        entry.is_followed = false;
        let has_answered = entry.answer.as_ref().is_some_and(|it| !it.is_silence());
        Some(if has_answered { WAIT_FOR_KNOWN } else { WAIT })
    }

    /// `None` where it answers another question than the last one. A silence is asked again by whoever `follows`.
    fn note(&self, key: &str, question: &Q, answer: A, follows: bool) -> Option<Noted> {
        let now = Instant::now();
        let mut entries = self.lock();
        let entry = entries
            .get_mut(key)
            .filter(|entry| entry.question == *question)?;
        let is_silence = answer.is_silence();
        entry.is_pending = false;
        entry.silences = if is_silence {
            entry.silences.saturating_add(1)
        } else {
            0
        };
        let lifetime = answer.lifetime(now.duration_since(entry.asked), entry.silences);
        entry.fresh_until = now + lifetime;
        let silent_for = (is_silence && lifetime > Duration::ZERO).then_some(lifetime);
        entry.is_followed = follows && silent_for.is_some();
        let before = entry.answer.replace(answer);
        Some(Noted {
            is_first: before.is_none(),
            is_news: before != entry.answer,
            silent_for,
        })
    }

    pub(super) fn known(&self, key: &str, question: &Q) -> Known<A> {
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
            again: (!entry.is_pending && !entry.is_followed).then_some(left),
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
mod tests;
