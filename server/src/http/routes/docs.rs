//! `GET /openapi.json` and `GET /docs`: the API's description, made from the same types that parse
//! requests.
//!
//! The page is our own: about 10 kB that need no network. Redoc and Scalar load their code from a
//! CDN, which a cluster often cannot reach, and Swagger UI's bundle adds megabytes to the binary for
//! ten routes.
use super::{chat_completions, completions, generate, health, metrics, models, version};
use axum::{
    http::header,
    response::{Html, IntoResponse, Response},
};
use std::sync::LazyLock;
use utoipa::OpenApi;

const PAGE: &str = include_str!("docs.html");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Candlepower inference server",
        description = "An OpenAI-compatible endpoint for one model.",
    ),
    tags(
        (name = "OpenAI", description = "Works with OpenAI's clients."),
        (name = "Simple", description = "A prompt in; text and timings out."),
        (name = "Operations", description = "Probes and metrics."),
    ),
    paths(
        chat_completions::chat_completions,
        completions::completions,
        models::list,
        models::retrieve,
        generate::generate,
        health::health,
        health::startup,
        health::live,
        health::ready,
        metrics::metrics,
        version::version,
    ),
    components(schemas(
        chat_completions::types::ChatCompletionChunk,
        generate::GenerateChunk,
    )),
)]
struct Api;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| Api::openapi().to_json().unwrap_or_default());

/// The OpenAPI 3.1 document.
pub async fn openapi() -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        DOCUMENT.as_str(),
    )
        .into_response()
}

/// The page that shows it.
pub async fn page() -> Html<&'static str> {
    Html(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::names::paths;
    use serde_json::Value;

    fn document() -> Value {
        serde_json::from_str(&DOCUMENT).unwrap()
    }

    #[test]
    fn it_is_openapi_3_1_and_describes_every_route() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        for path in [
            paths::CHAT_COMPLETIONS,
            paths::COMPLETIONS,
            paths::MODELS,
            paths::GENERATE,
            paths::HEALTH,
            paths::HEALTH_STARTUP,
            paths::HEALTH_LIVE,
            paths::HEALTH_READY,
            paths::METRICS,
            paths::VERSION,
        ] {
            assert!(document["paths"][path].is_object(), "{path} is missing");
        }
    }

    #[test]
    fn it_has_every_option_of_a_stream() {
        let options = &document()["components"]["schemas"]["StreamOptions"]["properties"];
        let names: Vec<_> = options.as_object().unwrap().keys().collect();
        let expected = [
            "continuous_usage_stats",
            "include_obfuscation",
            "include_usage",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(object) => {
                    found.extend(object.get("$ref").and_then(Value::as_str));
                    object.values().for_each(|value| references(value, found));
                }
                Value::Array(values) => values.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        assert!(!PAGE.contains("https://") && !PAGE.contains("src="));
        assert!(PAGE.contains("/openapi.json") || PAGE.contains("openapi.json"));
    }
}
