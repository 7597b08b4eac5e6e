//! Attention against its plain definition in f64.
use super::*;

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
                assert_defined(level, &case, 7);
            }
        }
    }
}
