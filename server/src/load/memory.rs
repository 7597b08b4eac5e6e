//! Whether a model fits the memory that it may use: the process's, or a GPU's.
use super::error::LoadError;
use candlepower_api::{
    memory::{GPU_OVERHEAD, Needs, OVERHEAD, Shortage},
    value::ByteSize,
};
use std::fs;

/// Memory that a model may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// The process's, up to this.
    Process(ByteSize),
    /// A GPU's: what is free of it.
    Gpu(ByteSize),
}

impl Room {
    /// Its bytes.
    pub const fn size(self) -> ByteSize {
        match self {
            Self::Process(size) | Self::Gpu(size) => size,
        }
    }

    /// What is kept for everything but weights and KV cache.
    pub const fn overhead(self) -> ByteSize {
        match self {
            Self::Process(_) => OVERHEAD,
            Self::Gpu(_) => GPU_OVERHEAD,
        }
    }

    /// What it is, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process(_) => "the memory limit",
            Self::Gpu(_) => "the GPU's free memory",
        }
    }

    /// How to get more of it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::Process(_) => "raise resources.memory",
            Self::Gpu(_) => "use a larger GPU",
        }
    }
}

/// Tokens of KV cache to hold: as configured, or for a whole batch of full length, or what the
/// room leaves.
pub fn kv_cache_tokens(
    needs: &Needs,
    configured: Option<ByteSize>,
    room: Room,
) -> Result<usize, LoadError> {
    needs
        .kv_cache_tokens(configured, room.size())
        .map_err(|shortage| match shortage {
            Shortage::Limit { tokens, kv_cache } => LoadError::InsufficientMemory {
                weights: ByteSize::new(needs.weights),
                kv_cache: ByteSize::new(kv_cache),
                minimum_tokens: tokens,
                overhead: needs.overhead,
                room,
            },
            Shortage::KvCache {
                size,
                tokens,
                least,
            } => LoadError::InvalidConfiguration(format!(
                "engine.kvCacheMemory of {size} holds {tokens} tokens: write at least {least}"
            )),
        })
}

/// Memory that this process may use: the cgroup's limit, or the machine's memory.
pub fn limit() -> ByteSize {
    // Version 2 first, then version 1. "max" and absurdly high numbers mean no limit.
    let cgroup = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .filter_map(|path| fs::read_to_string(path).ok())
    .find_map(|text| text.trim().parse::<u64>().ok());
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    let smallest = cgroup.into_iter().chain(machine).min().unwrap_or(u64::MAX);
    ByteSize::new(smallest)
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn needs(room: Room) -> Needs {
        Needs {
            weights: 500 * MIB,
            kv_bytes_per_token: MIB / 10,
            context_length: 2000,
            max_batch_size: 4,
            overhead: room.overhead(),
        }
    }

    fn refused(room: Room, configured: Option<ByteSize>) -> String {
        let refused = kv_cache_tokens(&needs(room), configured, room);
        refused.unwrap_err().to_string()
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_the_sum_and_the_cure() {
        let error = refused(Room::Process(ByteSize::mebibytes(610)), None);
        for part in [
            "500.0 MiB",
            "100.0 MiB",
            "610.0 MiB",
            "256 tokens",
            "raise resources.memory",
        ] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }

    #[test]
    fn a_gpu_keeps_more_for_its_libraries_and_is_named_in_the_refusal() {
        let error = refused(Room::Gpu(ByteSize::gibibytes(1)), None);
        for part in [
            "overhead 1.0 GiB",
            "the GPU's free memory of 1.0 GiB",
            "use a larger GPU",
        ] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
        let room = Room::Gpu(ByteSize::gibibytes(4));
        assert_eq!(kv_cache_tokens(&needs(room), None, room).unwrap(), 8000);
    }

    #[test]
    fn a_configured_cache_of_no_use_is_refused_with_what_to_write() {
        let room = Room::Process(ByteSize::gibibytes(1));
        let useless = refused(room, Some(ByteSize::mebibytes(1)));
        assert!(useless.contains("write at least"), "{useless}");
    }

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(
            total_memory("MemTotal:       16 kB\nMemFree: 1 kB"),
            Some(16 * 1024)
        );
        assert!(limit().bytes() > 64 * MIB);
    }
}
