//! From what a request asks for, such as a JSON schema, to the tokens that an answer may have.
use super::{
    ToolForm,
    tokenizer::{TextError, Tokenizer},
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

/// The spaces that an answer may have between two parts: a few, or a new line with its indentation.
/// Without a limit, small models write nothing else for the rest of their answer; with one that lets
/// them write empty lines, nothing else between any two parts.
const SPACES: &str = r"[ \t]{1,4}|\r?\n[ \t]{0,40}";

/// What an answer has to follow.
#[derive(Clone, Debug, PartialEq)]
pub enum GrammarSource {
    /// A value of this JSON schema.
    JsonSchema(Value),
    /// Tool calls.
    ToolCalls {
        /// What they look like.
        form: ToolForm,
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

    pub(super) fn compile(
        &self,
        source: GrammarSource,
        tokenizer: &Tokenizer,
    ) -> Result<Grammar, TextError> {
        let grammar = match source {
            GrammarSource::JsonSchema(mut schema) => {
                limit_spaces(&mut schema);
                TopLevelGrammar::from_json_schema(schema)
            }
            GrammarSource::ToolCalls {
                form,
                functions,
                only_one,
            } => {
                let mark = |mark: &str| written(tokenizer, mark);
                TopLevelGrammar::from_lark(form.grammar(functions, only_one, &mark))
            }
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

/// `mark` in a grammar: its token where the vocabulary has one that is no text, and its text elsewhere.
fn written(tokenizer: &Tokenizer, mark: &str) -> String {
    match tokenizer.special_id(mark) {
        Some(id) => format!("<[{id}]>"),
        None => Value::from(mark).to_string(),
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

    /// A greedy model that wants to say `wanted`, held to calls of these functions.
    fn held_to_calls(
        form: ToolForm,
        only_one: bool,
        tokenizer: &Tokenizer,
        wanted: &str,
    ) -> String {
        let arguments = json!({
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}},
            "required": ["city"],
            "$defs": {"city": {"type": "string"}},
        });
        let functions = vec![
            ("weather".to_owned(), arguments),
            ("time".to_owned(), json!({"type": "object"})),
        ];
        let source = GrammarSource::ToolCalls {
            form,
            functions,
            only_one,
        };
        let mut grammar = tokenizer.grammar(source, 300).unwrap();
        let mut said = String::new();
        for id in tokenizer.encode(wanted, false).unwrap() {
            let mut logits = vec![0.0; 300];
            grammar.restrict(&mut logits).unwrap();
            if logits[id as usize] < 0.0 {
                break;
            }
            grammar.note(id).unwrap();
            said.push_str(&String::from_utf8(tokenizer.token_bytes(id)).unwrap());
        }
        said
    }

    #[test]
    fn calls_of_every_form_are_allowed_and_nothing_else() {
        let (one, city) = (r#""arguments": {"city": "A"}"#, r#"{"city": "A"}"#);
        let hermes = format!("<tool_call>\n{{\"name\": \"weather\", {one}}}\n</tool_call>");
        let list = format!("[TOOL_CALLS] [{{\"name\": \"weather\", {one}}}");
        let named = format!("[TOOL_CALLS]weather[ARGS]{city}");
        let with_id = format!("[TOOL_CALLS]weather[CALL_ID]abcdef123[ARGS]{city}");
        let llama = format!("{{\"name\": \"weather\", \"parameters\": {city}}}");
        let more = r#", {"name": "time", "arguments": {}}"#;
        let of_bytes = Tokenizer::of_bytes().unwrap();
        for (form, one, last, more) in [
            (ToolForm::Hermes, hermes.clone(), "", format!("\n{hermes}")),
            (ToolForm::MistralList, list, "]", format!("{more}]")),
            (
                ToolForm::MistralNamed { with_ids: false },
                named,
                "",
                "[TOOL_CALLS]time[ARGS]{}".to_owned(),
            ),
            (
                ToolForm::MistralNamed { with_ids: true },
                with_id.clone(),
                "",
                with_id,
            ),
            (ToolForm::Llama, llama, "", String::new()),
        ] {
            let with_marks = Tokenizer::of_bytes_and(form.marks()).unwrap();
            // As text, and as tokens of their own.
            for tokenizer in [&of_bytes, &with_marks] {
                let said =
                    |only_one, wanted: &str| held_to_calls(form, only_one, tokenizer, wanted);
                let whole = format!("{one}{last}");
                assert_eq!(said(true, &format!("{whole}!")), whole);
                assert_eq!(said(true, &format!("{one}{more}")), one);
                assert_eq!(
                    said(false, &format!("{one}{more}!")),
                    format!("{one}{more}")
                );
                assert_eq!(said(false, "Hello"), "");
                let other = one.replace("weather", "weathes");
                assert!(said(false, &other).ends_with("weathe"));
            }
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
