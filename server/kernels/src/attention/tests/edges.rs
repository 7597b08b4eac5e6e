//! Plans, shared blocks, numbers beyond f16, and sizes that do not fit.
use super::*;

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

#[test]
fn a_number_that_is_none_spoils_only_rows_that_see_it() {
    for level in Level::available() {
        let case = Case { len: 40, ..CASE };
        let (kv_width, width) = (2 * 64, 4 * 64);
        let attend = |last: f32| {
            let mut cache = KvCache::new(case.shape()).unwrap();
            let blocks = case.blocks(0);
            let sequence = Sequence {
                rows: case.len,
                position: 0,
                blocks: &blocks,
            };
            let batch = Batch::new(&case.shape(), &[sequence]).unwrap();
            let (mut keys, mut values) = (case.keys(), case.values());
            keys[39 * kv_width..].fill(last);
            values[39 * kv_width..].fill(last);
            let rows = |values| Rows::new(values, kv_width).unwrap();
            cache
                .write(level, 0, &batch, rows(&keys), rows(&values), &Serial)
                .unwrap();
            let queries = case.queries();
            let mut out = vec![0.0; queries.len()];
            let queries = Rows::new(&queries, width).unwrap();
            Attention::new(level, &batch, case.options(), 1)
                .unwrap()
                .run(
                    &cache,
                    0,
                    queries,
                    &mut out,
                    &mut Partials::default(),
                    &Serial,
                )
                .unwrap();
            out.truncate(39 * width);
            out
        };
        for none in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            assert_eq!(attend(none), attend(1.0), "{none}");
        }
    }
}
