//! The parameters that all generation routes share: limits of the answer and sampling.
use super::error::ApiError;
use crate::{engine::Sampling, text::GrammarSource};
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

/// The parameters as a request gives them.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// Answers to the one prompt, 1 to 128.
    pub n: Option<usize>,
    /// Most tokens to generate.
    pub max_tokens: Option<usize>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 1 or more; 0 and -1 mean all.
    pub top_k: Option<i64>,
    /// Above 0, up to 1.
    pub top_p: Option<f64>,
    /// 0 to 1.
    pub min_p: Option<f64>,
    /// Above 0, up to 2.
    pub repetition_penalty: Option<f64>,
    /// -2 to 2.
    pub presence_penalty: Option<f64>,
    /// -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// -100 to 100 for each token.
    pub logit_bias: Option<LogitBias>,
    /// The same seed picks the same tokens.
    pub seed: Option<i64>,
    /// Report log probabilities, with those of this many of the likeliest tokens.
    pub logprobs: Option<usize>,
    /// Texts that end the answer.
    pub stop: Option<Stop>,
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
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

impl Parameters {
    /// Checks each value.
    pub fn validate(self) -> Result<Controls, ApiError> {
        if self.max_tokens == Some(0) {
            return Err(ApiError::invalid(
                "max_tokens",
                "max_tokens is 0; write 1 or more",
            ));
        }
        let choices = self.n.unwrap_or(1);
        if !(1..=MAX_CHOICES).contains(&choices) {
            return Err(ApiError::invalid(
                "n",
                format!("n is {choices}; write a number from 1 to {MAX_CHOICES}"),
            ));
        }
        Ok(Controls {
            choices,
            max_tokens: self.max_tokens,
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
                grammar: None,
                seed: self.seed.map(i64::cast_unsigned),
                logprobs: self.logprobs,
            },
            format: None,
            stop: stops(self.stop)?,
        })
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
mod tests {
    use super::*;

    fn param(parameters: Parameters) -> Option<String> {
        parameters.validate().unwrap_err().param
    }

    #[test]
    fn nothing_given_means_openais_defaults() {
        let controls = Parameters::default().validate().unwrap();
        assert_eq!(
            controls,
            Controls {
                choices: 1,
                max_tokens: None,
                sampling: Sampling::default(),
                format: None,
                stop: vec![]
            }
        );
    }

    #[test]
    fn the_edges_are_valid() {
        for (temperature, top_p) in [(0.0, 1.0), (2.0, 1e-9)] {
            let parameters = Parameters {
                temperature: Some(temperature),
                top_p: Some(top_p),
                max_tokens: Some(1),
                seed: Some(-1),
                ..Parameters::default()
            };
            assert_eq!(parameters.validate().unwrap().sampling.seed, Some(u64::MAX));
        }
    }

    #[test]
    fn values_beyond_the_edges_are_refused_by_name() {
        type Set = fn(&mut Parameters, f64);
        let numbers: [(&str, Set, &[f64]); 6] = [
            (
                "temperature",
                |p, value| p.temperature = Some(value),
                &[-0.1, 2.1],
            ),
            ("top_p", |p, value| p.top_p = Some(value), &[0.0, 1.1]),
            ("min_p", |p, value| p.min_p = Some(value), &[-0.1, 1.1]),
            (
                "repetition_penalty",
                |p, value| p.repetition_penalty = Some(value),
                &[0.0, 2.1],
            ),
            (
                "presence_penalty",
                |p, value| p.presence_penalty = Some(value),
                &[-2.1, 2.1],
            ),
            (
                "frequency_penalty",
                |p, value| p.frequency_penalty = Some(value),
                &[-2.1, 2.1],
            ),
        ];
        for (name, set, values) in numbers {
            for &value in values.iter().chain(&[f64::NAN]) {
                let mut parameters = Parameters::default();
                set(&mut parameters, value);
                let error = parameters.validate().unwrap_err();
                assert_eq!(error.param.as_deref(), Some(name));
                assert!(
                    error.message.contains("write a number"),
                    "{}",
                    error.message
                );
            }
        }
    }

    #[test]
    fn counts_beyond_the_edges_are_refused_by_name() {
        let given = Parameters::default;
        for (name, parameters) in [
            (
                "max_tokens",
                Parameters {
                    max_tokens: Some(0),
                    ..given()
                },
            ),
            (
                "n",
                Parameters {
                    n: Some(0),
                    ..given()
                },
            ),
            (
                "n",
                Parameters {
                    n: Some(129),
                    ..given()
                },
            ),
            (
                "top_k",
                Parameters {
                    top_k: Some(-2),
                    ..given()
                },
            ),
        ] {
            assert_eq!(param(parameters).as_deref(), Some(name));
        }
        for stops in [vec![String::new()], vec!["a".to_owned(); 5]] {
            let parameters = Parameters {
                stop: Some(Stop::Several(stops)),
                ..given()
            };
            assert_eq!(param(parameters).unwrap(), "stop");
        }
        assert!(likeliest("logprobs", 5, 5).is_ok());
        assert!(likeliest("logprobs", 6, 5).is_err());
    }

    #[test]
    fn minus_one_and_zero_switch_top_k_off() {
        for (given, expected) in [(-1, None), (0, None), (1, Some(1)), (40, Some(40))] {
            let parameters = Parameters {
                top_k: Some(given),
                ..Parameters::default()
            };
            assert_eq!(parameters.validate().unwrap().sampling.top_k, expected);
        }
    }

    #[test]
    fn a_bias_is_for_token_ids_within_a_hundred() {
        let biased = |token: &str, bias| Parameters {
            logit_bias: Some(LogitBias::from([(token.to_owned(), bias)])),
            ..Parameters::default()
        };
        let controls = biased("42", -100.0).validate().unwrap();
        assert_eq!(controls.sampling.logit_bias, [(42, -100.0)]);
        for (token, bias) in [("42", 100.1), ("hello", 1.0), ("-1", 1.0)] {
            let error = biased(token, bias).validate().unwrap_err();
            assert_eq!(error.param.as_deref(), Some("logit_bias"));
            assert!(error.message.contains(token), "{}", error.message);
        }
    }
}
