//! The kernel's limit on open files, which is one on connections.
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are open for other reasons.
const SPARE: u64 = 64;

/// There cannot be so many connections.
#[derive(Debug, thiserror::Error)]
#[error(
    "{wanted} connections need {} open files and this process may open {allowed}; raise the hard limit (`ulimit -Hn`, or LimitNOFILE of a systemd unit) or ask for less load",
    wanted + SPARE
)]
pub struct TooFewFiles {
    wanted: u64,
    allowed: u64,
}

/// Raises the soft limit as far as `wanted` connections need; returns how many there may be.
pub(super) fn allow_connections(wanted: u64) -> Result<u64, TooFewFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    let mut allowed = soft;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        allowed = hard;
    }
    if wanted.saturating_add(SPARE) > allowed {
        return Err(TooFewFiles { wanted, allowed });
    }
    Ok(allowed - SPARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_the_kernel_allows_are_refused_with_the_cure() {
        assert!(allow_connections(10).unwrap() >= 10);
        let error = allow_connections(1 << 62).unwrap_err().to_string();
        assert!(error.contains("ulimit -Hn"), "{error}");
    }
}
