//! How attention is spread over threads: by whatever pool the caller has.

use crate::pool::Pool;

/// A pool of threads, or one.
pub trait Parallel {
    /// Calls `work` once for each chunk of `items` with the chunk's index, and returns when all are
    /// done. Chunks are independent: they may run in any order and at the same time.
    fn for_chunks<T: Send>(
        &self,
        items: &mut [T],
        chunk: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    );
}

/// The calling thread alone.
#[derive(Clone, Copy, Debug)]
pub struct Serial;

impl Parallel for Serial {
    fn for_chunks<T: Send>(
        &self,
        items: &mut [T],
        chunk: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        for (index, chunk) in items.chunks_mut(chunk.max(1)).enumerate() {
            work(index, chunk);
        }
    }
}

impl Parallel for Pool {
    fn for_chunks<T: Send>(
        &self,
        items: &mut [T],
        chunk: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        Self::for_chunks(self, items, chunk, work);
    }
}
