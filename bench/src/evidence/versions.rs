//! Which versions of the software took part: each says its own.
use super::http::Server;
use candlepower_api::names::paths;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Versions, as far as the software tells them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Versions {
    /// Of what serves the model.
    pub server: Option<String>,
    /// Of what collected the metrics.
    pub metrics: Option<String>,
    /// Of what keeps the traces.
    pub traces: Option<String>,
}

/// llama-server describes itself here; it has no [`paths::VERSION`].
const LLAMA_SERVER_PROPERTIES: &str = "/props";
const PROMETHEUS_BUILD: &str = "/api/v1/status/buildinfo";

/// The version of an OpenAI-compatible server: Candlepower's and vLLM's, or llama-server's.
pub(super) async fn of_server(server: &Server) -> Option<String> {
    match text_at(server, paths::VERSION, "/version").await {
        Some(version) => Some(version),
        None => text_at(server, LLAMA_SERVER_PROPERTIES, "/build_info").await,
    }
}

/// The version of a Prometheus.
pub(super) async fn of_prometheus(server: &Server) -> Option<String> {
    text_at(server, PROMETHEUS_BUILD, "/data/version").await
}

/// The version of a Jaeger, which only its page tells.
pub(super) async fn of_jaeger(server: &Server) -> Option<String> {
    let page = server.get_ok("/").await.ok()?;
    in_jaegers_page(&String::from_utf8_lossy(&page))
}

/// What the page passes to its scripts: `JAEGER_VERSION = {"gitCommit":"…","gitVersion":"v2.9.0",…}`.
fn in_jaegers_page(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("\"gitVersion\":\"")?;
    let (version, _) = rest.split_once('"')?;
    said(version)
}

/// The text at `pointer` of the JSON at `path`.
async fn text_at(server: &Server, path: &str, pointer: &str) -> Option<String> {
    let answer = server.get_ok(path).await.ok()?;
    let answer: Value = serde_json::from_slice(&answer).ok()?;
    said(answer.pointer(pointer)?.as_str()?)
}

fn said(version: &str) -> Option<String> {
    let version = version.trim();
    (!version.is_empty()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, routing::get};
    use serde_json::json;
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;

    async fn serving(routes: Router) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Server::at(&format!("http://{address}")).unwrap()
    }

    #[tokio::test]
    async fn a_server_says_its_version_as_vllm_does_or_as_llama_server_does() {
        let answer = |answer: Value| get(move || async { Json(answer) });
        let both = Router::new()
            .route("/version", answer(json!({"version": "0.11.0"})))
            .route("/props", answer(json!({"build_info": "b6900-1a2b3c4"})));
        assert_eq!(of_server(&serving(both).await).await.unwrap(), "0.11.0");
        let llama = Router::new().route("/props", answer(json!({"build_info": "b6900-1a2b3c4"})));
        let version = of_server(&serving(llama).await).await;
        assert_eq!(version.unwrap(), "b6900-1a2b3c4");
        let silent = Router::new().route("/version", answer(json!({"version": ""})));
        assert_eq!(of_server(&serving(silent).await).await, None);
    }

    #[tokio::test]
    async fn prometheus_says_its_version_beside_how_it_was_built() {
        let answer = json!({"status": "success", "data": {"version": "3.16.0", "revision": "x"}});
        let routes = Router::new().route(PROMETHEUS_BUILD, get(move || async { Json(answer) }));
        let version = of_prometheus(&serving(routes).await).await;
        assert_eq!(version.unwrap(), "3.16.0");
    }

    #[test]
    fn jaegers_page_tells_its_version_unless_nobody_gave_it_one() {
        let page = |version: &str| {
            format!(
                "<script>const JAEGER_VERSION = {{\"gitCommit\":\"a\",\"gitVersion\":\"{version}\"}};</script>"
            )
        };
        assert_eq!(in_jaegers_page(&page("v2.9.0")).unwrap(), "v2.9.0");
        assert_eq!(in_jaegers_page(&page("")), None);
        assert_eq!(in_jaegers_page("const JAEGER_VERSION = DEFAULT;"), None);
    }
}
