//! Elections before an API server that lives in memory, with a clock of the tests' own.
use super::{super::record::DURATION_SECONDS, *};
use axum::http::{Method, Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
};

/// An API server that holds one Lease, or none, and knows versions.
#[derive(Clone, Default)]
struct ApiServer {
    lease: Arc<Mutex<Option<Value>>>,
    is_away: Arc<Mutex<bool>>,
    passed: Arc<Mutex<Duration>>,
}

impl ApiServer {
    fn elector(&self, identity: &str) -> Elector {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let client = Client::new(service, "operators");
        let fence = Arc::new(Fence::closed());
        let (passed, start) = (self.passed.clone(), Instant::now());
        Elector {
            clock: Box::new(move || start + *lock(&passed)),
            ..Elector::new(client, "lease", identity.to_owned(), fence)
        }
    }

    fn after(&self, seconds: u64) {
        *lock(&self.passed) += Duration::from_secs(seconds);
    }

    fn holder(&self) -> Option<String> {
        let lease = lock(&self.lease);
        let holder = lease.as_ref()?["spec"]["holderIdentity"].as_str()?;
        Some(holder.to_owned())
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        if *lock(&self.is_away) {
            return refusal(StatusCode::SERVICE_UNAVAILABLE);
        }
        let mut stored = lock(&self.lease);
        if head.method == Method::GET {
            return match &*stored {
                Some(lease) => respond(StatusCode::OK, lease),
                None => refusal(StatusCode::NOT_FOUND),
            };
        }
        let mut sent: Value = serde_json::from_slice(&body).unwrap();
        let current = stored.as_ref().map(version);
        let expected = (head.method == Method::PUT).then(|| version(&sent));
        if current != expected {
            return refusal(StatusCode::CONFLICT);
        }
        let next: u64 = current.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        sent["metadata"]["resourceVersion"] = json!(next.to_string());
        *stored = Some(sent.clone());
        respond(StatusCode::OK, &sent)
    }
}

fn version(lease: &Value) -> String {
    let version = lease["metadata"]["resourceVersion"].as_str();
    version.unwrap_or_default().to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(body).unwrap());
    Response::builder().status(status).body(body).unwrap()
}

fn refusal(status: StatusCode) -> Response<Body> {
    let code = status.as_u16();
    // By which a client knows that there is no such object.
    let reason = match status {
        StatusCode::NOT_FOUND => "NotFound",
        _ => "",
    };
    respond(
        status,
        &json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": ""}),
    )
}

fn may_write(elector: &Elector) -> bool {
    elector.fence.check((elector.clock)()).is_ok()
}

fn held_by(holder: &str) -> Standing {
    Standing::Held(holder.to_owned())
}

#[test]
fn requests_that_are_on_their_way_end_before_another_may_write() {
    let duration = u64::try_from(DURATION_SECONDS).unwrap();
    assert!(DEADLINE + PATIENCE < Duration::from_secs(duration));
    assert!(EVERY + PATIENCE < DEADLINE, "more than one attempt");
}

#[test]
fn each_process_has_a_name_of_its_own() {
    assert!(identity("pod-1").starts_with("pod-1_"));
    assert_ne!(identity("pod-1"), identity("pod-1"));
}

#[tokio::test]
async fn the_first_takes_the_lease_and_the_other_waits() {
    let server = ApiServer::default();
    let (mut a, mut b) = (server.elector("a"), server.elector("b"));
    assert_eq!(a.attempt().await.unwrap(), Standing::Ours);
    assert_eq!(b.attempt().await.unwrap(), held_by("a"));
    for _ in 0..20 {
        server.after(2);
        assert_eq!(a.attempt().await.unwrap(), Standing::Ours);
        assert_eq!(b.attempt().await.unwrap(), held_by("a"));
        assert!(may_write(&a) && !may_write(&b));
    }
}

#[tokio::test]
async fn of_two_that_come_at_once_only_one_gets_it() {
    let server = ApiServer::default();
    let (mut a, mut b) = (server.elector("a"), server.elector("b"));
    let (one, other) = tokio::join!(a.attempt(), b.attempt());
    let leading = [one.unwrap(), other.unwrap()];
    let leaders = leading.iter().filter(|one| **one == Standing::Ours);
    assert_eq!(leaders.count(), 1, "{leading:?}");
    assert_ne!(may_write(&a), may_write(&b));
}

#[tokio::test]
async fn one_that_is_gone_is_followed_after_its_time_and_not_before() {
    let server = ApiServer::default();
    let (mut a, mut b) = (server.elector("a"), server.elector("b"));
    a.attempt().await.unwrap();
    assert_eq!(b.attempt().await.unwrap(), held_by("a"));
    server.after(14);
    assert_eq!(b.attempt().await.unwrap(), held_by("a"));
    assert!(!may_write(&a), "it has stopped before another begins");
    server.after(1);
    assert_eq!(b.attempt().await.unwrap(), Standing::Ours);
    assert_eq!(server.holder().as_deref(), Some("b"));
    assert!(!may_write(&a) && may_write(&b));
    b.release().await;
    assert_eq!(a.renew().await, Some(Lost::Expired), "free, but too late");
}

#[tokio::test]
async fn a_lease_that_was_given_to_another_is_lost_at_once() {
    let server = ApiServer::default();
    let mut a = server.elector("a");
    a.attempt().await.unwrap();
    assert_eq!(a.renew().await, None);
    if let Some(lease) = lock(&server.lease).as_mut() {
        lease["spec"]["holderIdentity"] = json!("b");
    }
    assert_eq!(a.renew().await, Some(Lost::Taken("b".to_owned())));
}

#[tokio::test]
async fn without_an_api_server_nothing_is_written_any_more() {
    let server = ApiServer::default();
    let mut a = server.elector("a");
    a.attempt().await.unwrap();
    *lock(&server.is_away) = true;
    server.after(9);
    assert!(a.attempt().await.is_err());
    assert!(may_write(&a));
    server.after(1);
    assert!(!may_write(&a));
    assert_eq!(a.keep().await, Lost::Expired);
    assert!(!may_write(&a));
}

#[tokio::test]
async fn what_is_released_is_taken_at_the_next_look() {
    let server = ApiServer::default();
    let (mut a, mut b) = (server.elector("a"), server.elector("b"));
    let fence = a.fence.clone();
    a.attempt().await.unwrap();
    b.attempt().await.unwrap();
    a.release().await;
    assert_eq!(server.holder(), None);
    assert!(fence.check(Instant::now()).is_err());
    assert_eq!(b.attempt().await.unwrap(), Standing::Ours);
}

#[tokio::test]
async fn a_lease_of_another_is_not_released() {
    let server = ApiServer::default();
    let (mut a, b) = (server.elector("a"), server.elector("b"));
    a.attempt().await.unwrap();
    b.release().await;
    assert_eq!(server.holder().as_deref(), Some("a"));
}

#[tokio::test]
async fn a_lease_that_somebody_deleted_is_made_again() {
    let server = ApiServer::default();
    let mut a = server.elector("a");
    a.attempt().await.unwrap();
    *lock(&server.lease) = None;
    server.after(2);
    assert_eq!(a.attempt().await.unwrap(), Standing::Ours);
    assert_eq!(server.holder().as_deref(), Some("a"));
}
