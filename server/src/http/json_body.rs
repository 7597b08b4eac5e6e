//! Bodies of the generation routes: read up to the limit, parsed as JSON, every complaint in OpenAI's
//! shape. Each has fields of its own route and the parameters that all of them share. serde could
//! flatten the one into the other, but would then name neither the place of a wrong value nor the
//! fields that there are.
use super::{
    error::{ApiError, ErrorKind},
    fields,
    parameters::Parameters,
    state::AppState,
};
use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::{borrow::Cow, sync::LazyLock};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// A body whose fields have been checked by [`fields::check`].
#[derive(Clone, Debug)]
pub struct JsonBody<Own> {
    /// What only this route has.
    pub own: Own,
    /// What all have.
    pub parameters: Parameters,
}

/// How far beyond the limit a body is read and thrown away, in multiples of the limit: a client
/// that is cut off while it sends sees a broken connection instead of the answer.
const DISCARDED: usize = 8;

impl<Own: DeserializeOwned> FromRequest<AppState> for JsonBody<Own> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        let bytes = read(request.into_body(), state.options.body_limit).await?;
        parse(&bytes)
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = declared
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    let subtype = essence.to_ascii_lowercase();
    if subtype == "application/json" || subtype.ends_with("+json") {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorKind::UnsupportedMediaType,
        "send the body as JSON, with the header `Content-Type: application/json`",
    ))
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    let mut total = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::new(
                ErrorKind::InvalidRequest,
                format!("the body broke off: {error}"),
            )
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        total = total.saturating_add(data.len());
        if total <= limit {
            bytes.extend_from_slice(data);
        } else if total > limit.saturating_mul(DISCARDED) {
            break;
        }
    }
    if total <= limit {
        return Ok(bytes.into());
    }
    Err(ApiError::new(
        ErrorKind::BodyTooLarge,
        format!(
            "the body is larger than {limit} bytes; send less, or raise http.bodyLimit of the server"
        ),
    ))
}

/// Parses and checks a body.
pub(super) fn parse<Own: DeserializeOwned>(bytes: &[u8]) -> Result<JsonBody<Own>, ApiError> {
    let malformed = |error: serde_json::Error| {
        ApiError::new(
            ErrorKind::InvalidRequest,
            format!("the body is not a JSON object: {error}"),
        )
    };
    let mut object: Map<String, Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    fields::check(&mut object)?;
    let shared = SHARED.iter().filter_map(|name| object.remove_entry(name));
    let parameters = of_fields(shared.collect())?;
    Ok(JsonBody {
        own: of_fields(object)?,
        parameters,
    })
}

/// The names of the fields that all bodies share.
static SHARED: LazyLock<Vec<String>> = LazyLock::new(|| match Parameters::schema() {
    RefOr::T(Schema::Object(object)) => object.properties.into_keys().collect(),
    _ => Vec::new(),
});

fn of_fields<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let mut problem = error.into_inner().to_string();
        match fields::unknown(&problem) {
            Some(name) => {
                if path == "." || path == name {
                    // One of the body itself: serde told those of the route alone.
                    problem.extend(SHARED.iter().map(|known| format!(", `{known}`")));
                }
                fields::unknown_error(&within(&path, &name), &problem)
            }
            None if path == "." => ApiError::new(ErrorKind::InvalidRequest, problem),
            None => {
                let message = format!("{path}: {problem}");
                ApiError::invalid(path, message)
            }
        }
    })
}

/// As one object with all of the fields.
impl<Own: ToSchema> PartialSchema for JsonBody<Own> {
    fn schema() -> RefOr<Schema> {
        let mut own = Own::schema();
        if let RefOr::T(Schema::Object(own)) = &mut own
            && let RefOr::T(Schema::Object(shared)) = Parameters::schema()
        {
            own.properties.extend(shared.properties);
        }
        own
    }
}

impl<Own: ToSchema> ToSchema for JsonBody<Own> {
    fn name() -> Cow<'static, str> {
        Own::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Own::schemas(schemas);
        Parameters::schemas(schemas);
    }
}

/// The whole path of the unknown field `name`, of which `path` may be the parent or already all.
fn within(path: &str, name: &str) -> String {
    match path.strip_suffix(name) {
        Some(rest) if rest.is_empty() || rest.ends_with('.') => path.to_owned(),
        _ if path == "." => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        name: String,
        #[allow(dead_code, reason = "only its type matters")]
        parts: Option<Vec<u32>>,
    }

    fn error(text: &str) -> ApiError {
        parse::<Form>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_good_body_is_parsed() {
        let body = br#"{"name": "a", "parts": null, "seed": 1}"#;
        let body = parse::<Form>(body).unwrap();
        assert_eq!((&*body.own.name, body.parameters.seed), ("a", Some(1)));
    }

    #[test]
    fn broken_json_says_where() {
        assert!(error("{\"name\": ").message.contains("line 1 column"));
        assert!(error("[1]").message.contains("not a JSON object"));
    }

    #[test]
    fn a_wrong_type_names_its_place() {
        let error = error(r#"{"name": "a", "parts": [1, "two"]}"#);
        assert_eq!(error.param.as_deref(), Some("parts[1]"));
        assert!(error.message.contains("\"two\""), "{}", error.message);
    }

    #[test]
    fn a_wrong_type_of_a_shared_field_names_its_place_too() {
        let error = error(r#"{"name": "a", "seed": "two"}"#);
        assert_eq!(error.param.as_deref(), Some("seed"));
        assert!(error.message.contains("\"two\""), "{}", error.message);
    }

    #[test]
    fn an_unknown_field_is_named_with_the_known_ones() {
        let error = error(r#"{"name": "a", "nmae": 1}"#);
        assert_eq!(error.param.as_deref(), Some("nmae"));
        for known in ["`name`", "`parts`", "`temperature`", "`min_tokens`"] {
            assert!(error.message.contains(known), "{}", error.message);
        }
    }

    #[test]
    fn the_shared_fields_are_told_of_the_body_alone() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer {
            #[allow(dead_code, reason = "only its type matters")]
            inner: Form,
        }
        let error = parse::<Outer>(br#"{"inner": {"name": "a", "nmae": 1}}"#).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("inner.nmae"));
        assert!(!error.message.contains("temperature"), "{}", error.message);
    }

    #[test]
    fn an_unknown_fields_path_is_whole() {
        assert_eq!(within(".", "name"), "name");
        assert_eq!(within("name", "name"), "name");
        assert_eq!(within("messages[0]", "name"), "messages[0].name");
        assert_eq!(within("messages[0].name", "name"), "messages[0].name");
    }

    #[test]
    fn a_missing_field_is_named() {
        assert!(error("{}").message.contains("missing field `name`"));
    }

    #[tokio::test]
    async fn a_body_at_the_limit_passes_and_one_byte_more_does_not() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap().len(), 5);
        let error = read(Body::from("123456"), 5).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::BodyTooLarge);
        assert!(error.message.contains("5 bytes"));
    }

    #[test]
    fn the_content_type_may_have_parameters_but_must_be_json() {
        let headers =
            |value| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
        assert!(check_content_type(&headers("application/json; charset=utf-8")).is_ok());
        assert!(check_content_type(&headers("text/plain")).is_err());
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
