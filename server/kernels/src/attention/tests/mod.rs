//! What tests of attention share: cases with their definition in f64, and a cache to run them in.
mod bits;
mod definition;
mod edges;

use super::*;
use crate::vector::testing::{assert_close, random};
use half::f16;

/// A pool of threads that live for one call.
struct Threads(usize);

impl Parallel for Threads {
    fn for_chunks<T: Send>(
        &self,
        items: &mut [T],
        chunk: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let chunks: Vec<_> = items.chunks_mut(chunk).enumerate().collect();
        let queue = std::sync::Mutex::new(chunks);
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| {
                    while let Some((index, chunk)) = { queue.lock().unwrap().pop() } {
                        work(index, chunk);
                    }
                });
            }
        });
    }
}

/// A sequence of `len` positions with all its queries, keys and values.
struct Case {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    window: Option<usize>,
    soft_cap: Option<f32>,
    seed: u64,
}

const CASE: Case = Case {
    heads: 4,
    kv_heads: 2,
    head_dim: 64,
    len: 150,
    window: None,
    soft_cap: None,
    seed: 1,
};

const SCALE: f32 = 0.125;

impl Case {
    fn shape(&self) -> KvShape {
        KvShape {
            layers: 2,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            blocks: 64,
        }
    }

    fn options(&self) -> AttentionOptions {
        AttentionOptions {
            heads: self.heads,
            scale: SCALE,
            window: self.window,
            soft_cap: self.soft_cap,
        }
    }

    fn queries(&self) -> Vec<f32> {
        random(self.len * self.heads * self.head_dim, 3 * self.seed)
    }

    fn keys(&self) -> Vec<f32> {
        random(self.len * self.kv_heads * self.head_dim, 3 * self.seed + 1)
    }

    fn values(&self) -> Vec<f32> {
        random(self.len * self.kv_heads * self.head_dim, 3 * self.seed + 2)
    }

    /// Blocks in no order, other ones for other offsets.
    fn blocks(&self, offset: usize) -> Vec<u32> {
        (0..self.len.div_ceil(BLOCK))
            .map(|index| u32::try_from((offset + index) * 37 % 64).unwrap())
            .collect()
    }

    /// The definition, for the rows at `positions`.
    fn expected(&self, positions: impl Iterator<Item = usize>) -> Vec<Vec<f64>> {
        let inputs = (self.queries(), self.keys(), self.values());
        positions
            .map(|position| self.expected_row(position, &inputs))
            .collect()
    }

    fn expected_row(
        &self,
        position: usize,
        (queries, keys, values): &(Vec<f32>, Vec<f32>, Vec<f32>),
    ) -> Vec<f64> {
        let stored = |value: f32| f64::from(f16::from_f32(value).to_f32());
        let first = self
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window));
        let dim = self.head_dim;
        let mut out = Vec::new();
        for head in 0..self.heads {
            let query = &queries[(position * self.heads + head) * dim..][..dim];
            let kv_head = head / (self.heads / self.kv_heads);
            let at = |position| (position * self.kv_heads + kv_head) * dim;
            let scores = (first..=position).map(|position| {
                let products = query.iter().zip(&keys[at(position)..]);
                let score: f64 = products.map(|(q, k)| f64::from(*q) * stored(*k)).sum();
                let score = score * f64::from(SCALE);
                self.soft_cap.map_or(score, |cap| {
                    f64::from(cap) * (score / f64::from(cap)).tanh()
                })
            });
            let weights: Vec<f64> = scores.map(f64::exp).collect();
            let sum: f64 = weights.iter().sum();
            out.extend((0..dim).map(|dim| {
                let weighed = weights.iter().enumerate();
                let total: f64 = weighed
                    .map(|(index, weight)| weight * stored(values[at(first + index) + dim]))
                    .sum();
                total / sum
            }));
        }
        out
    }
}

/// Runs `cases` side by side, each prompt in chunks of `chunk`, and gives each case's output. The
/// cache is full of other numbers before.
fn run(level: Level, cases: &[&Case], chunk: usize, threads: usize) -> Vec<Vec<f32>> {
    let shape = cases[0].shape();
    let mut cache = KvCache::new(shape).unwrap();
    soil(level, &mut cache);
    let mut partials = Partials::default();
    let mut out = vec![Vec::new(); cases.len()];
    let offsets: Vec<usize> = cases
        .iter()
        .scan(3, |offset, case| {
            let mine = *offset;
            *offset += case.len.div_ceil(BLOCK);
            Some(mine)
        })
        .collect();
    let tables: Vec<Vec<u32>> = cases
        .iter()
        .zip(&offsets)
        .map(|(case, offset)| case.blocks(*offset))
        .collect();
    let inputs: Vec<_> = cases
        .iter()
        .map(|case| [case.queries(), case.keys(), case.values()])
        .collect();
    let longest = cases.iter().map(|case| case.len).max().unwrap();
    for start in (0..longest).step_by(chunk) {
        let span = |case: &Case| start.min(case.len)..(start + chunk).min(case.len);
        let sequences: Vec<Sequence<'_>> = cases
            .iter()
            .zip(&tables)
            .map(|(case, blocks)| Sequence {
                rows: span(case).len(),
                position: span(case).start,
                blocks,
            })
            .collect();
        let batch = Batch::new(&shape, &sequences).unwrap();
        let gather = |operand: usize| -> Vec<f32> {
            let rows = cases.iter().zip(&inputs).flat_map(|(case, inputs)| {
                let all = &inputs[operand];
                let width = all.len() / case.len;
                &all[span(case).start * width..span(case).end * width]
            });
            rows.copied().collect()
        };
        let (queries, keys, values) = (gather(0), gather(1), gather(2));
        let kv_width = shape.kv_heads * shape.head_dim;
        let rows = |values| Rows::new(values, kv_width).unwrap();
        cache
            .write(level, 1, &batch, rows(&keys), rows(&values), &Threads(2))
            .unwrap();
        let width = cases[0].heads * shape.head_dim;
        let mut chunk_out = vec![f32::NAN; batch.rows() * width];
        Attention::new(level, &batch, cases[0].options(), threads)
            .unwrap()
            .run(
                &cache,
                1,
                Rows::new(&queries, width).unwrap(),
                &mut chunk_out,
                &mut partials,
                &Threads(threads),
            )
            .unwrap();
        let mut rest = chunk_out.as_slice();
        for (case, out) in cases.iter().zip(&mut out) {
            let (mine, others) = rest.split_at(span(case).len() * width);
            out.extend_from_slice(mine);
            rest = others;
        }
    }
    out
}

/// Fills the cache's second layer with what a sequence before may have left.
fn soil(level: Level, cache: &mut KvCache) {
    let shape = *cache.shape();
    let blocks: Vec<u32> = (0..u32::try_from(shape.blocks).unwrap()).collect();
    let rows = shape.blocks * BLOCK;
    let sequence = Sequence {
        rows,
        position: 0,
        blocks: &blocks,
    };
    let batch = Batch::new(&shape, &[sequence]).unwrap();
    let width = shape.kv_heads * shape.head_dim;
    let mut old = random(rows * width, 99);
    old.iter_mut()
        .step_by(3)
        .for_each(|value| *value = f32::NAN);
    old.iter_mut()
        .step_by(5)
        .for_each(|value| *value = f32::INFINITY);
    let old = Rows::new(&old, width).unwrap();
    cache.write(level, 1, &batch, old, old, &Serial).unwrap();
}
