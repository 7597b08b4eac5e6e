//! A row's bits depend on that row alone, and on whether it is a prompt's.
#![allow(clippy::float_cmp)] // Equal means equal here.
use super::*;

/// Two interleaved parts of so many rows each.
fn pair(random: &mut Random, format: Format, rows: usize, columns: usize) -> Matrix {
    let bytes = [(); 2].map(|()| stored(random, format, rows, columns));
    let parts = bytes.each_ref().map(|bytes| part(bytes, format, rows));
    let pool = Pool::new(1).unwrap();
    Matrix::pack(&pool, &parts, columns, Arrangement::Interleaved).unwrap()
}

/// Both products of a pair of interleaved parts, gated and plain.
fn both_products(
    pool: &Pool,
    workspace: &mut Workspace,
    matrix: &Matrix,
    input: &[f32],
    prompts_from: usize,
) -> (Vec<f32>, Vec<f32>) {
    let rows = input.len() / matrix.columns();
    let mut plain = vec![f32::NAN; rows * matrix.rows()];
    let mut gated = vec![f32::NAN; rows * matrix.rows() / 2];
    let input = Input::new(input).with_prompts_from(prompts_from);
    multiply(pool, matrix, input, &mut plain, Write::Store, workspace).unwrap();
    multiply_gated(pool, matrix, input, Activation::Silu, &mut gated, workspace).unwrap();
    (plain, gated)
}

/// Rows, and how many of them are of answers.
const WITH_PROMPTS: [(usize, usize); 7] = [
    (3, 0),
    (16, 0),
    (19, 1),
    (33, 0),
    (MOST, 5),
    (MOST, 0),
    (MOST, MOST),
];
const MOST: usize = 53;

#[test]
fn a_rows_bits_depend_on_no_other_row_and_no_number_of_threads() {
    let random = &mut Random(14);
    let pools = [1, 2, 3].map(|threads| Pool::new(threads).unwrap());
    for level in Level::available() {
        let workspace = &mut Workspace::new(level);
        for format in Format::ALL {
            let columns = if format.block_columns() == 32 {
                96
            } else {
                256
            };
            // Enough tiles for each of three threads to read several at once.
            let matrix = pair(random, format, 16 * 16 + 3, columns);
            let input = random.floats(MOST * columns);
            // Of each row as an answer's, and as a prompt's.
            let alone = [1, 0].map(|prompts_from| {
                let mut alone = (Vec::new(), Vec::new());
                for row in input.chunks(columns) {
                    let (plain, gated) =
                        both_products(&pools[0], workspace, &matrix, row, prompts_from);
                    alone.0.extend(plain);
                    alone.1.extend(gated);
                }
                alone
            });
            for (rows, answers) in (1..=19).map(|rows| (rows, rows)).chain(WITH_PROMPTS) {
                for pool in &pools {
                    let input = &input[..rows * columns];
                    let (plain, gated) = both_products(pool, workspace, &matrix, input, answers);
                    let same = |all: &[f32], alone: [&[f32]; 2]| {
                        let (answered, asked) = all.split_at(answers * (all.len() / rows));
                        let pairs = answered.iter().zip(alone[0]);
                        let asked = asked.iter().zip(&alone[1][answered.len()..]);
                        pairs.chain(asked).all(|(a, b)| a.to_bits() == b.to_bits())
                    };
                    let told = format!("{level:?} {format} {rows} {answers} {pool:?}");
                    assert!(same(&plain, [&alone[0].0, &alone[1].0]), "{told}");
                    assert!(same(&gated, [&alone[0].1, &alone[1].1]), "{told}");
                }
            }
        }
    }
}

/// More rows than go through the tiles at once, whatever is left of them in the end.
#[test]
fn many_rows_have_the_bits_of_each_alone() {
    let random = &mut Random(19);
    let pool = Pool::new(2).unwrap();
    for level in Level::available() {
        let workspace = &mut Workspace::new(level);
        for format in Format::ALL {
            let columns = format.block_columns().max(32);
            let matrix = pair(random, format, 16 * 5 + 3, columns);
            for rows in [256 + 1, 256 + 3, 256 + 9, 2 * 256 + 8] {
                let input = random.floats(rows * columns);
                for prompts_from in [rows, 0] {
                    let all = both_products(&pool, workspace, &matrix, &input, prompts_from);
                    for row in [0, 255, 256, rows - 1] {
                        let input = &input[row * columns..][..columns];
                        let alone =
                            both_products(&pool, workspace, &matrix, input, prompts_from.min(1));
                        let told = format!("{level:?} {format} {rows} {prompts_from} {row}");
                        let width = alone.0.len();
                        assert_eq!(all.0[row * width..][..width], alone.0, "{told}");
                        let width = alone.1.len();
                        assert_eq!(all.1[row * width..][..width], alone.1, "{told}");
                    }
                }
            }
        }
    }
}
