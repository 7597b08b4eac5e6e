//! What tokens cost, where somebody says what the machine does.
use super::level::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The price of the machine that serves.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Per hour, for all replicas together.
    pub per_hour: f64,
    /// Its currency.
    pub currency: String,
}

/// What a million output tokens cost under one scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenCost {
    /// The scenario.
    pub scenario: String,
    /// Price per hour / (output tokens per second · 3600) · 10⁶.
    pub per_million_tokens: f64,
}

/// For every scenario that made tokens.
pub fn token_costs(levels: &[Level], price: &Price) -> Vec<TokenCost> {
    let made = levels
        .iter()
        .filter(|level| level.figures.output_tokens_per_second > 0.0);
    made.map(|level| TokenCost {
        scenario: level.name.clone(),
        per_million_tokens: per_million(price.per_hour, level.figures.output_tokens_per_second),
    })
    .collect()
}

/// The price of a million tokens at a rate.
pub fn per_million(per_hour: f64, tokens_per_second: f64) -> f64 {
    per_hour / (tokens_per_second * 3600.0) * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_tokens_cost_the_time_that_they_take() {
        // 1000 tokens/s are 3.6 million an hour.
        assert!((per_million(3.6, 1000.0) - 1.0).abs() < 1e-12);
    }
}
