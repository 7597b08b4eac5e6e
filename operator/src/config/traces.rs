//! Flags that say where the operator's own traces go.
use super::monitoring::address;
use candlepower_api::value::Percentage;
use clap::Args;

/// Where the operator's own traces go.
#[derive(Args, Clone, Debug)]
pub struct TracingConfig {
    /// Collector for traces of the operator's own work (OTLP over HTTP), such as
    /// http://collector.observability:4318; without it there are none
    #[arg(long, env = "TRACING_ENDPOINT", value_name = "URL", value_parser = collector)]
    pub tracing_endpoint: Option<String>,

    /// Share of reconciles that are traced
    #[arg(
        long,
        env = "TRACING_SAMPLING_RATIO",
        value_name = "PERCENTAGE",
        default_value = "100%"
    )]
    pub tracing_sampling_ratio: Percentage,
}

fn collector(text: &str) -> Result<String, String> {
    let address = address(text).ok();
    let plain = address.filter(|address| address.starts_with("http://"));
    plain.ok_or_else(|| {
        "the operator sends its traces without TLS: write the http:// address of a collector inside the cluster that speaks OTLP over HTTP, such as http://collector.observability:4318".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_scheme_and_a_host_and_no_tls() {
        assert_eq!(collector("http://c:4318/").unwrap(), "http://c:4318");
        for wrong in ["https://c:4318", "c:4318", "http://", ""] {
            let error = collector(wrong).unwrap_err();
            assert!(error.contains("such as http://"), "{wrong}: {error}");
        }
    }
}
