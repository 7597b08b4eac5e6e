//! The parameters that all generation routes share: limits of the answer and sampling.
use super::error::ApiError;
use crate::{
    engine::Sampling,
    text::{CallReading, GrammarSource},
};
use serde::Deserialize;
use std::{collections::BTreeMap, ops::RangeInclusive};
use utoipa::ToSchema;

/// Most stop strings of a request, as in OpenAI's API.
const MAX_STOPS: usize = 4;
/// Most answers to one prompt, as in OpenAI's API.
const MAX_CHOICES: usize = 128;

/// Stop strings: one, or up to four.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "stop is a string or an array of up to 4 strings"
)]
pub enum Stop {
    /// One.
    One(String),
    /// Up to four.
    Several(Vec<String>),
}

/// From token ids, written as texts, to what is added to their logits.
pub type LogitBias = BTreeMap<String, f32>;

/// The parameters as a request of any route gives them.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// 0 picks the most likely token; higher values vary more.
    #[schema(minimum = 0, maximum = 2, default = 1.0)]
    pub temperature: Option<f64>,
    /// Pick from the smallest set of tokens whose probabilities sum to this.
    #[schema(exclusive_minimum = 0, maximum = 1, default = 1.0)]
    pub top_p: Option<f64>,
    /// Pick from this many of the likeliest tokens; 0 or -1: from all.
    #[schema(minimum = -1, default = -1)]
    pub top_k: Option<i64>,
    /// Pick from tokens at least this times as likely as the likeliest.
    #[schema(minimum = 0, maximum = 1, default = 0.0)]
    pub min_p: Option<f64>,
    /// Above 1, tokens that prompt or answer have become less likely.
    #[schema(exclusive_minimum = 0, maximum = 2, default = 1.0)]
    pub repetition_penalty: Option<f64>,
    /// Above 0, tokens that the answer has become less likely.
    #[schema(minimum = -2, maximum = 2, default = 0.0)]
    pub presence_penalty: Option<f64>,
    /// Above 0, tokens become less likely each time that the answer has them.
    #[schema(minimum = -2, maximum = 2, default = 0.0)]
    pub frequency_penalty: Option<f64>,
    /// From token ids to -100 (never) … 100 (always), which is added to their logits.
    pub logit_bias: Option<LogitBias>,
    /// The same seed picks the same tokens.
    pub seed: Option<i64>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Option<Stop>,
    /// Go on to the longest length: the model cannot end the answer, stop strings can.
    #[serde(default)]
    pub ignore_eos: bool,
    /// Tokens before which neither the model nor a stop string ends the answer.
    #[schema(default = 0)]
    pub min_tokens: Option<usize>,
}

/// What not all routes name alike, or have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Answers to the one prompt, 1 to 128.
    pub n: Option<usize>,
    /// Most tokens to generate.
    pub max_tokens: Option<usize>,
    /// Report log probabilities, with those of this many of the likeliest tokens.
    pub logprobs: Option<usize>,
}

/// The parameters after validation, in the engine's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Controls {
    /// Answers to the one prompt.
    pub choices: usize,
    /// Most tokens to generate; without it, what the context holds.
    pub max_tokens: Option<usize>,
    /// How tokens are picked.
    pub sampling: Sampling,
    /// What the answer has to follow, and the field that says so.
    pub format: Option<(&'static str, GrammarSource)>,
    /// How calls of tools are read from the answer, where it may have some.
    pub calls: Option<CallReading>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Tokens that it has before one of them may.
    pub min_tokens: usize,
}

impl Parameters {
    /// Checks each value.
    pub fn validate(self, counts: Counts) -> Result<Controls, ApiError> {
        if counts.max_tokens == Some(0) {
            return Err(ApiError::invalid(
                "max_tokens",
                "max_tokens is 0; write 1 or more",
            ));
        }
        let choices = counts.n.unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&choices) {
            return Err(ApiError::invalid(
                "n",
                format!("n is {choices}; write a number from 1 to {MAX_CHOICES}"),
            ));
        }
        let min_tokens = self.min_tokens.unwrap_or_default();
        if let Some(most) = counts.max_tokens.filter(|most| min_tokens > *most) {
            let message = format!(
                "min_tokens is {min_tokens} and max_tokens is {most}; write no more than max_tokens"
            );
            return Err(ApiError::invalid("min_tokens", message));
        }
        Ok(Controls {
            choices,
            max_tokens: counts.max_tokens,
            sampling: Sampling {
                temperature: within("temperature", self.temperature, 1.0, 0.0..=2.0)?,
                top_k: top_k(self.top_k)?,
                top_p: above_zero("top_p", self.top_p, 1.0)?,
                min_p: within("min_p", self.min_p, 0.0, 0.0..=1.0)?,
                repetition_penalty: above_zero("repetition_penalty", self.repetition_penalty, 2.0)?,
                presence_penalty: within(
                    "presence_penalty",
                    self.presence_penalty,
                    0.0,
                    -2.0..=2.0,
                )?,
                frequency_penalty: within(
                    "frequency_penalty",
                    self.frequency_penalty,
                    0.0,
                    -2.0..=2.0,
                )?,
                logit_bias: logit_bias(self.logit_bias.unwrap_or_default())?,
                min_tokens: if self.ignore_eos {
                    Sampling::NEVER_ENDS
                } else {
                    min_tokens
                },
                grammar: None,
                seed: self.seed.map(i64::cast_unsigned),
                logprobs: counts.logprobs,
            },
            format: None,
            calls: None,
            stop: stops(self.stop)?,
            min_tokens,
        })
    }
}

impl Controls {
    /// With a form that the answer has to follow, and the field that says so. It ends where the form
    /// is complete, so that nothing else may be said of its end.
    pub fn in_form(
        mut self,
        form: Option<(&'static str, GrammarSource)>,
    ) -> Result<Self, ApiError> {
        let field = match self.sampling.min_tokens {
            0 => None,
            Sampling::NEVER_ENDS => Some("ignore_eos"),
            _ => Some("min_tokens"),
        };
        if let (Some(field), Some((form, _))) = (field, &form) {
            let message = format!(
                "{field} and {form} contradict each other, because an answer ends where its form is complete; leave one of them out"
            );
            return Err(ApiError::invalid(field, message));
        }
        self.format = form;
        Ok(self)
    }
}

fn within(
    name: &str,
    value: Option<f64>,
    default: f64,
    range: RangeInclusive<f64>,
) -> Result<f64, ApiError> {
    let value = value.unwrap_or(default);
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    Err(ApiError::invalid(
        name,
        format!("{name} is {value}; write a number from {least} to {most}"),
    ))
}

/// 1 by default.
fn above_zero(name: &str, value: Option<f64>, most: f64) -> Result<f64, ApiError> {
    let value = value.unwrap_or(1.0);
    if value > 0.0 && value <= most {
        return Ok(value);
    }
    Err(ApiError::invalid(
        name,
        format!("{name} is {value}; write a number above 0 and up to {most}"),
    ))
}

fn top_k(value: Option<i64>) -> Result<Option<usize>, ApiError> {
    match value {
        None | Some(-1 | 0) => Ok(None),
        Some(count) => usize::try_from(count).map(Some).map_err(|_| {
            let message = format!("top_k is {count}; write 1 or more, or -1 for all tokens");
            ApiError::invalid("top_k", message)
        }),
    }
}

fn logit_bias(bias: LogitBias) -> Result<Vec<(u32, f32)>, ApiError> {
    let invalid = |message| ApiError::invalid("logit_bias", message);
    bias.into_iter()
        .map(|(token, bias)| {
            let id = token.parse().map_err(|_| {
                invalid(format!(
                    "logit_bias has \"{token}\", which is not a token id; write ids, such as \"42\""
                ))
            })?;
            if !(-100.0..=100.0).contains(&bias) {
                return Err(invalid(format!(
                    "logit_bias of the token {id} is {bias}; write a number from -100 to 100"
                )));
            }
            Ok((id, bias))
        })
        .collect()
}

/// A count of likeliest tokens, up to `most`.
pub(super) fn likeliest(name: &str, count: usize, most: usize) -> Result<usize, ApiError> {
    if count <= most {
        return Ok(count);
    }
    Err(ApiError::invalid(
        name,
        format!("{name} is {count}; write a number from 0 to {most}"),
    ))
}

fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Several(texts)) => texts,
    };
    if stops.len() > MAX_STOPS {
        let count = stops.len();
        return Err(ApiError::invalid(
            "stop",
            format!("stop has {count} strings; write {MAX_STOPS} at most"),
        ));
    }
    if stops.iter().any(String::is_empty) {
        return Err(ApiError::invalid(
            "stop",
            "a stop string is empty; leave it out",
        ));
    }
    Ok(stops)
}

#[cfg(test)]
mod tests;
