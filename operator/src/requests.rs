//! Every request to the API server passes here: it is counted and traced, and a write is kept back where this
//! process does not lead.
use crate::{leader::Fence, metrics::Metrics, traces};
use axum::http::{Method, Request, Response, Uri};
use futures::future::{self, BoxFuture};
use kube::client::Body;
use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};
use tower::{BoxError, Layer, Service};
use tracing::Span;

/// Adds [`Watched`] to a client.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fence: Arc<Fence>,
}

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched {
            inner,
            watch: self.clone(),
        }
    }
}

/// A client's connection with a counter and a fence before it.
#[derive(Clone, Debug)]
pub(crate) struct Watched<S> {
    inner: S,
    watch: Watch,
}

impl<S, B> Service<Request<Body>> for Watched<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let asked = Asked::of(request.method(), request.uri());
        let fence = asked.writes().then(|| self.watch.fence.clone());
        if let Some(Err(error)) = fence.as_ref().map(|fence| fence.check(Instant::now())) {
            return Box::pin(future::err(error.into()));
        }
        let metrics = self.watch.metrics.clone();
        // The span that is current where the request was made: kube's client brings it along.
        let caller = Span::current();
        let span = traces::api_request(asked.verb, &asked.resource, request.uri().path());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = while_open(answer, fence.as_deref()).await;
            let status = answer.as_ref().map(|answer| answer.status().as_u16());
            metrics.requested(asked.verb, &asked.resource, status.ok());
            match status {
                Ok(status) => {
                    traces::answered(&span, status);
                    traces::answered(&caller, status);
                }
                Err(error) => traces::failed(&span, error),
            }
            answer
        })
    }
}

/// The answer, unless the fence closes before it. A request that the API server puts off is sent again later by what is behind
/// this: not for a process that stood still meanwhile, and was followed.
async fn while_open<T>(
    answer: impl Future<Output = Result<T, BoxError>>,
    fence: Option<&Fence>,
) -> Result<T, BoxError> {
    let mut answer = pin!(answer);
    future::poll_fn(|context| {
        if let Some(Err(error)) = fence.map(|fence| fence.check(Instant::now())) {
            return Poll::Ready(Err(error.into()));
        }
        answer.as_mut().poll(context)
    })
    .await
}

/// What a request asks of the API server, in its own words: few values, for labels.
#[derive(Debug, Eq, PartialEq)]
struct Asked {
    verb: &'static str,
    /// Such as `llmdeployments` or `llmdeployments/status`; empty for what is no resource.
    resource: String,
}

impl Asked {
    fn of(method: &Method, uri: &Uri) -> Self {
        let parts: Vec<_> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        // The core API has a version, all others have a group before it.
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        // A namespace is a resource itself where nothing follows its name.
        let rest = match rest {
            ["namespaces", _, inner @ ..] if !inner.is_empty() => inner,
            _ => rest,
        };
        let resource = match rest {
            [resource, _, sub, ..] => format!("{resource}/{sub}"),
            [resource, ..] => (*resource).to_owned(),
            [] => String::new(),
        };
        Self {
            verb: verb(method, uri, rest.len() > 1),
            resource,
        }
    }

    fn writes(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

fn verb(method: &Method, uri: &Uri, is_named: bool) -> &'static str {
    let watches = || {
        uri.query()
            .is_some_and(|query| query.contains("watch=true"))
    };
    match *method {
        Method::GET | Method::HEAD if watches() => "watch",
        Method::GET | Method::HEAD if is_named => "get",
        Method::GET | Method::HEAD => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if is_named => "delete",
        Method::DELETE => "deletecollection",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api, Client,
        api::{ApiResource, DeleteParams},
    };
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn asked(method: &Method, uri: &str) -> (&'static str, String) {
        let asked = Asked::of(method, &uri.parse().unwrap());
        (asked.verb, asked.resource)
    }

    #[test]
    fn a_request_is_named_by_its_verb_and_resource_and_never_by_an_object() {
        let own = "/apis/candlepower.dev/v1alpha1";
        for (method, uri, verb, resource) in [
            (
                Method::GET,
                "/api/v1/pods?limit=100".to_owned(),
                "list",
                "pods",
            ),
            (
                Method::GET,
                "/api/v1/pods?&watch=true&timeoutSeconds=290".to_owned(),
                "watch",
                "pods",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/team/pods/a/log".to_owned(),
                "get",
                "pods/log",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/team".to_owned(),
                "get",
                "namespaces",
            ),
            (Method::GET, "/version".to_owned(), "list", ""),
            (
                Method::PATCH,
                format!("{own}/namespaces/team/llmdeployments/a/status?force=true"),
                "patch",
                "llmdeployments/status",
            ),
            (
                Method::POST,
                "/apis/events.k8s.io/v1/namespaces/team/events".to_owned(),
                "create",
                "events",
            ),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/a/leases/b".to_owned(),
                "update",
                "leases",
            ),
            (
                Method::DELETE,
                format!("{own}/namespaces/team/llmdeployments/a"),
                "delete",
                "llmdeployments",
            ),
        ] {
            assert_eq!(asked(&method, &uri), (verb, resource.to_owned()), "{uri}");
        }
    }

    /// A client whose API server finds nothing, how often that was asked, and what was counted.
    fn client(fence: Fence) -> (Api<ConfigMap>, Arc<AtomicUsize>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new().unwrap());
        let watch = Watch {
            metrics: metrics.clone(),
            fence: Arc::new(fence),
        };
        let arrived = Arc::new(AtomicUsize::new(0));
        let counting = arrived.clone();
        let service = tower::service_fn(move |_: Request<Body>| {
            counting.fetch_add(1, Ordering::Relaxed);
            let answer = Response::builder().status(StatusCode::NOT_FOUND);
            let answer = answer
                .body(Body::from(b"{\"code\": 404}".to_vec()))
                .unwrap();
            future::ok::<_, BoxError>(answer)
        });
        let client = Client::new(watch.layer(service), "team");
        (Api::default_namespaced(client), arrived, metrics)
    }

    #[tokio::test]
    async fn each_answer_is_counted() {
        let (config_maps, _, metrics) = client(Fence::open());
        assert!(config_maps.get("a").await.is_err());
        assert!(
            config_maps
                .delete("a", &DeleteParams::default())
                .await
                .is_err()
        );
        let text = metrics.parts().unwrap().collect::<String>();
        for verb in ["get", "delete"] {
            let line = format!(
                "candlepower_operator_api_requests_total{{resource=\"configmaps\",status=\"404\",verb=\"{verb}\"}} 1"
            );
            assert!(text.contains(&line), "{line} is missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_request_is_a_span_below_what_it_was_made_for_which_learns_the_status() {
        let recording = traces::testing::Recording::begin();
        let (config_maps, _, _) = client(Fence::open());
        let reconcile = traces::reconcile(&ConfigMap::default());
        let kind = ApiResource::erase::<ConfigMap>(&());
        let apply = reconcile.in_scope(|| traces::apply("get", &kind, "a"));
        let answer = traces::within(apply, config_maps.get("a")).await;
        assert!(answer.is_err());
        drop(reconcile);
        assert_eq!(
            recording.ended(),
            [
                ("reconcile", None, None),
                ("apply", Some("reconcile"), Some(404)),
                ("api_request", Some("apply"), Some(404)),
            ]
        );
    }

    #[tokio::test]
    async fn one_that_does_not_lead_reads_and_does_not_write() {
        let (config_maps, arrived, _) = client(Fence::closed());
        let error = config_maps
            .delete("a", &DeleteParams::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("does not lead"), "{error}");
        assert_eq!(arrived.load(Ordering::Relaxed), 0);
        assert!(config_maps.get("a").await.is_err());
        assert_eq!(arrived.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_request_that_waits_to_be_sent_again_is_given_up_once_another_may_lead() {
        let fence = Fence::open();
        let put_off = future::pending::<Result<(), BoxError>>();
        let mut answer = pin!(while_open(put_off, Some(&fence)));
        assert!(future::poll_immediate(answer.as_mut()).await.is_none());
        fence.close();
        let error = answer.await.unwrap_err();
        assert!(error.to_string().contains("does not lead"), "{error}");
    }
}
