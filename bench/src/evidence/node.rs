//! What the whole machine does while load runs, from Linux' own accounts: who shares it with the server takes from it.
//!
//! A container sees the whole node in `/proc/stat` and `/proc/meminfo`.
use super::series::Quantity;
use std::fs;

/// The clock of `/proc/stat`: hundredths of a second, on every architecture that Linux has (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// What the machine that this process runs on says now.
pub(super) fn read() -> Vec<(Quantity, f64)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    [cpu(&read("/proc/stat")), memory(&read("/proc/meminfo"))].concat()
}

/// The name that reports give a quantity of the node.
pub(super) const fn source(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::NodeMemory => "/proc/meminfo",
        _ => "/proc/stat",
    }
}

/// Seconds that all cores worked together, and that the machine below (a hypervisor) took from them.
fn cpu(stat: &str) -> Vec<(Quantity, f64)> {
    let Some(line) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else {
        return vec![];
    };
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|value| value.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal guest guest_nice; guests are part of user.
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
        return vec![];
    };
    vec![
        (
            Quantity::NodeCpuSeconds,
            (user + nice + system + irq + softirq) / TICKS_PER_SECOND,
        ),
        (Quantity::NodeStolenSeconds, steal / TICKS_PER_SECOND),
    ]
}

/// Bytes that nobody else can have, caches left out.
fn memory(meminfo: &str) -> Vec<(Quantity, f64)> {
    let kib = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let used = kib("MemTotal:")
        .zip(kib("MemAvailable:"))
        .map(|(total, available)| (total - available) * 1024.0);
    used.map(|used| (Quantity::NodeMemory, used))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_what_was_stolen_are_told_apart() {
        let stat = "cpu  1000 100 300 9000 50 10 40 200 70 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(
            cpu(stat),
            [
                (Quantity::NodeCpuSeconds, 14.5),
                (Quantity::NodeStolenSeconds, 2.0)
            ]
        );
        assert_eq!(cpu("intr 1"), []);
    }

    #[test]
    fn memory_that_caches_hold_is_free() {
        let meminfo = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n";
        assert_eq!(memory(meminfo), [(Quantity::NodeMemory, 409_600.0)]);
        assert_eq!(memory("MemTotal: 1 kB\n"), []);
    }

    #[test]
    fn this_machine_tells_all_of_it() {
        let told: Vec<_> = read().into_iter().map(|(quantity, _)| quantity).collect();
        assert_eq!(
            told,
            [
                Quantity::NodeCpuSeconds,
                Quantity::NodeStolenSeconds,
                Quantity::NodeMemory
            ]
        );
    }
}
