//! Flags that say how benchmarks put load on models.
use super::PullPolicy;
use candlepower_api::value::{ByteSize, CpuQuantity};
use clap::Args;

/// How benchmarks put load on models.
#[derive(Args, Clone, Debug)]
pub struct BenchmarkConfig {
    /// Image of the load generator
    #[arg(long, env = "BENCH_IMAGE", value_name = "IMAGE", default_value = concat!("candlepower/bench:", env!("CARGO_PKG_VERSION")))]
    pub bench_image: String,
    /// When nodes pull that image
    #[arg(long, value_enum, default_value = "if-not-present")]
    pub bench_image_pull_policy: PullPolicy,
    /// CPU that a load generator requests
    #[arg(long, value_name = "CPU", default_value = "100m")]
    pub bench_cpu_request: CpuQuantity,
    /// CPU limit of a load generator; where it is reached, latencies are the generator's own
    #[arg(long, value_name = "CPU", default_value = "2")]
    pub bench_cpu_limit: CpuQuantity,
    /// Memory that a load generator requests
    #[arg(long, value_name = "SIZE", default_value = "128Mi")]
    pub bench_memory_request: ByteSize,
    /// Memory limit of a load generator
    #[arg(long, value_name = "SIZE", default_value = "1Gi")]
    pub bench_memory_limit: ByteSize,
}
