//! Whether a model fits the memory that this process may use.
use super::error::LoadError;
use candlepower_api::{
    memory::{Needs, Shortage},
    value::ByteSize,
};
use std::fs;

/// Tokens of KV cache to hold: as configured, or for a whole batch of full length, or what the
/// limit leaves.
pub fn kv_cache_tokens(
    needs: &Needs,
    configured: Option<ByteSize>,
    limit: ByteSize,
) -> Result<usize, LoadError> {
    needs
        .kv_cache_tokens(configured, limit)
        .map_err(|shortage| match shortage {
            Shortage::Limit { tokens, kv_cache } => LoadError::InsufficientMemory {
                weights: ByteSize::new(needs.weights),
                kv_cache: ByteSize::new(kv_cache),
                minimum_tokens: tokens,
                overhead: needs.overhead,
                limit,
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
    use candlepower_api::memory::OVERHEAD;

    const MIB: u64 = 1 << 20;

    fn needs() -> Needs {
        Needs {
            weights: 500 * MIB,
            kv_bytes_per_token: MIB / 10,
            context_length: 2000,
            max_batch_size: 4,
            overhead: OVERHEAD,
        }
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_the_sum_and_the_cure() {
        let error = kv_cache_tokens(&needs(), None, ByteSize::mebibytes(610))
            .unwrap_err()
            .to_string();
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
    fn a_configured_cache_of_no_use_is_refused_with_what_to_write() {
        let limit = ByteSize::gibibytes(1);
        let useless = kv_cache_tokens(&needs(), Some(ByteSize::mebibytes(1)), limit).unwrap_err();
        assert!(useless.to_string().contains("write at least"), "{useless}");
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
