//! Measures what the load generator itself costs: streams, tokens per second, CPU and memory.
//!
//! ```text
//! taskset -c 0 target/release/examples/stand_in_server --per-token 20ms &
//! taskset -c 1 target/release/examples/load_cost http://127.0.0.1:8100 --streams 2000
//! ```
use candlepower_api::{benchmark::Workload, value::Duration};
use candlepower_bench::{
    figures::Figures,
    load::{
        self, CancellationToken,
        health::problems,
        plan::{Load, Plan, ScenarioPlan, Target, Trust},
    },
};
use clap::Parser;
use serde_json::json;

/// Holds many streams open at once and prints what that took.
#[derive(Parser)]
struct Flags {
    /// The server, such as the example `stand_in_server`.
    url: String,
    /// Streams at once.
    #[arg(long, default_value_t = 2000)]
    streams: u32,
    /// Tokens of each stream.
    #[arg(long, default_value_t = 500)]
    output_tokens: i32,
    /// How long, a third of it warm-up.
    #[arg(long, default_value = "30s")]
    duration: Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), load::Error> {
    let flags = Flags::parse();
    let duration = flags.duration.as_std();
    let plan = Plan {
        target: Target {
            url: flags.url,
            model: None,
            api_key: None,
            trust: Trust::default(),
        },
        workload: Workload {
            output_tokens: flags.output_tokens,
            ..Workload::default()
        },
        scenarios: vec![ScenarioPlan {
            name: "cost".to_owned(),
            load: Load::Users {
                users: flags.streams,
                spawn_rate: flags.streams.div_ceil(5),
            },
            duration,
            warm_up: duration / 3,
            cool_down: std::time::Duration::ZERO,
        }],
        search: None,
        stop_when: None,
        timeout: load::plan::TIMEOUT,
    };
    let run = load::run(&plan, &mut (), CancellationToken::new()).await?;
    for scenario in &run.scenarios {
        let (figures, health) = (Figures::of(scenario), &scenario.generator);
        if flags.json {
            let all =
                json!({"figures": figures, "generator": health, "problems": problems(health)});
            println!("{all}");
            continue;
        }
        println!("streams          {}", flags.streams);
        println!("tokens/s         {:.0}", figures.output_tokens_per_second);
        println!("answers, errors  {}, {}", figures.succeeded, figures.failed);
        println!(
            "CPU              {:.2} cores over the whole scenario",
            health.cpu_cores
        );
        println!(
            "peak memory      {:.0} MiB",
            health.peak_memory as f64 / 1_048_576.0
        );
        println!(
            "timer lag P99    {:.1} ms",
            health.timer_lag_p99 as f64 / 1e3
        );
        if let Some(gap) = figures.itl {
            println!(
                "ITL P50, P99     {:.1} ms, {:.1} ms",
                gap.p50 as f64 / 1e3,
                gap.p99 as f64 / 1e3
            );
        }
        println!(
            "problems         {}",
            match problems(health).join("; ") {
                none if none.is_empty() => "none".to_owned(),
                some => some,
            }
        );
    }
    Ok(())
}
