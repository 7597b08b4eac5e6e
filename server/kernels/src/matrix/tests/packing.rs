//! Packed rows are the stored ones.
#![allow(clippy::float_cmp)] // Equal means equal here.
use super::*;

#[test]
fn a_packed_row_has_the_stored_rows_values() {
    let random = &mut Random(1);
    for format in Format::ALL {
        for &(rows, columns) in shapes(format) {
            let bytes = stored(random, format, rows, columns);
            let matrix = pack(&bytes, format, rows, columns);
            assert_eq!((matrix.rows(), matrix.columns()), (rows, columns));
            for (index, expected) in values(format, &bytes).chunks(columns).enumerate() {
                let mut row = vec![f32::NAN; columns];
                assert!(matrix.row_into(index, &mut row));
                assert_eq!(row, expected, "{format} {rows}x{columns} row {index}");
            }
            assert!(!matrix.row_into(rows, &mut []));
        }
    }
}

#[test]
fn parts_keep_their_order_in_every_arrangement() {
    let random = &mut Random(2);
    for format in Format::ALL {
        for (arrangement, rows) in [
            (Arrangement::Stacked, [33, 5, 17]),
            (Arrangement::Interleaved, [33, 33, 33]),
        ] {
            let columns = 256;
            let stored = rows.map(|rows| stored(random, format, rows, columns));
            let parts: Vec<_> = stored
                .iter()
                .zip(rows)
                .map(|(bytes, rows)| part(bytes, format, rows))
                .collect();
            for threads in [1, 3] {
                let pool = Pool::new(threads).unwrap();
                let matrix = Matrix::pack(&pool, &parts, columns, arrangement).unwrap();
                let expected = stored.concat();
                for (index, expected) in values(format, &expected).chunks(columns).enumerate() {
                    let mut row = vec![f32::NAN; columns];
                    assert!(matrix.row_into(index, &mut row));
                    assert_eq!(row, expected, "{format} {arrangement:?} row {index}");
                }
            }
        }
    }
}

#[test]
fn packing_adds_hardly_any_memory() {
    let random = &mut Random(3);
    for format in Format::ALL {
        let bytes = stored(random, format, 64, 1024);
        let matrix = pack(&bytes, format, 64, 1024);
        assert!(matrix.bytes() * 100 <= bytes.len() * 103, "{format}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_a_cure() {
    let pool = Pool::new(1).unwrap();
    let refusal = |parts: &[Part<'_>], columns, arrangement| {
        Matrix::pack(&pool, parts, columns, arrangement)
            .unwrap_err()
            .to_string()
    };
    let stacked = Arrangement::Stacked;
    let bytes = [0; 1024];
    let q8 = |rows| part(&bytes[..34 * rows], Format::Q8_0, rows);
    assert!(refusal(&[], 32, stacked).contains("at least one part"));
    let message = refusal(&[q8(2)], 48, stacked);
    assert!(message.contains("48 columns are not whole blocks: store"));
    let message = refusal(&[part(&bytes, Format::Q8_0, 2)], 32, stacked);
    assert!(message.contains("take 68 bytes, but there are 1024: the file is damaged"));
    let f32 = part(&bytes[..128], Format::F32, 1);
    assert!(refusal(&[q8(1), f32], 32, stacked).contains("pack them as two matrices"));
    let message = refusal(&[q8(1), q8(2)], 32, Arrangement::Interleaved);
    assert!(message.contains("stack them"));
    for (rows, columns) in [(0, 32), (1, 0), (usize::MAX, 32), (1, usize::MAX - 31)] {
        let part = part(&[], Format::Q8_0, rows);
        assert!(Matrix::pack(&pool, &[part], columns, stacked).is_err());
    }
}
