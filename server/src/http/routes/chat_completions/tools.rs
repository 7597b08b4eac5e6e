//! Tools in chats: what the model may call, what it called before, and its calls in the answer.
use crate::{
    engine::FinishReason,
    http::{error::ApiError, identity},
    text::{CallReading, GrammarSource, ToolCall, ToolCallReader, ToolForm, tool_calls::Found},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Something that the model may call.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Tool {
    /// A function of the client.
    Function {
        /// The function.
        function: Function,
    },
}

/// A function of the client.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON schema of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub parameters: Option<Value>,
    /// Accepted: arguments follow the schema wherever a call is asked for.
    #[serde(skip_serializing)]
    pub strict: Option<bool>,
}

/// Whether the model calls something.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "tool_choice is \"none\", \"auto\", \"required\" or {\"type\": \"function\", \"function\": {\"name\": \"…\"}}"
)]
pub enum ToolChoice {
    /// Without saying what.
    Mode(ToolMode),
    /// This function.
    Named(NamedTool),
}

/// Whether the model calls something.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolMode {
    /// It does not hear of any tool.
    None,
    /// As it likes.
    Auto,
    /// At least once.
    Required,
}

/// A function that has to be called.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum NamedTool {
    /// A function of the client.
    Function {
        /// Which one.
        function: FunctionName,
    },
}

/// Names a function.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionName {
    /// Its name.
    pub name: String,
}

/// A call that the assistant made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum MadeCall {
    /// Of a function of the client.
    Function {
        /// Names the call.
        id: String,
        /// What was called.
        function: CalledFunction,
    },
}

/// A function with arguments.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CalledFunction {
    /// Its name.
    pub name: String,
    /// Its arguments, as JSON in a text.
    pub arguments: String,
}

/// A call in the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AnswerCall {
    /// In a stream: which of the message's calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Names the call.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What to call.
    pub function: CalledFunction,
}

/// What the model hears of tools, and what it has to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    /// For the chat template.
    pub(super) tools: Vec<Value>,
    /// Where a call is asked for.
    pub(super) grammar: Option<GrammarSource>,
    /// How calls are read, where tools are offered.
    pub(super) reading: Option<CallReading>,
}

impl Offer {
    /// `form`: how the model calls tools. `parallel`: there may be several calls in one answer.
    pub(super) fn new(
        tools: &[Tool],
        choice: Option<ToolChoice>,
        parallel: bool,
        form: Option<ToolForm>,
    ) -> Result<Self, ApiError> {
        let choice = choice.unwrap_or(ToolChoice::Mode(ToolMode::Auto));
        let name = match &choice {
            ToolChoice::Mode(ToolMode::None) => return Ok(Self::default()),
            ToolChoice::Mode(ToolMode::Auto) if tools.is_empty() => return Ok(Self::default()),
            ToolChoice::Mode(_) => None,
            ToolChoice::Named(NamedTool::Function { function }) => Some(&*function.name),
        };
        let functions = functions(tools, name)?;
        let form = form.ok_or_else(|| {
            ApiError::invalid(
                "tools",
                "this model's chat template has no tool calls in a form that is read here (that of Hermes and Qwen, Mistral, or Llama 3.1); leave it out and describe the tools in the prompt instead",
            )
        })?;
        let only_one = !parallel;
        let grammar = match choice {
            ToolChoice::Mode(ToolMode::Auto | ToolMode::None) => None,
            ToolChoice::Mode(ToolMode::Required) | ToolChoice::Named(_) => {
                Some(GrammarSource::ToolCalls {
                    form,
                    functions,
                    only_one: only_one || name.is_some(),
                })
            }
        };
        Ok(Self {
            tools: tools.iter().map(|tool| json!(tool)).collect(),
            grammar,
            reading: Some(CallReading { form, only_one }),
        })
    }
}

/// The tools, or the one of this name, with the schemas of their arguments.
fn functions(tools: &[Tool], name: Option<&str>) -> Result<Vec<(String, Value)>, ApiError> {
    let functions: Vec<_> = tools
        .iter()
        .map(|Tool::Function { function }| function)
        .filter(|function| name.is_none_or(|name| name == function.name))
        .map(|function| {
            let any = || json!({"type": "object"});
            let parameters = function.parameters.clone().unwrap_or_else(any);
            (function.name.clone(), parameters)
        })
        .collect();
    if functions.is_empty() {
        return Err(ApiError::invalid(
            "tool_choice",
            "tool_choice asks for a function that tools does not have; add it or leave tool_choice out",
        ));
    }
    Ok(functions)
}

/// Calls made before, for the chat template, which writes arguments as values.
pub(super) fn made(calls: Vec<MadeCall>) -> Result<Vec<Value>, ApiError> {
    calls
        .into_iter()
        .map(|MadeCall::Function { id, function }| {
            let arguments: Value = serde_json::from_str(&function.arguments).map_err(|error| {
                let message = format!("the arguments of the call {id} are not JSON: {error}");
                ApiError::invalid("messages", message)
            })?;
            Ok(json!({
                "id": id,
                "type": "function",
                "function": {"name": function.name, "arguments": arguments},
            }))
        })
        .collect()
}

/// Reads the calls in one choice, if tools were offered.
#[derive(Debug)]
pub(super) struct CallReader {
    /// Absent where no tools were offered, and after the end.
    reader: Option<ToolCallReader>,
    has_short_ids: bool,
    count: usize,
}

impl CallReader {
    pub(super) fn new(reading: Option<CallReading>) -> Self {
        Self {
            has_short_ids: reading.is_some_and(|reading| reading.form.has_short_ids()),
            reader: reading.map(ToolCallReader::new),
            count: 0,
        }
    }

    /// Text that belongs to no call, and complete calls.
    pub(super) fn push(&mut self, text: String) -> (String, Vec<AnswerCall>) {
        match &mut self.reader {
            None => (text, Vec::new()),
            Some(reader) => {
                let found = reader.push(&text);
                self.number(found)
            }
        }
    }

    /// What was held back until the end.
    pub(super) fn finish(&mut self) -> (String, Vec<AnswerCall>) {
        let found = self.reader.take().map(|mut reader| reader.finish());
        self.number(found.unwrap_or_default())
    }

    /// Why the choice ended, in OpenAI's words.
    pub(super) const fn reason(&self, reason: FinishReason) -> &'static str {
        match reason {
            FinishReason::Stop if self.count > 0 => "tool_calls",
            other => other.as_str(),
        }
    }

    fn number(&mut self, found: Found) -> (String, Vec<AnswerCall>) {
        let first = self.count;
        self.count += found.calls.len();
        let numbered = (first..).zip(found.calls);
        let calls = numbered.map(|(index, ToolCall { name, arguments })| AnswerCall {
            index: Some(index),
            id: if self.has_short_ids {
                identity::short()
            } else {
                identity::new("call")
            },
            kind: "function",
            function: CalledFunction { name, arguments },
        });
        (found.text, calls.collect())
    }
}
