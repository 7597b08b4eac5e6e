//! A conversation to the prompt that the model was trained on, by the model's own template.
use super::{ToolForm, date, python_json, tokenizer::TextError};
use minijinja::{
    Environment, Error, ErrorKind, context,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde, Value},
};
use serde::Serialize;

/// One message of a conversation.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ChatMessage {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Its text.
    pub content: String,
    /// The assistant's calls of tools, in OpenAI's form, with arguments as values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<serde_json::Value>,
    /// The call that a tool answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

/// A compiled chat template (Jinja, as Transformers understands it).
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    beginning: String,
    end: String,
    tool_form: Option<ToolForm>,
}

const NAME: &str = "chat";
/// What a template may spend on one conversation, in steps and in bytes that it makes. The longest
/// conversation that a request may hold takes a fraction of it; a template that goes on for ever,
/// or makes ever longer texts, ends here after a second or two.
const FUEL: u64 = 20_000_000;
/// Spaces are made before anybody counts them.
const WIDEST_INDENT: usize = 32;

impl ChatTemplate {
    /// Compiles `source`. `beginning` and `end` are the texts of the model's beginning-of-text
    /// and end-of-text tokens, which templates refer to.
    pub fn compile(source: &str, beginning: String, end: String) -> Result<Self, TextError> {
        let mut environment = Environment::new();
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        let mut syntax = SyntaxConfig::builder();
        // As Transformers sets Jinja up.
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(
            syntax
                .build()
                .map_err(|error| TextError::Template(error.to_string()))?,
        );
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_function("strftime_now", |format: &str| {
            date::now(format).map_err(|unknown| {
                let problem = format!("strftime_now does not know {unknown}");
                Error::new(ErrorKind::InvalidOperation, problem)
            })
        });
        environment.add_filter("tojson", tojson);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TextError::Template(error.to_string()))?;
        Ok(Self {
            environment,
            beginning,
            end,
            tool_form: ToolForm::of_template(source),
        })
    }

    /// The prompt that asks for the assistant's next message.
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String, TextError> {
        self.render_with_tools(messages, &[])
    }

    /// How its model calls tools, if that is known.
    pub const fn tool_form(&self) -> Option<ToolForm> {
        self.tool_form
    }

    /// As [`Self::render`], with tools in OpenAI's form that the assistant may call.
    pub fn render_with_tools(
        &self,
        messages: &[ChatMessage],
        tools: &[serde_json::Value],
    ) -> Result<String, TextError> {
        // Templates ask whether there are any.
        let tools = (!tools.is_empty()).then(|| Value::from(Serde(tools)));
        self.environment
            .get_template(NAME)
            .and_then(|template| {
                template.render(context! {
                    messages => Serde(messages),
                    tools => tools,
                    add_generation_prompt => true,
                    bos_token => self.beginning.as_str(),
                    eos_token => self.end.as_str(),
                })
            })
            .map_err(|error| TextError::Template(error.detail().unwrap_or("it failed").to_owned()))
    }
}

/// Jinja's filter as Transformers has it: JSON as Python writes it, without escapes for HTML.
#[allow(clippy::needless_pass_by_value, reason = "filters take values")]
fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    if indent > Some(WIDEST_INDENT) {
        let problem = format!("tojson indents by at most {WIDEST_INDENT}");
        return Err(Error::new(ErrorKind::InvalidOperation, problem));
    }
    // Others that Python's takes change nothing here.
    for name in ["ensure_ascii", "sort_keys", "separators"] {
        let _: Option<Value> = options.get(name)?;
    }
    options.assert_all_used()?;
    python_json::write(&value, indent)
        .map(Value::from_safe_string)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOLLM2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn message(role: &str, content: &str) -> ChatMessage {
        ChatMessage {
            role: role.into(),
            content: content.into(),
            ..ChatMessage::default()
        }
    }

    #[test]
    fn tools_are_written_as_python_does_and_calls_as_they_were() {
        let source = "{% for tool in tools %}<tool_call>{{ tool | tojson }}{% endfor %}\
            {% for message in messages %}{% for call in message.tool_calls %}\
            {{ call.function.name }}{{ call.function.arguments | tojson }}{% endfor %}{% endfor %}";
        let template = ChatTemplate::compile(source, String::new(), String::new()).unwrap();
        let tools =
            [serde_json::json!({"type": "function", "function": {"name": "<é>", "a": [1, {}]}})];
        let call = serde_json::json!({"function": {"name": "f", "arguments": {"z": 1, "a": 2}}});
        let messages = [ChatMessage {
            tool_calls: vec![call],
            ..message("assistant", "")
        }];
        assert_eq!(template.tool_form(), Some(ToolForm::Hermes));
        assert_eq!(
            template.render_with_tools(&messages, &tools).unwrap(),
            r#"<tool_call>{"type": "function", "function": {"name": "<é>", "a": [1, {}]}}f{"z": 1, "a": 2}"#
        );
    }

    #[test]
    fn a_conversation_becomes_the_prompt_of_the_models_training() {
        let template = ChatTemplate::compile(SMOLLM2, String::new(), String::new()).unwrap();
        let prompt = template
            .render(&[message("system", "Be brief."), message("user", "Hi")])
            .unwrap();
        assert_eq!(
            prompt,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn methods_of_python_strings_work() {
        let source = "{{ messages[0].content.strip() }}{{ bos_token }}";
        let template = ChatTemplate::compile(source, "<s>".into(), String::new()).unwrap();
        assert_eq!(
            template.render(&[message("user", "  Hi ")]).unwrap(),
            "Hi<s>"
        );
    }

    #[test]
    fn a_template_may_ask_for_the_date() {
        let source = "{% if strftime_now is defined %}{{ strftime_now('%Y %%') }}{% endif %}";
        let template = ChatTemplate::compile(source, String::new(), String::new()).unwrap();
        let text = template.render(&[]).unwrap();
        let year: u32 = text.strip_suffix(" %").unwrap().parse().unwrap();
        assert!((2025..3000).contains(&year), "{text}");
    }

    /// What the templates of Mistral and Llama do with messages, calls and tools.
    #[test]
    fn expressions_of_templates_with_tools_work() {
        let source = "{%- set rest = messages[1:] %}\
            {%- set users = rest | selectattr('role', 'equalto', 'user') | list %}\
            {%- for key, value in tools[0].function.items() if key != 'return' %}{{ key }}={{ value if value is string else value | tojson }};{% endfor %}\
            {%- for message in rest %}\
            {%- if message == users[-1] %}<{{ message['content'] | trim }}>{% endif %}\
            {%- if not message.get('tool_calls') and 'tool_calls' not in message and message.tool_calls is not defined %}[{{ message.role }}]{% else %}\
            {%- set out = message.tool_calls[0].function | tojson %}{{ out[:-1] }}{{ ', \"id\": \"' + message.tool_calls[0].id[-3:] + '\"}' }}{% endif %}\
            {%- if message.role == 'tool' and (message.content is mapping or message.content is iterable) %}{{ message.content | tojson }}{% endif %}\
            {%- endfor %}";
        let template = ChatTemplate::compile(source, String::new(), String::new()).unwrap();
        let call =
            serde_json::json!({"id": "call-123", "function": {"name": "f", "arguments": {"a": 1}}});
        let messages = [
            message("system", "s"),
            message("user", " hi "),
            ChatMessage {
                tool_calls: vec![call],
                ..message("assistant", "")
            },
            message("tool", "rain"),
        ];
        let tools =
            [serde_json::json!({"type": "function", "function": {"name": "f", "parameters": {}}})];
        assert_eq!(
            template.render_with_tools(&messages, &tools).unwrap(),
            r#"name=f;parameters={};<hi>[user]{"name": "f", "arguments": {"a": 1}, "id": "123"}[tool]"rain""#
        );
    }

    #[test]
    fn a_template_that_refuses_the_conversation_says_why() {
        let source = "{{ raise_exception('roles must alternate') }}";
        let template = ChatTemplate::compile(source, String::new(), String::new()).unwrap();
        let error = template
            .render(&[message("user", "Hi")])
            .unwrap_err()
            .to_string();
        assert!(error.contains("roles must alternate"), "{error}");
    }

    #[test]
    fn a_template_that_never_ends_or_makes_ever_longer_texts_is_stopped() {
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "{% set ns = namespace(text='ab') %}{% for a in range(60) %}{% set ns.text = ns.text ~ ns.text %}{% endfor %}",
            "{{ 'ab' * 90000000 }}",
            "{{ messages | tojson(indent=9999999999) }}",
            "{% macro again() %}{{ again() }}{{ again() }}{% endmacro %}{{ again() }}",
        ] {
            let template = ChatTemplate::compile(source, String::new(), String::new()).unwrap();
            assert!(
                template.render(&[message("user", "Hi")]).is_err(),
                "{source}"
            );
        }
    }

    #[test]
    fn the_longest_conversation_of_a_request_does_not_spend_the_fuel() {
        let template = ChatTemplate::compile(SMOLLM2, String::new(), String::new()).unwrap();
        let turns: Vec<_> = (0..2000)
            .map(|_| message("user", &"word ".repeat(200)))
            .collect();
        assert!(template.render(&turns).unwrap().len() > 2_000_000);
    }

    #[test]
    fn a_broken_template_is_an_error_when_the_model_is_loaded() {
        assert!(ChatTemplate::compile("{% if %}", String::new(), String::new()).is_err());
    }
}
