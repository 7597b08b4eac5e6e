//! How fast attention is: milliseconds of one layer and step, and what it reads of the KV cache
//! against the memory's bandwidth. `attention_speed [threads]`, two by default.
use candlepower_kernels::{
    Attention, AttentionOptions, Batch, KvCache, KvShape, Level, Partials, Pool, Rows, Sequence,
    Serial,
};
use std::{error::Error, hint::black_box, time::Instant};

/// Layers of the cache; each measurement goes round them, so that none is left in a CPU cache.
const LAYERS: usize = 24;

/// Measurements of which the median is told, fewer where they take long.
const REPEATS: usize = 20 * LAYERS;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = match std::env::args().nth(1) {
        Some(threads) => threads.parse()?,
        None => 2,
    };
    measure(&Pool::new(threads)?, threads)
}

fn measure(pool: &Pool, threads: usize) -> Result<(), Box<dyn Error>> {
    for level in Level::available().take(2) {
        println!("{}, {threads} threads, ms a layer and step", level.name());
        println!("bandwidth: {:.1} GB/s", bandwidth(pool, threads));
        for (heads, kv_heads, head_dim) in [(32, 8, 128), (9, 3, 64)] {
            println!("{heads} heads, {kv_heads} KV heads, head_dim {head_dim}");
            let options = AttentionOptions {
                heads,
                scale: 0.1,
                window: None,
                soft_cap: None,
            };
            let bench = Bench::new(level, options, kv_heads, head_dim, threads)?;
            for context in [64, 512, 2048, 4096, 8192] {
                bench.decode(pool, 1, context)?;
            }
            for context in [64, 512, 1024] {
                bench.decode(pool, 8, context)?;
            }
            for before in [0, 3584] {
                bench.prefill(pool, before)?;
            }
        }
        println!("bandwidth: {:.1} GB/s", bandwidth(pool, threads));
    }
    Ok(())
}

struct Bench {
    level: Level,
    options: AttentionOptions,
    shape: KvShape,
    cache: KvCache,
    threads: usize,
}

impl Bench {
    fn new(
        level: Level,
        options: AttentionOptions,
        kv_heads: usize,
        head_dim: usize,
        threads: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let shape = KvShape {
            layers: LAYERS,
            kv_heads,
            head_dim,
            blocks: 256,
        };
        let mut cache = KvCache::new(shape)?;
        let blocks: Vec<u32> = (0..256).collect();
        let sequence = Sequence {
            rows: 8192,
            position: 0,
            blocks: &blocks,
        };
        let batch = Batch::new(&shape, &[sequence])?;
        let width = kv_heads * head_dim;
        let rows = numbers(8192 * width);
        let rows = Rows::new(&rows, width)?;
        for layer in 0..LAYERS {
            cache.write(level, layer, &batch, rows, rows, &Serial)?;
        }
        Ok(Self {
            level,
            options,
            shape,
            cache,
            threads,
        })
    }

    fn decode(&self, pool: &Pool, streams: usize, context: usize) -> Result<(), Box<dyn Error>> {
        let blocks = (0..streams).map(|stream| self.blocks(stream, context));
        let blocks: Vec<Vec<u32>> = blocks.collect();
        let sequences: Vec<_> = blocks
            .iter()
            .map(|blocks| Sequence {
                rows: 1,
                position: context - 1,
                blocks,
            })
            .collect();
        let (seconds, best) = self.median(pool, &sequences)?;
        let token = KvCache::bytes_per_token(1, self.shape.kv_heads, self.shape.head_dim);
        let read = (streams * context * token) as f64;
        println!(
            "  decode  {streams} x {context:5}: {:8.4} ms, {:5.1} GB/s of KV (best {:.1})",
            seconds * 1e3,
            read / seconds / 1e9,
            read / best / 1e9
        );
        Ok(())
    }

    fn prefill(&self, pool: &Pool, before: usize) -> Result<(), Box<dyn Error>> {
        let rows = 512;
        let blocks = self.blocks(0, before + rows);
        let sequence = Sequence {
            rows,
            position: before,
            blocks: &blocks,
        };
        let (seconds, best) = self.median(pool, &[sequence])?;
        let pairs = (rows * before + rows * (rows + 1) / 2) * self.options.heads;
        let operations = (4 * pairs * self.shape.head_dim) as f64;
        println!(
            "  prefill {rows} after {before:4}: {:8.4} ms, {:5.1} GFLOP/s (best {:.1})",
            seconds * 1e3,
            operations / seconds / 1e9,
            operations / best / 1e9
        );
        Ok(())
    }

    /// Blocks of a stream: no two streams share one, and they are in no order.
    #[allow(clippy::cast_possible_truncation)]
    fn blocks(&self, stream: usize, context: usize) -> Vec<u32> {
        let count = context.div_ceil(KvCache::BLOCK);
        let indices = (0..count).map(|index| (stream * count + index) * 61 % self.shape.blocks);
        indices.map(|index| index as u32).collect()
    }

    /// Seconds of a layer: the median, and the best, which on a busy machine says more.
    fn median(
        &self,
        pool: &Pool,
        sequences: &[Sequence<'_>],
    ) -> Result<(f64, f64), Box<dyn Error>> {
        let batch = Batch::new(&self.shape, sequences)?;
        let width = self.options.heads * self.shape.head_dim;
        let queries = numbers(batch.rows() * width);
        let queries = Rows::new(&queries, width)?;
        let mut out = vec![0.0; batch.rows() * width];
        let mut partials = Partials::default();
        let attention = Attention::new(self.level, &batch, self.options, self.threads)?;
        let mut times = Vec::new();
        let begun = Instant::now();
        // Each layer is timed alone: on a busy machine a long measurement is always interrupted.
        while times.len() < 5 || times.len() < REPEATS && begun.elapsed().as_secs() < 2 {
            let start = Instant::now();
            let layer = times.len() % LAYERS;
            attention.run(&self.cache, layer, queries, &mut out, &mut partials, pool)?;
            times.push(start.elapsed().as_secs_f64());
            black_box(&out);
        }
        times.sort_by(f64::total_cmp);
        Ok((times[times.len() / 2], times[0]))
    }
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| ((index * 7919) % 1013) as f32 / 1013.0 - 0.5)
        .collect()
}

/// GB/s that all threads read together, each from four places at once.
fn bandwidth(pool: &Pool, threads: usize) -> f64 {
    let values = vec![1_u64; 32 << 20];
    let mut parts: Vec<(&[u64], u64)> = values
        .chunks(values.len() / threads)
        .map(|part| (part, 0))
        .collect();
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        pool.for_chunks(&mut parts, 1, |_, parts| {
            for (part, sum) in parts {
                let quarter = part.len() / 4;
                let mut sums = [[0_u64; 8]; 4];
                for at in (0..quarter - 8).step_by(8) {
                    for (stream, sums) in sums.iter_mut().enumerate() {
                        let from = &part[stream * quarter + at..][..8];
                        for (sum, value) in sums.iter_mut().zip(from) {
                            *sum = sum.wrapping_add(*value);
                        }
                    }
                }
                *sum = sums.into_iter().flatten().sum();
            }
        });
        times.push(start.elapsed().as_secs_f64());
        black_box(&parts);
    }
    times.sort_by(f64::total_cmp);
    (values.len() * size_of::<u64>()) as f64 / times[3] / 1e9
}
