//! `spec.price`: what the machines that serve cost.
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the machines that serve cost.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// Per hour, for all replicas together, as text: `"2.50"`.
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,9}([.][0-9]{1,9})?$') && self.matches('[1-9]')").message("price.perHour: write an amount above 0 in quotes, such as \"2.50\""))]
    pub per_hour: String,
    /// Its currency, by the three letters of ISO 4217.
    #[serde(default = "us_dollar")]
    #[schemars(length(max = 3))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z]{3}$')").message("price.currency: write three capital letters, such as USD"))]
    pub currency: String,
}

impl Price {
    /// The amount per hour, in the currency; `None` where the text is no number, which the API server refuses.
    pub fn amount(&self) -> Option<f64> {
        let amount = self.per_hour.parse::<f64>().ok()?;
        (amount.is_finite() && amount > 0.0).then_some(amount)
    }
}

fn us_dollar() -> String {
    "USD".to_owned()
}
