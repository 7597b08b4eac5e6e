use super::*;
use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::sync::Notify;

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
    let asking: Asking<_, Result<u32, String>> = Asking::default();
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
        sleep(3 * WAIT).await;
        answer
    };
    asking.about("a", "who", async { Ok(1) }, never).await;
    let slow = asking.about("a", "who", after(Ok(2)), never).await;
    assert_eq!(slow.answer, Some(Ok(2)));
    let stranger = asking.about("b", "who", after(Ok(3)), || ()).await;
    assert_eq!(stranger.answer, None, "a stranger is not waited for");
}

/// What a follower is told: nothing for a moment each time.
impl Answer for Result<u32, ()> {
    fn is_silence(&self) -> bool {
        self.is_err()
    }

    fn lifetime(&self, _: Duration, _: u32) -> Duration {
        Duration::from_millis(1)
    }
}

#[tokio::test]
async fn who_stays_silent_is_asked_again_by_itself_and_only_news_is_told() {
    const SILENCES: usize = 5;
    let asking: Asking<_, Result<u32, ()>> = Asking::default();
    let (asked, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let asks = asked.clone();
    let ask = move || {
        let silences = asks.fetch_add(1, SeqCst);
        async move { if silences < SILENCES { Err(()) } else { Ok(7) } }
    };
    let tell = told.clone();
    let known = asking.follow("a", "who", ask, |_| false, move || tell.notify_one());
    let known = known.await;
    assert_eq!((known.answer, known.again), (Some(Err(())), None));
    // Had a silence been told, what is known would be a silence still.
    told.notified().await;
    let known = asking.known("a", &"who");
    assert_eq!(known.answer, Some(Ok(7)));
    assert!(
        known.again.is_some(),
        "who answers is asked by who wants to know"
    );
    assert_eq!(asked.load(SeqCst), SILENCES + 1);
}

#[tokio::test]
async fn a_silence_that_comes_late_is_told_once() {
    let asking: Asking<_, Result<u32, ()>> = Asking::default();
    let (asked, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (asks, tells) = (asked.clone(), told.clone());
    let ask = move || {
        asks.fetch_add(1, SeqCst);
        async {
            sleep(2 * WAIT).await;
            Err(())
        }
    };
    let tell = move || {
        tells.fetch_add(1, SeqCst);
    };
    let known = asking.follow("a", "who", ask, |_| false, tell).await;
    assert!(known.is_pending && known.answer.is_none());
    while asked.load(SeqCst) < 4 {
        sleep(WAIT).await;
    }
    assert_eq!(told.load(SeqCst), 1);
}

#[tokio::test]
async fn a_first_silence_that_was_told_before_is_no_news_and_what_follows_is() {
    const SILENCES: usize = 3;
    let asking: Asking<_, Result<u32, ()>> = Asking::default();
    let (asked, told) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let asks = asked.clone();
    let ask = move || {
        let silences = asks.fetch_add(1, SeqCst);
        async move {
            sleep(2 * WAIT).await;
            if silences < SILENCES { Err(()) } else { Ok(7) }
        }
    };
    let tell = told.clone();
    let is_silence = |answer: &Result<u32, ()>| answer.is_err();
    let known = asking.follow("a", "who", ask, is_silence, move || tell.notify_one());
    assert!(known.await.is_pending);
    told.notified().await;
    assert_eq!(asked.load(SeqCst), SILENCES + 1);
    assert_eq!(asking.known("a", &"who").answer, Some(Ok(7)));
}

#[tokio::test]
async fn another_question_ends_the_asking_of_the_one_before() {
    let asking: Asking<_, Result<u32, ()>> = Asking::default();
    let asked = Arc::new(AtomicUsize::new(0));
    let asks = asked.clone();
    let ask = move || {
        asks.fetch_add(1, SeqCst);
        async { Err(()) }
    };
    asking.follow("a", "who", ask, |_| false, never).await;
    let known = asking
        .follow("a", "whom", || async { Ok(1) }, |_| false, never)
        .await;
    assert_eq!(known.answer, Some(Ok(1)));
    let before = asked.load(SeqCst);
    sleep(WAIT).await;
    assert_eq!(asked.load(SeqCst), before);
    assert_eq!(asking.known("a", &"whom").answer, Some(Ok(1)));
}

#[test]
fn pauses_grow_to_a_limit() {
    let pauses = [1, 2, 3, 40].map(|silences| growing(LONG, 4, 10 * LONG, silences));
    assert_eq!(pauses, [LONG, 4 * LONG, 10 * LONG, 10 * LONG]);
}
