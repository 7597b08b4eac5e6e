//! Whether a model fits: weights, KV cache and overhead against the memory limit. The server decides with it before it
//! loads, the operator before it schedules.
use crate::value::ByteSize;

/// Everything but weights and KV cache: code, tokenizer, activations of a step, HTTP buffers.
pub const OVERHEAD: ByteSize = ByteSize::mebibytes(100);
/// The same in a GPU's memory: kernels, the libraries' work space, activations of a step. An estimate.
pub const GPU_OVERHEAD: ByteSize = ByteSize::gibibytes(1);
/// A KV cache of fewer tokens is of no use.
pub const FEWEST_TOKENS: usize = 256;
/// A precision is not chosen by itself where it leaves a KV cache of fewer tokens than this.
pub const COMFORTABLE_TOKENS: usize = 4096;

/// What a model needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Needs {
    /// Bytes of the weights in memory.
    pub weights: u64,
    /// Bytes of KV cache for one token.
    pub kv_bytes_per_token: u64,
    /// Longest sequence in tokens.
    pub context_length: usize,
    /// Sequences computed at once.
    pub max_batch_size: usize,
    /// Everything else: [`OVERHEAD`], or [`GPU_OVERHEAD`].
    pub overhead: ByteSize,
}

/// Why there is no KV cache of any use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shortage {
    /// Weights, KV cache and overhead exceed the limit.
    Limit {
        /// Tokens of the smallest KV cache that makes sense, or of the one asked for.
        tokens: usize,
        /// Its bytes.
        kv_cache: u64,
    },
    /// The KV cache that was asked for is too small by itself.
    KvCache {
        /// What was asked for.
        size: ByteSize,
        /// Tokens that it holds.
        tokens: usize,
        /// The smallest that makes sense.
        least: ByteSize,
    },
}

impl Needs {
    /// Tokens of KV cache to hold: as configured, or for a whole batch of full length, or what the limit leaves.
    pub fn kv_cache_tokens(
        &self,
        configured: Option<ByteSize>,
        limit: ByteSize,
    ) -> Result<usize, Shortage> {
        let left = self.left(limit);
        let least = FEWEST_TOKENS.min(self.context_length);
        let short = |tokens, kv_cache| Err(Shortage::Limit { tokens, kv_cache });
        match configured {
            Some(size) if size.bytes() > left => short(self.tokens_in(size.bytes()), size.bytes()),
            Some(size) if self.tokens_in(size.bytes()) < least => Err(Shortage::KvCache {
                size,
                tokens: self.tokens_in(size.bytes()),
                least: ByteSize::new(self.kv_cache(least)),
            }),
            Some(size) => Ok(self.tokens_in(size.bytes())),
            None if self.tokens_in(left) < least => short(least, self.kv_cache(least)),
            None => Ok(self.tokens_in(left).min(self.whole_batch())),
        }
    }

    /// Bytes of a KV cache of so many tokens.
    pub const fn kv_cache(&self, tokens: usize) -> u64 {
        (tokens as u64).saturating_mul(self.kv_bytes_per_token)
    }

    /// Bytes of everything, with a KV cache of so many bytes.
    pub const fn sum(&self, kv_cache: u64) -> u64 {
        self.weights
            .saturating_add(kv_cache)
            .saturating_add(self.overhead.bytes())
    }

    /// Bytes that `limit` leaves for the KV cache.
    pub const fn left(&self, limit: ByteSize) -> u64 {
        limit
            .bytes()
            .saturating_sub(self.overhead.bytes())
            .saturating_sub(self.weights)
    }

    /// Tokens in the KV cache of a whole batch of full length.
    pub const fn whole_batch(&self) -> usize {
        self.context_length.saturating_mul(self.max_batch_size)
    }

    /// Tokens that a KV cache of so many bytes holds.
    fn tokens_in(&self, bytes: u64) -> usize {
        usize::try_from(bytes / self.kv_bytes_per_token.max(1)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn needs() -> Needs {
        Needs {
            weights: 500 * MIB,
            kv_bytes_per_token: MIB / 8,
            context_length: 2000,
            max_batch_size: 4,
            overhead: OVERHEAD,
        }
    }

    #[test]
    fn a_whole_batch_of_full_length_where_there_is_room() {
        let tokens = needs().kv_cache_tokens(None, ByteSize::gibibytes(4));
        assert_eq!(tokens, Ok(8000));
    }

    #[test]
    fn what_the_limit_leaves_where_there_is_less() {
        let tokens = needs().kv_cache_tokens(None, ByteSize::mebibytes(700));
        assert_eq!(tokens, Ok(800), "100 MiB at 1/8 MiB a token");
    }

    #[test]
    fn a_limit_without_room_for_a_cache_of_any_use_is_a_shortage_with_its_sum() {
        let needs = needs();
        let shortage = needs.kv_cache_tokens(None, ByteSize::mebibytes(631));
        let expected = Shortage::Limit {
            tokens: 256,
            kv_cache: 32 * MIB,
        };
        assert_eq!(shortage, Err(expected));
        assert_eq!(needs.sum(32 * MIB), 632 * MIB);
        let enough = needs.kv_cache_tokens(None, ByteSize::mebibytes(632));
        assert_eq!(enough, Ok(256));
    }

    #[test]
    fn a_short_context_needs_no_more_than_itself() {
        let needs = Needs {
            context_length: 8,
            ..needs()
        };
        assert_eq!(needs.kv_cache_tokens(None, ByteSize::mebibytes(601)), Ok(8));
    }

    #[test]
    fn a_gpu_keeps_more_for_its_libraries() {
        let needs = Needs {
            overhead: GPU_OVERHEAD,
            ..needs()
        };
        let tokens = needs.kv_cache_tokens(None, ByteSize::mebibytes(1024 + 600));
        assert_eq!(tokens, Ok(800), "100 MiB at 1/8 MiB a token");
        let shortage = needs.kv_cache_tokens(None, ByteSize::gibibytes(1));
        assert!(matches!(shortage, Err(Shortage::Limit { .. })));
    }

    #[test]
    fn a_configured_cache_is_taken_or_refused_but_never_changed() {
        let limit = ByteSize::gibibytes(1);
        let with = |mebibytes| needs().kv_cache_tokens(Some(ByteSize::mebibytes(mebibytes)), limit);
        assert_eq!(with(100), Ok(800));
        assert!(matches!(
            with(600),
            Err(Shortage::Limit { tokens: 4800, .. })
        ));
        let useless = Err(Shortage::KvCache {
            size: ByteSize::mebibytes(1),
            tokens: 8,
            least: ByteSize::mebibytes(32),
        });
        assert_eq!(with(1), useless);
    }

    #[test]
    fn absurd_numbers_are_too_much_and_no_overflow() {
        let absurd = Needs {
            weights: u64::MAX,
            kv_bytes_per_token: u64::MAX,
            context_length: usize::MAX,
            max_batch_size: usize::MAX,
            overhead: ByteSize::new(u64::MAX),
        };
        let shortage = absurd.kv_cache_tokens(None, ByteSize::gibibytes(1));
        assert!(matches!(shortage, Err(Shortage::Limit { .. })));
        assert_eq!(absurd.sum(u64::MAX), u64::MAX);
    }
}
