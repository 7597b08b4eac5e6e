//! How fast the memory is, as several examples ask for it.
use candlepower_kernels::Pool;
use memmap2::MmapMut;
use std::{hint::black_box, io, time::Instant};

/// A stretch of memory that is read as fast as it can be: by all threads, each in several streams,
/// from huge pages, as the kernels read weights.
pub(crate) struct Probe(MmapMut);

impl Probe {
    const BYTES: usize = 512 << 20;
    const PIECE: usize = 16 << 20;

    /// Takes the memory and fills it.
    pub(crate) fn new() -> io::Result<Self> {
        let mut memory = MmapMut::map_anon(Self::BYTES)?;
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        memory.fill(1);
        Ok(Self(memory))
    }

    /// Appends bandwidths in GB/s, of pieces that take about as long as a product.
    pub(crate) fn bandwidths(&self, pool: &Pool, bandwidths: &mut Vec<f64>) {
        for piece in self.0.chunks_exact(Self::PIECE) {
            let start = Instant::now();
            pool.run(|worker| {
                let (lines, _) = piece.as_chunks::<64>();
                let lines = &lines[worker.share(lines.len())];
                let quarter = lines.len() / 4;
                let (first, rest) = lines.split_at(quarter);
                let (second, rest) = rest.split_at(quarter);
                let (third, fourth) = rest.split_at(quarter);
                let mut sums = [[0_u64; 8]; 4];
                let streams = first.iter().zip(second).zip(third.iter().zip(fourth));
                for ((a, b), (c, d)) in streams {
                    for (sums, line) in sums.iter_mut().zip([a, b, c, d]) {
                        for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
                            *sum ^= u64::from_ne_bytes(*word);
                        }
                    }
                }
                black_box(sums);
            });
            bandwidths.push(Self::PIECE as f64 / start.elapsed().as_secs_f64() / 1e9);
        }
    }
}
