//! Which blocks of the KV cache are free.

/// The blocks of a KV cache, named by number.
#[derive(Debug)]
pub(super) struct Blocks {
    free: Vec<u32>,
    total: usize,
}

impl Blocks {
    /// `count` blocks, all free.
    pub(super) fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            free: (0..count).rev().collect(),
            total: count as usize,
        }
    }

    /// Takes `count` blocks, or none where fewer are free.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u32>> {
        let rest = self.free.len().checked_sub(count)?;
        Some(self.free.split_off(rest))
    }

    /// Gives back what [`Blocks::take`] took.
    pub(super) fn give_back(&mut self, blocks: Vec<u32>) {
        self.free.extend(blocks);
    }

    /// Blocks that are taken.
    pub(super) fn used(&self) -> usize {
        self.total - self.free.len()
    }
}
