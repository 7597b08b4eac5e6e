//! Products are right, also those of prompts' rows, which may be multiplied in another way.
#![allow(clippy::float_cmp)] // Equal means equal here.
use super::*;

/// The exact product of one row of input, and the sum of its terms' magnitudes.
fn exact(weights: &[f32], input: &[f32]) -> Vec<(f64, f64)> {
    weights
        .chunks(input.len())
        .map(|weights| {
            let terms = weights
                .iter()
                .zip(input)
                .map(|(weight, input)| f64::from(*weight) * f64::from(*input));
            terms.fold((0.0, 0.0), |(sum, size), term| {
                (sum + term, size + term.abs())
            })
        })
        .collect()
}

fn product(level: Level, matrix: &Matrix, input: &[f32]) -> Vec<f32> {
    product_of(level, matrix, input, input.len())
}

/// Whose rows from `prompts_from` on are of prompts.
fn product_of(level: Level, matrix: &Matrix, input: &[f32], prompts_from: usize) -> Vec<f32> {
    let pool = Pool::new(2).unwrap();
    let workspace = &mut Workspace::new(level);
    let mut output = vec![f32::NAN; input.len() / matrix.columns() * matrix.rows()];
    let input = Input::new(input).with_prompts_from(prompts_from);
    multiply(&pool, matrix, input, &mut output, Write::Store, workspace).unwrap();
    output
}

/// Integers up to 127, with a 127 in each block: the input's scale is 1, and quantising it loses
/// nothing.
fn whole_numbers(random: &mut Random, count: usize) -> Vec<f32> {
    let mut numbers: Vec<f32> = random
        .floats(count)
        .iter()
        .map(|value| (value * 127.0).round())
        .collect();
    for block in numbers.chunks_mut(32) {
        block[0] = 127.0;
    }
    numbers
}

#[test]
fn with_whole_numbers_only_float_rounding_is_lost() {
    let random = &mut Random(10);
    for level in Level::available() {
        for format in Format::ALL {
            for &(rows, columns) in shapes(format) {
                let bytes = stored(random, format, rows, columns);
                let input = whole_numbers(random, columns);
                let output = product(level, &pack(&bytes, format, rows, columns), &input);
                for (actual, (sum, size)) in
                    output.iter().zip(exact(&values(format, &bytes), &input))
                {
                    // A k-quant's and a Q4_1's minimum cancels part of what its scale adds.
                    let error = (f64::from(*actual) - sum).abs();
                    assert!(error <= 5e-6 * size, "{level:?} {format} {error} of {size}");
                }
            }
        }
    }
}

#[test]
fn any_input_is_off_by_its_quantisation_at_most() {
    let random = &mut Random(11);
    for level in Level::available() {
        for format in Format::ALL {
            for &(rows, columns) in shapes(format) {
                let bytes = stored(random, format, rows, columns);
                let weights = values(format, &bytes);
                let input = random.floats(columns);
                let output = product(level, &pack(&bytes, format, rows, columns), &input);
                // Half a step for each value of the input.
                let steps: Vec<f32> = input
                    .chunks(32)
                    .flat_map(|block| {
                        let largest = block.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
                        vec![largest / 254.0; block.len()]
                    })
                    .collect();
                let slack = exact(&weights, &steps);
                for ((actual, (sum, size)), (_, slack)) in
                    output.iter().zip(exact(&weights, &input)).zip(slack)
                {
                    let slack = if format.is_quantised() { slack } else { 0.0 };
                    let error = (f64::from(*actual) - sum).abs();
                    assert!(error <= slack + 5e-6 * size, "{level:?} {format} {error}");
                }
            }
        }
    }
}

#[test]
fn all_levels_agree_but_for_float_rounding() {
    let random = &mut Random(12);
    let portable = Level::PORTABLE;
    for format in Format::ALL {
        for &(rows, columns) in shapes(format) {
            let bytes = stored(random, format, rows, columns);
            let matrix = pack(&bytes, format, rows, columns);
            let input = random.floats(5 * columns);
            let expected = product(portable, &matrix, &input);
            let weights = values(format, &bytes);
            let sizes = input.chunks(columns).flat_map(|row| exact(&weights, row));
            let sizes: Vec<_> = sizes.map(|(_, size)| size).collect();
            for level in Level::available() {
                let output = product(level, &matrix, &input);
                for ((actual, expected), size) in output.iter().zip(&expected).zip(&sizes) {
                    let error = f64::from((actual - expected).abs());
                    assert!(error <= 2e-6 * size, "{level:?} {format} {error} of {size}");
                }
            }
        }
    }
}

/// All quants of the stored blocks at one end, scales at the largest a product can bear.
fn extreme(format: Format, byte: u8, scale: f32, rows: usize, columns: usize) -> Vec<u8> {
    let mut bytes = stored(&mut Random(0), format, rows, columns);
    for block in bytes.chunks_mut(format.block_bytes()) {
        match format {
            Format::F32 => block.copy_from_slice(&(scale * 1e3).to_le_bytes()),
            Format::F16 => block.copy_from_slice(&f16::from_f32(scale).to_le_bytes()),
            Format::BF16 => block.copy_from_slice(&bf16::from_f32(scale).to_le_bytes()),
            _ => {
                block.fill(byte);
                let scale = f16::from_f32(scale).to_le_bytes();
                match format {
                    Format::Q6_K => block[208..].copy_from_slice(&scale),
                    Format::Q8_0 | Format::Q4_0 | Format::Q5_0 => {
                        block[..2].copy_from_slice(&scale);
                    }
                    _ => block[..4].copy_from_slice(&[scale, scale].concat()),
                }
            }
        }
    }
    bytes
}

#[test]
fn extreme_weights_and_inputs_overflow_nowhere() {
    let columns = 256;
    for level in Level::available() {
        for format in Format::ALL {
            for byte in [0x00, 0x7F, 0x80, 0x81, 0xFF] {
                for (scale, magnitude) in [(65_504.0, 1e20_f32), (-65_504.0, -1e20), (6e-8, 1e-30)]
                {
                    let bytes = extreme(format, byte, scale, 16, columns);
                    let matrix = pack(&bytes, format, 16, columns);
                    // All at one end, and in turns, which no format's partial sums may survive.
                    let turns: Vec<f32> = (0..columns)
                        .map(|column| {
                            if column % 3 == 0 {
                                -magnitude
                            } else {
                                magnitude
                            }
                        })
                        .collect();
                    for input in [vec![magnitude; columns], turns] {
                        let output = product(level, &matrix, &input);
                        let exact = exact(&values(format, &bytes), &input);
                        for (actual, (sum, size)) in output.iter().zip(exact) {
                            let error = (f64::from(*actual) - sum).abs();
                            // A denormal result has no relative precision.
                            let allowed = 5e-6 * size + 1e-42;
                            assert!(error <= allowed, "{level:?} {format} {byte:x} {error}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn zeros_give_zeros_and_what_is_not_finite_shows() {
    let random = &mut Random(13);
    for level in Level::available() {
        for format in Format::ALL {
            let bytes = stored(random, format, 20, 256);
            let matrix = pack(&bytes, format, 20, 256);
            assert_eq!(product(level, &matrix, &[0.0; 256]), [0.0; 20]);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut input = vec![1.0; 256];
                input[200] = bad;
                let output = product(level, &matrix, &input);
                let good = output.iter().filter(|value| value.is_finite()).count();
                assert_eq!(good, 0, "{level:?} {format} {bad}");
            }
        }
    }
}

#[test]
fn rows_of_prompts_are_off_by_what_bf16_loses_at_most() {
    let random = &mut Random(17);
    for level in Level::available() {
        for format in Format::ALL {
            for &(rows, columns) in shapes(format) {
                let bytes = stored(random, format, rows, columns);
                let (weights, matrix) =
                    (values(format, &bytes), pack(&bytes, format, rows, columns));
                let input: Vec<f32> = (0..20)
                    .flat_map(|_| whole_numbers(random, columns))
                    .collect();
                let output = product_of(level, &matrix, &input, 0);
                let exact = input.chunks(columns).flat_map(|row| exact(&weights, row));
                for (actual, (sum, size)) in output.iter().zip(exact) {
                    // Whole numbers up to 127 are in bf16 what they are; a weight has eight bits.
                    let allowed = if level.multiplies_prompts_apart() {
                        size / 256.0
                    } else {
                        5e-6 * size
                    };
                    let error = (f64::from(*actual) - sum).abs();
                    assert!(error <= allowed, "{level:?} {format} {error} of {size}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_shows_in_prompts() {
    let random = &mut Random(18);
    for level in Level::available() {
        for format in Format::ALL {
            let matrix = pack(&stored(random, format, 20, 256), format, 20, 256);
            let mut input = vec![0.0; 2 * 256];
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                input[200] = bad;
                let output = product_of(level, &matrix, &input, 0);
                assert!(
                    output[..20].iter().all(|value| !value.is_finite()),
                    "{level:?} {format}"
                );
                assert_eq!(output[20..], [0.0; 20], "{level:?} {format}");
            }
        }
    }
}

#[test]
fn a_gated_product_is_the_activation_of_one_part_times_the_other() {
    let random = &mut Random(15);
    let pool = Pool::new(2).unwrap();
    for level in Level::available() {
        let workspace = &mut Workspace::new(level);
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let bytes = [(); 2].map(|()| stored(random, Format::Q8_0, 35, 64));
            let parts = bytes.each_ref().map(|bytes| part(bytes, Format::Q8_0, 35));
            let matrix = Matrix::pack(&pool, &parts, 64, Arrangement::Interleaved).unwrap();
            let input = random.floats(3 * 64);
            let mut gated = vec![f32::NAN; 3 * 35];
            let rows = Input::new(&input);
            multiply_gated(&pool, &matrix, rows, activation, &mut gated, workspace).unwrap();
            let plain = product(level, &matrix, &input);
            for (gated, plain) in gated.chunks(35).zip(plain.chunks(70)) {
                for (index, actual) in gated.iter().enumerate() {
                    let mut gate = [[plain[index]; LANES]];
                    activation::gate(activation, &mut gate, &[[plain[35 + index]; LANES]]);
                    assert_eq!(*actual, gate[0][0], "{level:?} {activation:?}");
                }
            }
        }
    }
}

#[test]
fn adding_adds_what_storing_stores() {
    let random = &mut Random(16);
    let pool = Pool::new(2).unwrap();
    for level in Level::available() {
        let bytes = stored(random, Format::Q4_0, 37, 64);
        let matrix = pack(&bytes, Format::Q4_0, 37, 64);
        let input = random.floats(5 * 64);
        let before = random.floats(5 * 37);
        let mut sum = before.clone();
        let workspace = &mut Workspace::new(level);
        let rows = Input::new(&input);
        multiply(&pool, &matrix, rows, &mut sum, Write::Add, workspace).unwrap();
        let stored = product(level, &matrix, &input);
        for ((sum, before), stored) in sum.iter().zip(before).zip(stored) {
            assert_eq!(*sum, before + stored);
        }
    }
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let pool = Pool::new(1).unwrap();
    let matrix = pack(&[0; 34 * 3], Format::Q8_0, 3, 32);
    let workspace = &mut Workspace::default();
    let mut refuse = |input: usize, output: usize| {
        let (input, mut output) = (vec![0.0; input], vec![0.0; output]);
        multiply(
            &pool,
            &matrix,
            Input::new(&input),
            &mut output,
            Write::Store,
            workspace,
        )
    };
    assert!(matches!(refuse(33, 3), Err(ShapeError::Input { .. })));
    assert!(matches!(refuse(64, 3), Err(ShapeError::Output { .. })));
    assert!(refuse(0, 0).is_ok());
    assert!(matches!(
        multiply_gated(
            &pool,
            &matrix,
            Input::new(&[]),
            Activation::Silu,
            &mut [],
            workspace
        ),
        Err(ShapeError::NotGated { parts: 1 })
    ));
}
