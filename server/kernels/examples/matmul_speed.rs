//! How fast products are on this machine, beside how fast it reads memory.
//!
//! `cargo run --release -p candlepower-kernels --example matmul_speed [threads] [level]
//! [formats]`, such as `2 avx2 Q8_0,Q4_K`. One row shows decode, which waits for memory: its
//! share of the bandwidth is what counts. Many rows show prefill, in multiplications. All figures
//! are medians over single products, in rounds that measure everything in turn, since a busy
//! machine drifts. Beside busy neighbours, long products look worse than they are.
mod probe;

use candlepower_kernels::{
    Format, Level, Matrix, Pool,
    matrix::{Arrangement, Input, Part, Workspace, Write, multiply},
};
use probe::Probe;
use std::{env, error::Error, hint::black_box, time::Instant};

/// Columns and rows: SmolLM2's feed-forward layer, and a 1B model's layers.
const SHAPES: [(usize, usize); 3] = [(576, 1536), (2048, 2048), (2048, 8192)];
/// Rows of input: one stream, eight streams, a prompt.
const INPUTS: [usize; 3] = [1, 8, 64];
const ROUNDS: usize = 9;
/// Matrices of a shape are read in turn until at least so many bytes have been, so that none
/// comes from a cache.
const COLD_BYTES: usize = 192 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let threads = arguments.next().map_or(Ok(2), |threads| threads.parse())?;
    let level = match arguments.next() {
        Some(name) => Level::available()
            .find(|level| level.name().eq_ignore_ascii_case(&name))
            .ok_or("this machine has no such level")?,
        None => Level::detect(),
    };
    let wanted = arguments.next();
    let formats = Format::ALL.into_iter().filter(|format| {
        let name = format.to_string();
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.split(',').any(|part| part == name))
    });
    let pool = Pool::new(threads)?;
    let probe = Probe::new()?;
    println!("{threads} threads, {}", level.name());
    println!("GB/s of weights (share of the bandwidth) and GMAC/s, by rows of input");
    for format in formats {
        for (columns, rows) in SHAPES {
            if columns % format.block_columns() == 0 {
                measure(&pool, level, &probe, format, columns, rows)?;
            }
        }
    }
    Ok(())
}

/// Measures one format and shape and prints a line.
fn measure(
    pool: &Pool,
    level: Level,
    probe: &Probe,
    format: Format,
    columns: usize,
    rows: usize,
) -> Result<(), Box<dyn Error>> {
    let bytes = weights(format, rows * columns);
    let parts = [Part {
        bytes: &bytes,
        format,
        rows,
    }];
    let copies = COLD_BYTES.div_ceil(bytes.len()).min(64);
    let matrices = (0..copies)
        .map(|_| Matrix::pack(pool, &parts, columns, Arrangement::Stacked))
        .collect::<Result<Vec<_>, _>>()?;
    let workspace = &mut Workspace::new(level);
    let mut seconds = INPUTS.map(|_| Vec::new());
    let mut bandwidths = Vec::new();
    for _ in 0..ROUNDS {
        probe.bandwidths(pool, &mut bandwidths);
        for (inputs, seconds) in INPUTS.into_iter().zip(&mut seconds) {
            let input: Vec<f32> = (0..inputs * columns).map(|i| (i as f32).sin()).collect();
            let mut output = vec![0.0; inputs * rows];
            // Eight rows at most are taken for streams, more for a prompt.
            let prompts_from = if inputs < 16 { inputs } else { 0 };
            let count = if inputs < 16 {
                matrices.len()
            } else {
                matrices.len().min(8)
            };
            for matrix in &matrices[..count] {
                let start = Instant::now();
                let rows = Input::new(&input).with_prompts_from(prompts_from);
                multiply(pool, matrix, rows, &mut output, Write::Store, workspace)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
            black_box(&output);
        }
    }
    let bandwidth = median(&mut bandwidths);
    print!(
        "{:<5} {columns}x{rows} memory {bandwidth:5.1} GB/s |",
        format.to_string()
    );
    for (inputs, seconds) in INPUTS.into_iter().zip(&mut seconds) {
        let seconds = median(seconds);
        let read = matrices[0].bytes() as f64 / seconds / 1e9;
        let products = (inputs * rows * columns) as f64 / seconds / 1e9;
        let share = 100.0 * read / bandwidth;
        print!(" {inputs:>2}: {read:5.1} ({share:3.0}%) {products:5.0} |");
    }
    println!();
    Ok(())
}

/// Stored weights; speed does not depend on their values, if none is denormal.
fn weights(format: Format, count: usize) -> Vec<u8> {
    let bytes = count / format.block_columns() * format.block_bytes();
    match format {
        Format::F32 => 1.5_f32.to_le_bytes().repeat(bytes / 4),
        _ => vec![0x2C; bytes],
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
