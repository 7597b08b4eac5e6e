//! The ragged batch of one step: which rows belong to which sequence, at which positions.
use super::{AttentionError, BLOCK, cache::KvShape};
use crate::size::SizeError;

/// The rows of one sequence in a step, adjacent in every operand.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// How many rows it has in this step.
    pub rows: usize,
    /// The position of its first row; those before it are in the cache already.
    pub position: usize,
    /// Its blocks: position p is in block `blocks[p / 32]` at `p % 32`.
    pub blocks: &'a [u32],
}

/// Sequences whose block tables fit a cache.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    sequences: Vec<Sequence<'a>>,
    /// The first row of each sequence.
    first_rows: Vec<usize>,
    rows: usize,
    shape: KvShape,
}

impl<'a> Batch<'a> {
    /// Checks that every position of `sequences` has a block in a cache of `shape`.
    pub fn new(shape: &KvShape, sequences: &[Sequence<'a>]) -> Result<Self, AttentionError> {
        let mut first_rows = Vec::with_capacity(sequences.len());
        let mut rows = 0;
        for (index, sequence) in sequences.iter().enumerate() {
            let end = sequence.position.saturating_add(sequence.rows);
            let Some(used) = sequence.blocks.get(..end.div_ceil(BLOCK)) else {
                return Err(AttentionError::ShortBlockTable {
                    sequence: index,
                    end,
                    blocks: sequence.blocks.len(),
                });
            };
            if let Some(block) = used.iter().find(|block| **block as usize >= shape.blocks) {
                return Err(AttentionError::NoSuchBlock {
                    sequence: index,
                    block: *block,
                    blocks: shape.blocks,
                });
            }
            first_rows.push(rows);
            rows += sequence.rows;
        }
        Ok(Self {
            sequences: sequences.to_vec(),
            first_rows,
            rows,
            shape: *shape,
        })
    }

    /// Rows of all sequences.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Each sequence with its first row.
    pub(super) fn sequences(&self) -> impl Iterator<Item = (usize, &Sequence<'a>)> {
        self.first_rows.iter().copied().zip(&self.sequences)
    }

    pub(super) fn sequence(&self, index: usize) -> &Sequence<'a> {
        &self.sequences[index]
    }

    /// The shape of the caches the batch fits.
    pub(super) fn shape(&self) -> &KvShape {
        &self.shape
    }

    /// That a cache of `shape` has the blocks and heads the batch was made for.
    pub(super) fn check_fits(&self, shape: &KvShape) -> Result<(), SizeError> {
        SizeError::check("KV heads", self.shape.kv_heads, shape.kv_heads)?;
        SizeError::check("values of a head", self.shape.head_dim, shape.head_dim)?;
        let blocks = self.shape.blocks.min(shape.blocks);
        SizeError::check("blocks of the KV cache", self.shape.blocks, blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape {
        layers: 1,
        kv_heads: 1,
        head_dim: 8,
        blocks: 4,
    };

    fn check(rows: usize, position: usize, blocks: &[u32]) -> Result<(), AttentionError> {
        let sequence = Sequence {
            rows,
            position,
            blocks,
        };
        Batch::new(&SHAPE, &[sequence]).map(drop)
    }

    #[test]
    fn a_table_must_hold_every_position_and_name_only_blocks_there_are() {
        assert!(check(32, 32, &[3, 0]).is_ok());
        assert!(check(32, 32, &[3, 0, 99]).is_ok(), "99 is not needed yet");
        assert!(matches!(
            check(33, 32, &[3, 0]),
            Err(AttentionError::ShortBlockTable { end: 65, .. })
        ));
        assert!(matches!(
            check(1, 40, &[4, 0]),
            Err(AttentionError::NoSuchBlock { block: 4, .. })
        ));
        assert!(matches!(
            check(1, usize::MAX, &[0]),
            Err(AttentionError::ShortBlockTable { .. })
        ));
    }
}
