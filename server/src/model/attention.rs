//! Causal attention of one sequence's new rows over its KV cache, with grouped heads.
use candle_core::{D, Result, Tensor};

/// `queries` `[1, heads, rows, head_dim]` over `keys` and `values` `[1, kv_heads, length,
/// head_dim]`, the last `rows` of which belong to the queries. Returns `[rows, heads × head_dim]`.
pub(super) fn attend(queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (_, heads, rows, head_dim) = queries.dims4()?;
    let (_, kv_heads, length, _) = keys.dims4()?;
    let group = heads / kv_heads;
    let scale = 1.0 / (head_dim as f64).sqrt();
    // The heads of a group share keys and values: they are further rows of one product.
    let grouped = (queries.reshape((1, kv_heads, group * rows, head_dim))? * scale)?;
    let mut scores = grouped.matmul(&keys.transpose(2, 3)?)?;
    if rows > 1 {
        let mask = causal_mask(rows, length, &scores)?;
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

/// `[rows, length]`: minus infinity where a row would see what comes after it.
fn causal_mask(rows: usize, length: usize, like: &Tensor) -> Result<Tensor> {
    let first = length - rows;
    let mask: Vec<f32> = (0..rows)
        .flat_map(|row| {
            (0..length).map(move |position| {
                if position > first + row {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
        })
        .collect();
    Tensor::from_vec(mask, (rows, length), like.device())
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
    fn reference(queries: &Tensor, keys: &Tensor, values: &Tensor) -> Vec<f32> {
        let (_, heads, rows, width) = queries.dims4().unwrap();
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
                let visible = length - rows + row + 1;
                let scores: Vec<f32> = (0..visible)
                    .map(|position| {
                        let key = at(keys, kv_head, position);
                        query.iter().zip(&key).map(|(a, b)| a * b).sum::<f32>()
                            / (width as f32).sqrt()
                    })
                    .collect();
                let sum: f32 = scores.iter().map(|score| score.exp()).sum();
                let mut mixed = vec![0.0; width];
                for (position, score) in scores.iter().enumerate() {
                    for (mixed, value) in mixed.iter_mut().zip(at(values, kv_head, position)) {
                        *mixed += score.exp() / sum * value;
                    }
                }
                out.extend(mixed);
            }
        }
        out
    }

    #[test]
    fn grouped_causal_attention_equals_its_definition() {
        for (rows, length) in [(1, 1), (1, 5), (4, 4), (3, 7)] {
            let queries = numbers(&[1, 6, rows, 4], 1);
            let keys = numbers(&[1, 2, length, 4], 2);
            let values = numbers(&[1, 2, length, 4], 3);
            let out: Vec<f32> = attend(&queries, &keys, &values)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1()
                .unwrap();
            for (got, wanted) in out.iter().zip(reference(&queries, &keys, &values)) {
                assert!(
                    (got - wanted).abs() < 1e-5,
                    "{rows} rows of {length}: {got} instead of {wanted}"
                );
            }
        }
    }
}
