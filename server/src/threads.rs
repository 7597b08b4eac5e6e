//! How many threads the tensor library uses.
//!
//! candle and rayon read this from the environment only, count the machine's processors instead
//! of the cgroup's quota where it is not set, and read it again at every product. An environment
//! can be changed safely only before a program starts, so the server starts itself once more.
use std::{env, io, os::unix::process::CommandExt, process::Command, thread};

const THREADS: &str = "RAYON_NUM_THREADS";
/// How long candle's threads spin at a barrier. Its default of 25,000 lets the pace collapse when
/// another process wants a core.
const SPIN_LIMIT: &str = "CANDLE_BARRIER_POOL_SPIN_LIMIT";
const SPINS: &str = "100";

/// Makes sure that the environment says how many threads to use: `configured`, or what it says
/// already, or the cores that the cgroup allows. Replaces this process where it has to change
/// something, and returns only where it has not, or could not.
pub fn settle(configured: Option<usize>) -> io::Result<()> {
    let current = env::var(THREADS).ok();
    let allowed = thread::available_parallelism().map_or(1, usize::from);
    let Some(threads) = change(current.as_deref(), configured, allowed) else {
        return Ok(());
    };
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).env(THREADS, threads.to_string());
    if env::var_os(SPIN_LIMIT).is_none() {
        command.env(SPIN_LIMIT, SPINS);
    }
    Err(command.exec())
}

/// The number that the environment should say, where it does not say it yet.
fn change(current: Option<&str>, configured: Option<usize>, allowed: usize) -> Option<usize> {
    let current = current
        .and_then(|text| text.parse::<usize>().ok())
        .filter(|&threads| threads > 0);
    let wanted = configured.or(current).unwrap_or(allowed).max(1);
    (current != Some(wanted)).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_wins_over_the_environment_and_both_over_the_quota() {
        assert_eq!(change(None, None, 2), Some(2));
        assert_eq!(change(None, Some(4), 2), Some(4));
        assert_eq!(change(Some("8"), Some(4), 2), Some(4));
        assert_eq!(change(Some("8"), None, 2), None);
    }

    #[test]
    fn a_process_that_was_started_again_does_not_start_itself_a_third_time() {
        for (configured, allowed) in [(None, 2), (Some(4), 2), (Some(0), 2)] {
            let first = change(None, configured, allowed).map(|threads| threads.to_string());
            assert_eq!(change(first.as_deref(), configured, allowed), None);
        }
    }

    #[test]
    fn nonsense_in_the_environment_is_replaced() {
        assert_eq!(change(Some("all"), None, 3), Some(3));
        assert_eq!(change(Some("0"), None, 3), Some(3));
    }
}
