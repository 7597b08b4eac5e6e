//! Whether a model fits: weights, KV cache and overhead against the memory limit.
use super::error::LoadError;
use candlepower_api::value::ByteSize;
use std::fs;

/// Everything but weights and KV cache in the process: code, tokenizer, activations of a step, HTTP
/// buffers.
const PROCESS_OVERHEAD: ByteSize = ByteSize::mebibytes(100);

/// The same on a GPU: kernels, the libraries' work space, activations of a step. An estimate.
const GPU_OVERHEAD: ByteSize = ByteSize::gibibytes(1);

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
            Self::Process(_) => PROCESS_OVERHEAD,
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

/// A KV cache shorter than this is of no use.
const FEWEST_TOKENS: usize = 256;

/// What a model needs.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Bytes of the weights in memory.
    pub weights: u64,
    /// Bytes of KV cache for one token.
    pub kv_bytes_per_token: u64,
    /// Longest sequence in tokens.
    pub context_length: usize,
    /// Sequences computed at once.
    pub max_batch_size: usize,
}

/// Tokens of KV cache to hold: as configured, or for a whole batch of full length, or what the
/// limit leaves.
pub fn kv_cache_tokens(
    needs: &Needs,
    configured: Option<ByteSize>,
    room: Room,
) -> Result<usize, LoadError> {
    let left = room
        .size()
        .bytes()
        .saturating_sub(room.overhead().bytes())
        .saturating_sub(needs.weights);
    let tokens =
        |bytes: u64| usize::try_from(bytes / needs.kv_bytes_per_token.max(1)).unwrap_or(usize::MAX);
    let least = FEWEST_TOKENS.min(needs.context_length);
    let insufficient = |minimum_tokens: usize, kv_bytes: u64| LoadError::InsufficientMemory {
        weights: ByteSize::new(needs.weights),
        kv_cache: ByteSize::new(kv_bytes),
        minimum_tokens,
        room,
    };
    match configured {
        Some(size) if size.bytes() > left => Err(insufficient(tokens(size.bytes()), size.bytes())),
        Some(size) if tokens(size.bytes()) < least => {
            Err(LoadError::InvalidConfiguration(format!(
                "engine.kvCacheMemory of {size} holds {} tokens: write at least {}",
                tokens(size.bytes()),
                ByteSize::new(least as u64 * needs.kv_bytes_per_token)
            )))
        }
        Some(size) => Ok(tokens(size.bytes())),
        None if tokens(left) < least => {
            Err(insufficient(least, least as u64 * needs.kv_bytes_per_token))
        }
        None => Ok(tokens(left).min(needs.context_length.saturating_mul(needs.max_batch_size))),
    }
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

    fn needs() -> Needs {
        Needs {
            weights: 500 * MIB,
            kv_bytes_per_token: MIB / 10,
            context_length: 2000,
            max_batch_size: 4,
        }
    }

    #[test]
    fn a_whole_batch_of_full_length_where_there_is_room() {
        assert_eq!(
            kv_cache_tokens(&needs(), None, Room::Process(ByteSize::gibibytes(4))).unwrap(),
            8000
        );
    }

    #[test]
    fn what_the_limit_leaves_where_there_is_less() {
        let tokens =
            kv_cache_tokens(&needs(), None, Room::Process(ByteSize::mebibytes(700))).unwrap();
        assert!(
            (999..=1001).contains(&tokens),
            "100 MiB at 0.1 MiB a token, not {tokens}"
        );
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_with_the_sum_and_the_cure() {
        let error = kv_cache_tokens(&needs(), None, Room::Process(ByteSize::mebibytes(610)))
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
    fn a_gpu_keeps_more_for_its_libraries_and_is_named_in_the_refusal() {
        let gpu = |gibibytes| Room::Gpu(ByteSize::gibibytes(gibibytes));
        assert_eq!(kv_cache_tokens(&needs(), None, gpu(4)).unwrap(), 8000);
        let error = kv_cache_tokens(&needs(), None, gpu(1))
            .unwrap_err()
            .to_string();
        for part in ["the GPU's free memory of 1.0 GiB", "use a larger GPU"] {
            assert!(error.contains(part), "{error} lacks {part}");
        }
    }

    #[test]
    fn a_configured_cache_is_taken_or_refused_but_never_changed() {
        let limit = Room::Process(ByteSize::gibibytes(1));
        assert_eq!(
            kv_cache_tokens(&needs(), Some(ByteSize::mebibytes(100)), limit).unwrap(),
            1000
        );
        let refused = kv_cache_tokens(&needs(), Some(ByteSize::mebibytes(600)), limit).unwrap_err();
        assert!(matches!(refused, LoadError::InsufficientMemory { .. }));
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
