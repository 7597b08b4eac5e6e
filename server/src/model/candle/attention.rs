//! Causal attention of one sequence's new rows over its KV cache, with grouped heads.
use candle_core::{D, Result, Tensor};
use std::ops::Range;

/// How the rows of a layer attend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    /// Products of queries and keys are multiplied by this.
    pub(super) scale: f64,
    /// Scores are `cap × tanh(score / cap)`.
    pub(super) soft_cap: Option<f64>,
    /// How many positions a row sees, itself included; everything where `None`.
    pub(super) window: Option<usize>,
}

impl Attention {
    /// The positions that `count` rows from position `start` see between them.
    pub(super) fn seen(&self, start: usize, count: usize) -> Range<usize> {
        let first = self
            .window
            .map_or(0, |window| (start + 1).saturating_sub(window));
        first..start + count
    }

    /// How many positions before its own a row sees; everything where `None`. The kernels count
    /// windows so.
    #[cfg(any(test, candlepower_flash_attention))]
    pub(super) fn seen_before(&self) -> Option<usize> {
        self.window.map(|window| window.saturating_sub(1))
    }

    /// `queries` `[1, heads, rows, head_dim]` over `keys` and `values` `[1, kv_heads, length,
    /// head_dim]` of what they see, the last `rows` of which belong to the queries. Returns
    /// `[rows, heads × head_dim]`.
    pub(super) fn attend(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<Tensor> {
        let (_, heads, rows, head_dim) = queries.dims4()?;
        let (_, kv_heads, length, _) = keys.dims4()?;
        let group = heads / kv_heads;
        // The heads of a group share keys and values: they are further rows of one product.
        let grouped = (queries.reshape((1, kv_heads, group * rows, head_dim))? * self.scale)?;
        let mut scores = grouped.matmul(&keys.transpose(2, 3)?)?;
        if let Some(cap) = self.soft_cap {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        if rows > 1 {
            let mask = self.mask(rows, length, &scores)?;
            scores = scores
                .reshape((kv_heads * group, rows, length))?
                .broadcast_add(&mask)?
                .reshape((1, kv_heads, group * rows, length))?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores)?;
        weights
            .matmul(values)?
            .reshape((heads, rows, head_dim))?
            .transpose(0, 1)?
            .contiguous()?
            .flatten(1, D::Minus1)
    }

    /// `[rows, length]`: minus infinity where a row would see what comes after it, or what its
    /// window has left behind.
    fn mask(&self, rows: usize, length: usize, like: &Tensor) -> Result<Tensor> {
        let first = length - rows;
        let window = self.window.unwrap_or(length);
        let mask: Vec<f32> = (0..rows)
            .flat_map(|row| {
                let own = first + row;
                (0..length).map(move |position| {
                    if position > own || position + window <= own {
                        f32::NEG_INFINITY
                    } else {
                        0.0
                    }
                })
            })
            .collect();
        Tensor::from_vec(mask, (rows, length), like.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn numbers(shape: &[usize], seed: u64) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count as u64)
            .map(|index| ((index * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// Attention by its definition, one number at a time.
    #[expect(clippy::cast_possible_truncation, reason = "scales and caps are small")]
    fn reference(how: Attention, queries: &Tensor, keys: &Tensor, values: &Tensor) -> Vec<f32> {
        let (_, heads, rows, _) = queries.dims4().unwrap();
        let (_, kv_heads, length, _) = keys.dims4().unwrap();
        let at = |tensor: &Tensor, head: usize, row: usize| -> Vec<f32> {
            tensor
                .get(0)
                .unwrap()
                .get(head)
                .unwrap()
                .get(row)
                .unwrap()
                .to_vec1()
                .unwrap()
        };
        let mut out = Vec::new();
        for row in 0..rows {
            for head in 0..heads {
                let kv_head = head / (heads / kv_heads);
                let query = at(queries, head, row);
                let end = length - rows + row + 1;
                let visible = end.saturating_sub(how.window.unwrap_or(end))..end;
                let scores: Vec<f32> = visible
                    .clone()
                    .map(|position| {
                        let key = at(keys, kv_head, position);
                        let product: f32 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
                        let score = product * how.scale as f32;
                        how.soft_cap.map_or(score, |cap| {
                            let cap = cap as f32;
                            cap * (score / cap).tanh()
                        })
                    })
                    .collect();
                let sum: f32 = scores.iter().map(|score| score.exp()).sum();
                let mut mixed = vec![0.0; query.len()];
                for (position, score) in visible.zip(&scores) {
                    for (mixed, value) in mixed.iter_mut().zip(at(values, kv_head, position)) {
                        *mixed += score.exp() / sum * value;
                    }
                }
                out.extend(mixed);
            }
        }
        out
    }

    fn check(how: Attention, rows: usize, length: usize) {
        let queries = numbers(&[1, 6, rows, 4], 1);
        let keys = numbers(&[1, 2, length, 4], 2);
        let values = numbers(&[1, 2, length, 4], 3);
        let out = how.attend(&queries, &keys, &values).unwrap();
        let out: Vec<f32> = out.flatten_all().unwrap().to_vec1().unwrap();
        for (got, wanted) in out.iter().zip(reference(how, &queries, &keys, &values)) {
            assert!(
                (got - wanted).abs() < 1e-5,
                "{how:?}, {rows} rows of {length}: {got} instead of {wanted}"
            );
        }
    }

    const PLAIN: Attention = Attention {
        scale: 0.5,
        soft_cap: None,
        window: None,
    };

    #[test]
    fn grouped_causal_attention_equals_its_definition() {
        for (rows, length) in [(1, 1), (1, 5), (4, 4), (3, 7)] {
            check(PLAIN, rows, length);
            let soft_cap = Some(0.3);
            check(Attention { soft_cap, ..PLAIN }, rows, length);
        }
    }

    #[test]
    fn a_window_hides_what_it_has_left_behind() {
        for window in [1, 2, 3, 9] {
            let window = Some(window);
            check(Attention { window, ..PLAIN }, 4, 4);
            check(Attention { window, ..PLAIN }, 3, 5);
        }
    }

    #[test]
    fn only_what_a_window_shows_is_read() {
        let window = Some(4);
        let sliding = Attention { window, ..PLAIN };
        assert_eq!(sliding.seen(10, 1), 7..11);
        assert_eq!(sliding.seen(10, 3), 7..13);
        assert_eq!(sliding.seen(2, 3), 0..5);
        assert_eq!(PLAIN.seen(10, 3), 0..13);
        assert_eq!(
            (sliding.seen_before(), PLAIN.seen_before()),
            (Some(3), None)
        );
    }
}
