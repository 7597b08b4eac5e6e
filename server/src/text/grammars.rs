//! From what a request asks for, such as a JSON schema, to the tokens that an answer may have.
use super::{
    tokenizer::{TextError, Tokenizer},
    tool_calls,
};
use crate::engine::Grammar;
use llguidance::{
    Matcher, ParserFactory,
    api::TopLevelGrammar,
    panic_utils::catch_unwind,
    toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie},
};
use serde_json::{Value, json};
use std::{
    fmt::{self, Debug, Formatter},
    panic::AssertUnwindSafe,
    sync::Arc,
};

/// The spaces that an answer may have between two parts. Without a limit, small models write
/// nothing else for the rest of their answer.
const SPACES: &str = r"[ \n\r\t]{1,32}";

/// What an answer has to follow.
#[derive(Clone, Debug, PartialEq)]
pub enum GrammarSource {
    /// A value of this JSON schema.
    JsonSchema(Value),
    /// Tool calls, in the form of [`super::tool_calls`].
    ToolCalls {
        /// Names of functions, with the JSON schemas of their arguments.
        functions: Vec<(String, Value)>,
        /// Whether there may be but one.
        only_one: bool,
    },
}

/// Compiles grammars for one model's vocabulary.
pub(super) struct Grammars(ParserFactory);

impl Grammars {
    /// Takes a moment: all tokens are put in order. `vocabulary` is the number of logits.
    pub(super) fn new(tokenizer: &Tokenizer, vocabulary: usize) -> Result<Self, TextError> {
        let unusable = |problem: String| TextError::Grammar(problem);
        let size = u32::try_from(vocabulary).unwrap_or(u32::MAX);
        let ends: Vec<_> = tokenizer
            .end_tokens()
            .iter()
            .copied()
            .filter(|id| *id < size)
            .collect();
        let first = *ends
            .first()
            .ok_or_else(|| unusable("the model has no token that ends an answer".to_owned()))?;
        let tokens: Vec<_> = (0..size).map(|id| spelled(tokenizer, id)).collect();
        catch_unwind(AssertUnwindSafe(|| {
            let trie = TokTrie::from(&TokRxInfo::new(size, first), &tokens).with_eos_tokens(&ends);
            let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            let mut factory = ParserFactory::new_simple(&environment)?;
            factory.quiet().limits_mut().verbose_errors = false;
            Ok(Self(factory))
        }))
        .map_err(|error| unusable(error.to_string()))
    }

    pub(super) fn compile(&self, source: GrammarSource) -> Result<Grammar, TextError> {
        let grammar = match source {
            GrammarSource::JsonSchema(mut schema) => {
                limit_spaces(&mut schema);
                TopLevelGrammar::from_json_schema(schema)
            }
            GrammarSource::ToolCalls {
                functions,
                only_one,
            } => TopLevelGrammar::from_lark(tool_calls::grammar(functions, only_one)),
        };
        catch_unwind(AssertUnwindSafe(|| self.0.create_parser(grammar)))
            .map(|parser| Grammar::new(Matcher::new(Ok(parser))))
            .map_err(|error| TextError::Grammar(cured(&error.to_string())))
    }
}

/// The library's words, with a cure that a client has in place of the library's own.
fn cured(problem: &str) -> String {
    if problem.contains("oneOf constraints are not supported") {
        return "oneOf cannot be enforced; write anyOf instead".to_owned();
    }
    problem.to_owned()
}

/// Limits the spaces between the parts of a value of this schema.
pub(super) fn limit_spaces(schema: &mut Value) {
    if let Some(fields) = schema.as_object_mut() {
        let options = json!({"whitespace_pattern": SPACES});
        fields.insert("x-guidance".to_owned(), options);
    }
}

/// Special tokens are no text: a mark that no text has comes before them.
fn spelled(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    match tokenizer.token(id) {
        Some(_) if !tokenizer.is_special(id) => tokenizer.token_bytes(id),
        _ => {
            let mut bytes = vec![TokTrie::SPECIAL_TOKEN_MARKER];
            bytes.extend(format!("<[{id}]>").into_bytes());
            bytes
        }
    }
}

impl Debug for Grammars {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        formatter.write_str("Grammars")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(schema: Value) -> Result<Grammar, TextError> {
        let tokenizer = Tokenizer::of_bytes().unwrap();
        tokenizer.grammar(GrammarSource::JsonSchema(schema), 300)
    }

    #[test]
    fn a_schema_becomes_a_grammar() {
        let schema = json!({
            "$defs": {"name": {"type": "string", "maxLength": 9}},
            "type": "object",
            "properties": {"name": {"$ref": "#/$defs/name"}, "size": {"enum": [1, 2]}},
            "required": ["name"],
            "additionalProperties": false,
        });
        assert!(compile(schema).is_ok());
    }

    #[test]
    fn tool_calls_become_a_grammar_with_their_own_references() {
        let arguments = json!({
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}},
            "$defs": {"city": {"type": "string"}},
        });
        for only_one in [false, true] {
            let functions = vec![
                ("weather".to_owned(), arguments.clone()),
                ("time".to_owned(), json!({"type": "object"})),
            ];
            let source = GrammarSource::ToolCalls {
                functions,
                only_one,
            };
            let tokenizer = Tokenizer::of_bytes().unwrap();
            tokenizer.grammar(source, 300).unwrap();
        }
    }

    #[test]
    fn a_schema_that_makes_no_sense_or_cannot_be_followed_says_what_is_wrong() {
        for (schema, named) in [
            (json!({"type": "objekt"}), "objekt"),
            (json!({"type": "array", "uniqueItems": true}), "uniqueItems"),
            (json!({"$ref": "#/$defs/missing"}), "missing"),
            (
                json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
                "write anyOf",
            ),
            (json!({"type": "string", "pattern": "("}), "("),
        ] {
            let error = compile(schema).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
