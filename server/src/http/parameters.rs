//! The parameters that all generation routes share: limits of the answer and sampling.
use super::error::ApiError;
use crate::engine::Sampling;
use serde::Deserialize;
use utoipa::ToSchema;

/// Most stop strings of a request, as in OpenAI's API.
const MAX_STOPS: usize = 4;

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

/// The parameters as a request gives them.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    /// Most tokens to generate.
    pub max_tokens: Option<usize>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0, up to 1.
    pub top_p: Option<f64>,
    /// The same seed picks the same tokens.
    pub seed: Option<i64>,
    /// Texts that end the answer.
    pub stop: Option<Stop>,
}

/// The parameters after validation, in the engine's terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Controls {
    /// Most tokens to generate; without it, what the context holds.
    pub max_tokens: Option<usize>,
    /// How tokens are picked.
    pub sampling: Sampling,
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
        let temperature = self.temperature.unwrap_or(1.0);
        if !(0.0..=2.0).contains(&temperature) {
            return Err(ApiError::invalid(
                "temperature",
                format!("temperature is {temperature}; write a number from 0 to 2"),
            ));
        }
        let top_p = self.top_p.unwrap_or(1.0);
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(ApiError::invalid(
                "top_p",
                format!("top_p is {top_p}; write a number above 0 and up to 1"),
            ));
        }
        Ok(Controls {
            max_tokens: self.max_tokens,
            sampling: Sampling {
                temperature,
                top_p,
                seed: self.seed.map(i64::cast_unsigned),
            },
            stop: stops(self.stop)?,
        })
    }
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
                max_tokens: None,
                sampling: Sampling::default(),
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
        let given = Parameters::default;
        assert_eq!(
            param(Parameters {
                max_tokens: Some(0),
                ..given()
            })
            .unwrap(),
            "max_tokens"
        );
        for temperature in [-0.1, 2.1, f64::NAN] {
            let parameters = Parameters {
                temperature: Some(temperature),
                ..given()
            };
            assert_eq!(param(parameters).unwrap(), "temperature");
        }
        for top_p in [0.0, 1.1, f64::NAN] {
            assert_eq!(
                param(Parameters {
                    top_p: Some(top_p),
                    ..given()
                })
                .unwrap(),
                "top_p"
            );
        }
        for stops in [vec![String::new()], vec!["a".to_owned(); 5]] {
            let parameters = Parameters {
                stop: Some(Stop::Several(stops)),
                ..given()
            };
            assert_eq!(param(parameters).unwrap(), "stop");
        }
    }
}
