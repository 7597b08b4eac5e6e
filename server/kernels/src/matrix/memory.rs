//! Memory for packed weights: on page boundaries, in huge pages where the kernel has them.
use memmap2::{Mmap, MmapMut};
use std::{io, ops::Deref};

/// Smaller ones would waste more of a huge page than it saves.
#[cfg(target_os = "linux")]
const HUGE_FROM: usize = 4 << 20;

/// Bytes that do not change any more.
#[derive(Debug)]
pub(crate) struct Memory(Mmap);

impl Memory {
    /// Takes `len` zeroed bytes, lets `fill` write them, and makes them read-only.
    pub(crate) fn filled(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let mut memory = MmapMut::map_anon(len.max(1))?;
        #[cfg(target_os = "linux")]
        if len >= HUGE_FROM {
            // A kernel without huge pages refuses; small ones work too, some percent slower.
            let _ = memory.advise(memmap2::Advice::HugePage);
        }
        fill(&mut memory[..len]);
        memory.make_read_only().map(Self)
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
