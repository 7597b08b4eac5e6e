//! What form an answer has to have: text, or JSON that is enforced token by token.
use crate::text::GrammarSource;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// What form an answer has. JSON may be cut off where `finish_reason` is `length`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ResponseFormat {
    /// Any.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON of a schema.
    JsonSchema {
        /// The schema.
        json_schema: NamedSchema,
    },
}

/// A JSON schema with what OpenAI's API tells of it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedSchema {
    /// Its name; of no effect.
    pub name: String,
    /// What it is for; of no effect.
    pub description: Option<String>,
    /// The schema.
    #[schema(value_type = Object)]
    pub schema: Value,
    /// Accepted and of no effect: answers always follow the schema.
    pub strict: Option<bool>,
}

impl ResponseFormat {
    /// What the answer has to follow, with the field that says so; nothing for text.
    pub(super) fn into_grammar(self) -> Option<(&'static str, GrammarSource)> {
        let schema = match self {
            Self::Text => return None,
            Self::JsonObject => json!({"type": "object"}),
            Self::JsonSchema { json_schema } => json_schema.schema,
        };
        Some(("response_format", GrammarSource::JsonSchema(schema)))
    }
}
