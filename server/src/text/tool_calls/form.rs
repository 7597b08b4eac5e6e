//! Which form of calls a model was trained on, and what follows from that.
use super::{hermes, llama, mistral};
use serde_json::Value;

/// A form of tool calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToolForm {
    /// Hermes and Qwen: JSON between `<tool_call>` tags.
    Hermes,
    /// Mistral up to its third Small: `[TOOL_CALLS]` and a list of JSON objects.
    MistralList,
    /// Mistral since: `[TOOL_CALLS]name[ARGS]{…}`.
    MistralNamed {
        /// Whether `[CALL_ID]` and an id stand behind the name.
        with_ids: bool,
    },
    /// Llama from 3.1 on: a bare JSON object.
    Llama,
}

impl ToolForm {
    /// The form in which a chat template writes calls, and so its model does.
    pub(in crate::text) fn of_template(template: &str) -> Option<Self> {
        // Quotes may be escaped, within texts of the template.
        let template = template.replace('\\', "");
        let has = |text| template.contains(text);
        if !has("tools") {
            None
        } else if has(hermes::BEGIN) {
            // First: Hermes trained models of others, whose templates keep some of their own marks.
            Some(Self::Hermes)
        } else if has(mistral::BEGIN) && has(mistral::ARGUMENTS) {
            let with_ids = has(mistral::ID);
            Some(Self::MistralNamed { with_ids })
        } else if has(mistral::BEGIN) {
            Some(Self::MistralList)
        } else if has("ipython") && has("\"parameters\":") {
            Some(Self::Llama)
        } else {
            None
        }
    }

    /// Texts that tell calls apart. A vocabulary may have tokens for them that count as no text.
    pub const fn marks(self) -> &'static [&'static str] {
        match self {
            Self::Hermes => &[hermes::BEGIN, hermes::END],
            Self::MistralList | Self::MistralNamed { .. } => {
                &[mistral::BEGIN, mistral::ID, mistral::ARGUMENTS]
            }
            Self::Llama => &[llama::TAG],
        }
    }

    /// Whether the templates take no ids of calls but those of nine letters and digits.
    pub const fn has_short_ids(self) -> bool {
        matches!(self, Self::MistralList | Self::MistralNamed { .. })
    }

    /// The grammar of calls of these functions, given with the schemas of their arguments: exactly
    /// one call, or one and more. `mark` writes one of [`Self::marks`].
    pub(in crate::text) fn grammar(
        self,
        functions: Vec<(String, Value)>,
        only_one: bool,
        mark: &dyn Fn(&str) -> String,
    ) -> String {
        match self {
            Self::Hermes => hermes::grammar(functions, only_one, mark),
            Self::MistralList => mistral::list_grammar(functions, only_one, mark),
            Self::MistralNamed { with_ids } => {
                mistral::named_grammar(functions, only_one, with_ids, mark)
            }
            Self::Llama => llama::grammar(functions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_says_the_form_by_how_it_writes_calls() {
        let tools = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}";
        for (calls, form) in [
            ("<tool_call>{{ call }}</tool_call>", Some(ToolForm::Hermes)),
            (
                r#"{{ "[TOOL_CALLS] [" }}{{ call }}]"#,
                Some(ToolForm::MistralList),
            ),
            (
                "[TOOL_CALLS]{{ name }}[ARGS]{{ arguments }}",
                Some(ToolForm::MistralNamed { with_ids: false }),
            ),
            (
                "[TOOL_CALLS]{{ name }}[CALL_ID]{{ id }}[ARGS]{{ arguments }}",
                Some(ToolForm::MistralNamed { with_ids: true }),
            ),
            (
                r#"{{ "\"parameters\": " }}{{ call }}<|start_header_id|>ipython"#,
                Some(ToolForm::Llama),
            ),
            (
                r#"{{ '"parameters": ' }}ipython<tool_call>"#,
                Some(ToolForm::Hermes),
            ),
            ("{{ call }}", None),
        ] {
            let template = format!("{tools}{calls}");
            assert_eq!(ToolForm::of_template(&template), form, "{template}");
            assert_eq!(ToolForm::of_template(calls), None, "{calls}");
        }
    }
}
