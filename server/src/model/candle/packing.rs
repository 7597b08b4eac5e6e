//! One step in the form that paged attention takes it in: where each row lies in the KV cache, and
//! which blocks hold the keys of each sequence. Plain numbers, the same for every device.
use crate::engine::{
    BLOCK_TOKENS, Batch, EngineError,
    batch::{BatchSequence, SequenceId},
};

/// The sequences of one step, whose rows and keys are both packed without padding.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Packing {
    /// For each row, where its key and value go: `block × BLOCK_TOKENS + position in the block`.
    pub(super) slot_mapping: Vec<u32>,
    /// Cumulative numbers of rows: those of sequence `i` are `[i]..[i + 1]`.
    pub(super) row_offsets: Vec<u32>,
    /// Cumulative numbers of keys, those of the step's own rows included.
    pub(super) key_offsets: Vec<u32>,
    /// `[sequences, table_width]`: the blocks of each sequence's keys in order of position. What
    /// is beyond a sequence's keys is never read.
    pub(super) block_table: Vec<u32>,
    /// Blocks of the longest sequence.
    pub(super) table_width: usize,
    /// The most rows of a sequence.
    pub(super) most_rows: usize,
    /// The most keys of a sequence.
    pub(super) most_keys: usize,
}

impl Packing {
    /// Packs `batch` for a cache of `kv_blocks` blocks. Refuses a sequence whose blocks do not
    /// cover its rows or are not in the cache: a kernel would read and write the memory of others.
    pub(super) fn new(batch: &Batch, kv_blocks: usize) -> Result<Self, EngineError> {
        let mut packing = Self {
            row_offsets: vec![0],
            key_offsets: vec![0],
            ..Self::default()
        };
        let mut tables = Vec::with_capacity(batch.sequences.len());
        for part in &batch.sequences {
            tables.push(packing.add(batch, part, kv_blocks)?);
        }
        packing.table_width = tables.iter().map(|table| table.len()).max().unwrap_or(0);
        for table in tables {
            packing.block_table.extend_from_slice(table);
            let padded = packing
                .block_table
                .len()
                .next_multiple_of(packing.table_width);
            packing.block_table.resize(padded, 0);
        }
        Ok(packing)
    }

    /// The sequences.
    pub(super) fn sequences(&self) -> usize {
        self.row_offsets.len() - 1
    }

    fn add<'a>(
        &mut self,
        batch: &Batch,
        part: &'a BatchSequence,
        kv_blocks: usize,
    ) -> Result<&'a [u32], EngineError> {
        let refused = || EngineError::Blocks(part.id);
        let positions = batch.positions.get(part.rows.clone()).unwrap_or_default();
        let keys = *positions.last().ok_or_else(refused)? as usize + 1;
        let table = part.blocks.get(..keys.div_ceil(BLOCK_TOKENS));
        let table = table.ok_or_else(refused)?;
        if table.iter().any(|&block| block as usize >= kv_blocks) {
            return Err(refused());
        }
        for &position in positions {
            let slot = part.slot(position as usize).ok_or_else(refused)?;
            self.slot_mapping.push(narrow(slot, part.id)?);
        }
        push_sum(&mut self.row_offsets, positions.len(), part.id)?;
        push_sum(&mut self.key_offsets, keys, part.id)?;
        self.most_rows = self.most_rows.max(positions.len());
        self.most_keys = self.most_keys.max(keys);
        Ok(table)
    }
}

/// Appends the sum of the last number and `more`.
fn push_sum(sums: &mut Vec<u32>, more: usize, id: SequenceId) -> Result<(), EngineError> {
    let last = sums.last().copied().unwrap_or(0) as usize;
    sums.push(narrow(last + more, id)?);
    Ok(())
}

fn narrow(number: usize, id: SequenceId) -> Result<u32, EngineError> {
    u32::try_from(number).map_err(|_| EngineError::Blocks(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(parts: &[(u32, usize, &[u32])]) -> Batch {
        let mut batch = Batch::default();
        for (index, &(start, count, blocks)) in parts.iter().enumerate() {
            let tokens = vec![7; count];
            batch.push(SequenceId(index as u64), &tokens, start, true, blocks);
        }
        batch
    }

    /// A prompt in its first chunk, a sequence that decodes, and a prompt that goes on over a
    /// block's end.
    #[test]
    fn prefill_and_decode_are_packed_side_by_side() {
        let batch = batch(&[(0, 3, &[5]), (40, 1, &[2, 9]), (62, 4, &[4, 0, 8])]);
        let packing = Packing::new(&batch, 10).unwrap();
        let expected = Packing {
            slot_mapping: vec![160, 161, 162, 296, 30, 31, 256, 257],
            row_offsets: vec![0, 3, 4, 8],
            key_offsets: vec![0, 3, 44, 110],
            block_table: vec![5, 0, 0, 2, 9, 0, 4, 0, 8],
            table_width: 3,
            most_rows: 4,
            most_keys: 66,
        };
        assert_eq!(packing, expected);
        assert_eq!(packing.sequences(), 3);
    }

    /// The scheduler reserves blocks for the whole answer; the kernels need those with keys.
    #[test]
    fn blocks_without_keys_are_left_out_of_the_table() {
        let packing = Packing::new(&batch(&[(0, 32, &[3, 1, 2])]), 4).unwrap();
        assert_eq!((packing.table_width, packing.block_table), (1, vec![3]));
        let packing = Packing::new(&batch(&[(0, 33, &[3, 1, 2])]), 4).unwrap();
        assert_eq!((packing.table_width, packing.block_table), (2, vec![3, 1]));
    }

    #[test]
    fn a_step_without_rows_is_empty() {
        let packing = Packing::new(&Batch::default(), 4).unwrap();
        assert_eq!(packing.sequences(), 0);
        assert!(packing.slot_mapping.is_empty() && packing.block_table.is_empty());
    }

    #[test]
    fn blocks_that_would_touch_the_memory_of_others_are_refused() {
        let refused: [&[(u32, usize, &[u32])]; 5] = [
            &[(0, 1, &[])],
            &[(32, 1, &[1])],
            &[(0, 1, &[4])],
            &[(0, 40, &[1, 4])],
            &[(0, 0, &[1])],
        ];
        for parts in refused {
            let packed = Packing::new(&batch(parts), 4);
            assert!(
                matches!(packed, Err(EngineError::Blocks(SequenceId(0)))),
                "{parts:?}"
            );
        }
        let second = Packing::new(&batch(&[(0, 1, &[1]), (0, 1, &[9])]), 4);
        assert!(matches!(second, Err(EngineError::Blocks(SequenceId(1)))));
    }
}
