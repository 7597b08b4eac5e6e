//! Attention against its plain definition in f64, and bit for bit against itself.
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
        let gather = |all: fn(&Case) -> Vec<f32>| -> Vec<f32> {
            let rows = cases.iter().flat_map(|case| {
                let all = all(case);
                let width = all.len() / case.len;
                all[span(case).start * width..span(case).end * width].to_vec()
            });
            rows.collect()
        };
        let (queries, keys, values) = (
            gather(Case::queries),
            gather(Case::keys),
            gather(Case::values),
        );
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

fn assert_defined(level: Level, case: &Case, chunk: usize) {
    let out = &run(level, &[case], chunk, 1)[0];
    let width = case.heads * case.head_dim;
    let positions = (0..case.len).rev().step_by(7).chain([0]);
    for (position, expected) in positions.clone().zip(case.expected(positions)) {
        assert_close(&out[position * width..][..width], &expected, 1e-5);
    }
}

#[test]
fn every_head_size_and_group_gives_the_definition_at_every_level() {
    for level in Level::available() {
        for head_dim in [8, 64, 72, 80, 96, 128, 256] {
            for group in [1, 3, 4, 8] {
                let case = Case {
                    heads: 2 * group,
                    head_dim,
                    ..CASE
                };
                assert_defined(level, &case, 150);
            }
        }
    }
}

#[test]
fn groups_wider_than_a_tile_give_the_definition() {
    for level in Level::available() {
        let case = Case {
            heads: 71,
            kv_heads: 1,
            head_dim: 64,
            len: 40,
            ..CASE
        };
        assert_defined(level, &case, 40);
    }
}

#[test]
fn every_length_up_to_three_hundred_gives_the_definition() {
    for level in Level::available() {
        let case = Case {
            heads: 3,
            kv_heads: 1,
            len: 300,
            ..CASE
        };
        let out = &run(level, &[&case], 300, 1)[0];
        let width = case.heads * case.head_dim;
        for (row, expected) in out.chunks(width).zip(case.expected(0..case.len)) {
            assert_close(row, &expected, 1e-5);
        }
    }
}

#[test]
fn windows_and_soft_caps_give_the_definition() {
    for level in Level::available() {
        for window in [1, 5, 32, 100, 128, 129, 400] {
            for soft_cap in [None, Some(2.0)] {
                let case = Case {
                    len: 300,
                    window: Some(window),
                    soft_cap,
                    ..CASE
                };
                assert_defined(level, &case, 300);
                assert_defined(level, &case, 1);
            }
        }
    }
}

#[test]
fn chunks_of_the_prompt_change_no_bit() {
    for level in Level::available() {
        for (head_dim, window) in [(64, None), (80, Some(70)), (128, None)] {
            let case = Case {
                heads: 6,
                head_dim,
                window,
                len: 290,
                ..CASE
            };
            let whole = run(level, &[&case], case.len, 1);
            for chunk in [1, 7, 32, 100, 128] {
                assert_eq!(run(level, &[&case], chunk, 1), whole, "chunks of {chunk}");
            }
        }
    }
}

#[test]
fn batch_mates_change_no_bit() {
    for level in Level::available() {
        let cases =
            [(290, 1), (31, 2), (129, 3), (64, 4)].map(|(len, seed)| Case { len, seed, ..CASE });
        let together = run(level, &cases.each_ref(), 50, 2);
        for (case, together) in cases.iter().zip(together) {
            assert_eq!(run(level, &[case], case.len, 1)[0], together);
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for level in Level::available() {
        for window in [None, Some(200)] {
            let case = Case {
                heads: 9,
                kv_heads: 3,
                len: 700,
                window,
                ..CASE
            };
            let one = run(level, &[&case], 233, 1);
            for threads in [2, 3, 16] {
                assert_eq!(run(level, &[&case], 233, threads), one);
            }
        }
    }
}

#[test]
fn a_long_context_is_split_and_short_ones_are_not() {
    let units = |len: usize, streams, threads| {
        let blocks: Vec<u32> = vec![0; len.div_ceil(BLOCK)];
        let sequence = Sequence {
            rows: 1,
            position: len - 1,
            blocks: &blocks,
        };
        let batch = Batch::new(&CASE.shape(), &vec![sequence; streams]).unwrap();
        Attention::new(Level::detect(), &batch, CASE.options(), threads)
            .unwrap()
            .units()
    };
    assert_eq!(units(4096, 1, 1), 1);
    assert_eq!(units(4096, 1, 2), 32);
    assert_eq!(units(100, 1, 2), 2);
    assert_eq!(units(4096, 16, 2), 16);
}

#[test]
fn a_sequence_reads_what_another_wrote_into_a_shared_block() {
    let level = Level::detect();
    let shape = CASE.shape();
    let mut cache = KvCache::new(shape).unwrap();
    let (keys, values) = (CASE.keys(), CASE.values());
    let (kv_width, width) = (2 * 64, 4 * 64);
    let write = |cache: &mut KvCache, blocks: &[u32], from: usize, to: usize| {
        let sequence = Sequence {
            rows: to - from,
            position: from,
            blocks,
        };
        let batch = Batch::new(&shape, &[sequence]).unwrap();
        let rows = |all: &[f32]| -> Vec<f32> { all[from * kv_width..to * kv_width].to_vec() };
        let (keys, values) = (rows(&keys), rows(&values));
        let keys = Rows::new(&keys, kv_width).unwrap();
        let values = Rows::new(&values, kv_width).unwrap();
        cache
            .write(level, 0, &batch, keys, values, &Serial)
            .unwrap();
    };
    write(&mut cache, &[5, 6], 0, 40);
    write(&mut cache, &[5, 9], 32, 40);
    let attend = |blocks: &[u32]| {
        let sequence = Sequence {
            rows: 1,
            position: 39,
            blocks,
        };
        let batch = Batch::new(&shape, &[sequence]).unwrap();
        let mut out = vec![0.0; width];
        let queries = CASE.queries();
        let query = Rows::new(&queries[39 * width..40 * width], width).unwrap();
        Attention::new(level, &batch, CASE.options(), 1)
            .unwrap()
            .run(
                &cache,
                0,
                query,
                &mut out,
                &mut Partials::default(),
                &Serial,
            )
            .unwrap();
        out
    };
    assert_eq!(attend(&[5, 6]), attend(&[5, 9]));
    assert_close(&attend(&[5, 9]), &CASE.expected([39].into_iter())[0], 1e-5);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let shape = CASE.shape();
    let new = |change: fn(&mut KvShape)| {
        let mut shape = shape;
        change(&mut shape);
        KvCache::new(shape)
    };
    assert!(matches!(
        new(|s| s.head_dim = 12),
        Err(AttentionError::HeadDim(12))
    ));
    assert!(matches!(
        new(|s| s.head_dim = 264),
        Err(AttentionError::HeadDim(264))
    ));
    assert!(matches!(
        new(|s| s.layers = 0),
        Err(AttentionError::Shape { .. })
    ));
    assert!(matches!(
        new(|s| s.blocks = usize::MAX / 2),
        Err(AttentionError::Shape { .. })
    ));
    assert!(matches!(
        new(|s| s.blocks = 1 << 36),
        Err(AttentionError::Memory { .. })
    ));

    let level = Level::detect();
    let mut cache = new(|_| {}).unwrap();
    let sequence = Sequence {
        rows: 2,
        position: 0,
        blocks: &[1],
    };
    let batch = Batch::new(&shape, &[sequence]).unwrap();
    let (kv, queries) = (vec![0.0; 2 * 128], vec![0.0; 2 * 256]);
    let rows = |values, width| Rows::new(values, width).unwrap();
    let write = |cache: &mut KvCache, layer, keys| {
        cache.write(level, layer, &batch, keys, rows(&kv, 128), &Serial)
    };
    assert!(write(&mut cache, 1, rows(&kv, 128)).is_ok());
    assert!(write(&mut cache, 2, rows(&kv, 128)).is_err());
    assert!(write(&mut cache, 0, rows(&kv, 64)).is_err());
    assert!(write(&mut cache, 0, rows(&kv[..128], 128)).is_err());
    let mut small = new(|s| s.blocks = 2).unwrap();
    assert!(write(&mut small, 0, rows(&kv, 128)).is_err());

    let attend = |layer, heads, queries, len| {
        let options = AttentionOptions {
            heads,
            ..CASE.options()
        };
        let mut out = vec![0.0; len];
        let mut partials = Partials::default();
        Attention::new(level, &batch, options, 2)?.run(
            &cache,
            layer,
            queries,
            &mut out,
            &mut partials,
            &Serial,
        )
    };
    assert!(attend(0, 4, rows(&queries, 256), 512).is_ok());
    assert!(attend(2, 4, rows(&queries, 256), 512).is_err());
    assert!(attend(0, 3, rows(&queries, 256), 512).is_err());
    assert!(attend(0, 0, rows(&queries, 256), 512).is_err());
    assert!(attend(0, 4, rows(&queries, 128), 512).is_err());
    assert!(attend(0, 4, rows(&queries[..256], 256), 512).is_err());
    assert!(attend(0, 4, rows(&queries, 256), 511).is_err());
    let options = AttentionOptions {
        window: Some(0),
        ..CASE.options()
    };
    assert!(Attention::new(level, &batch, options, 1).is_err());
}

#[test]
fn a_token_takes_two_bytes_for_each_number() {
    assert_eq!(KvCache::bytes_per_token(32, 8, 128), 32 * 8 * 128 * 2 * 2);
}
