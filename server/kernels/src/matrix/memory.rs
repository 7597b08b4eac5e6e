//! Memory for packed weights: in huge pages where the kernel has them, many matrices to a page.
//!
//! Reading weights from pages of 4 KiB costs a fifth of the bandwidth, and most matrices of a small
//! model are smaller than a huge page. So matrices are cut from chunks of many huge pages. A chunk
//! goes back to the system with the last matrix on it; a model's matrices come and go together.
use memmap2::MmapMut;
use std::{
    io,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// The size of a huge page.
const PAGE: usize = 2 << 20;
/// The size of a chunk, unless a matrix needs more. What is never written takes no memory.
const CHUNK: usize = 64 << 20;
/// Matrices begin on cache lines.
const ALIGNMENT: usize = 64;

/// The chunk that the next matrix is cut from, if there is room.
static OPEN: Mutex<Weak<Chunk>> = Mutex::new(Weak::new());

/// Bytes that do not change any more.
#[derive(Debug)]
pub(crate) struct Memory {
    chunk: Arc<Chunk>,
    offset: usize,
    len: usize,
}

impl Memory {
    /// Takes `len` zeroed bytes and lets `fill` write them.
    pub(crate) fn filled(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let (chunk, offset) = Chunk::cut(len)?;
        // SAFETY: no two cuts overlap, and nobody has a reference to this one yet.
        fill(unsafe { std::slice::from_raw_parts_mut(chunk.at(offset), len) });
        Ok(Self { chunk, offset, len })
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the cut lies within its chunk and nobody writes it any more.
        unsafe { std::slice::from_raw_parts(self.chunk.at(self.offset), self.len) }
    }
}

/// Memory that matrices are cut from, from front to back.
#[derive(Debug)]
struct Chunk {
    /// Where the first huge page of `_map` begins.
    start: *mut u8,
    len: usize,
    cut: AtomicUsize,
    /// Keeps the memory mapped; it is reached through `start` only.
    _map: MmapMut,
}

// SAFETY: `start` points to memory that the chunk owns. Its users take care of who writes where.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// A place for `len` bytes.
    fn cut(len: usize) -> io::Result<(Arc<Self>, usize)> {
        let size = len
            .checked_next_multiple_of(ALIGNMENT)
            .ok_or(io::ErrorKind::OutOfMemory)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunk) = open.upgrade() {
            let cut = chunk.cut.load(Relaxed);
            if size <= chunk.len - cut {
                chunk.cut.store(cut + size, Relaxed);
                return Ok((chunk, cut));
            }
        }
        let chunk = Arc::new(Self::new(size.max(CHUNK))?);
        chunk.cut.store(size, Relaxed);
        *open = Arc::downgrade(&chunk);
        Ok((chunk, 0))
    }

    fn new(len: usize) -> io::Result<Self> {
        let room = len.checked_add(PAGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut map = MmapMut::map_anon(room)?;
        #[cfg(target_os = "linux")]
        {
            // A kernel without huge pages refuses; small ones do too, only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let start = map.as_mut_ptr();
        Ok(Self {
            start: start.wrapping_add(start.align_offset(PAGE) % PAGE),
            len,
            cut: AtomicUsize::new(0),
            _map: map,
        })
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.start.wrapping_add(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_zero_aligned_and_apart() {
        let mut memories = Vec::new();
        for len in [1, 64, 100, 3 << 20, CHUNK + 1, 5, 0] {
            let memory = Memory::filled(len, |bytes| {
                assert!(bytes.iter().all(|byte| *byte == 0));
                bytes.fill(u8::try_from(memories.len() + 1).unwrap());
            });
            memories.push(memory.unwrap());
        }
        for (index, memory) in memories.iter().enumerate() {
            assert!(memory.iter().all(|byte| usize::from(*byte) == index + 1));
            assert_eq!(memory.as_ptr().addr() % ALIGNMENT, 0);
        }
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        assert!(Memory::filled(usize::MAX, |_| ()).is_err());
        assert!(Memory::filled(usize::MAX / 4, |_| ()).is_err());
    }
}
