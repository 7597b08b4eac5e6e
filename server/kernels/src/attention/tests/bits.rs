//! What may change no bit of a row: chunks, batch mates and threads.
use super::*;

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
