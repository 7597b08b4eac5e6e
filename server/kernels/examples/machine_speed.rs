//! What the machine's memory and multipliers can do, which no engine can go beyond.
//!
//! `cargo run --release -p candlepower-kernels --example machine_speed [THREADS]`
//!
//! Writes a line of JSON for each line that it reads, so that another program can measure something
//! else in between: `readBandwidth` in GB/s, and `products`, the int8 multiplications with addition
//! in a second and 10⁹, `null` where nobody has written the probe for the processor.
mod probe;

use candlepower_kernels::{Int8Multiplier, Pool};
use probe::Probe;
use std::{
    env,
    error::Error,
    io::{self, BufRead},
    time::Instant,
};

const ROUNDS: usize = 400_000;
const REPETITIONS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let pool = Pool::new(threads)?;
    let probe = Probe::new()?;
    for line in io::stdin().lock().lines() {
        line?;
        let mut bandwidths = Vec::new();
        probe.bandwidths(&pool, &mut bandwidths);
        let bandwidth = median(&mut bandwidths);
        let products = match products(&pool) {
            Some(products) => format!("{products:.1}"),
            None => "null".to_owned(),
        };
        println!(r#"{{"readBandwidth": {bandwidth:.2}, "products": {products}}}"#);
    }
    Ok(())
}

/// int8 products that all threads together add up in a second and 10⁹.
fn products(pool: &Pool) -> Option<f64> {
    let multiplier = Int8Multiplier::detect()?;
    let products = multiplier.products(ROUNDS) * pool.threads() as f64;
    let mut rates: Vec<f64> = (0..REPETITIONS)
        .map(|_| {
            let start = Instant::now();
            pool.run(|_| multiplier.run(ROUNDS));
            products / start.elapsed().as_secs_f64() / 1e9
        })
        .collect();
    Some(median(&mut rates))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
