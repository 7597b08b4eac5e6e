//! What the container uses, read from its cgroup (version 2, version 1 or a mixture) and its
//! network at each scrape. A file that is missing means a series that is missing.
use super::family::{counters, gauges};
use candlepower_api::names::metrics as names;
use prometheus::proto::MetricFamily;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Version 1 writes a number near 2^63 where there is no limit.
const NO_LIMIT: f64 = 4e18;

/// Where the container's figures are.
#[derive(Debug)]
pub struct Container {
    cgroups: PathBuf,
    process: PathBuf,
}

/// What the container uses; nothing where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    cpu_seconds: Option<f64>,
    cpu_limit: Option<f64>,
    throttling: Option<Throttling>,
    memory: Option<f64>,
    memory_limit: Option<f64>,
    disk: Option<(f64, f64)>,
    network: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Throttling {
    periods: f64,
    throttled_periods: f64,
    throttled_seconds: f64,
}

impl Default for Container {
    /// This process's own.
    fn default() -> Self {
        Self::at("/sys/fs/cgroup", "/proc/self")
    }
}

impl Container {
    /// Figures below other folders.
    pub fn at(cgroups: impl Into<PathBuf>, process: impl Into<PathBuf>) -> Self {
        Self {
            cgroups: cgroups.into(),
            process: process.into(),
        }
    }

    /// The series at this moment.
    pub fn families(&self) -> Vec<MetricFamily> {
        series(&self.usage())
    }

    fn usage(&self) -> Usage {
        let own = fs::read_to_string(self.process.join("cgroup")).unwrap_or_default();
        let network = fs::read_to_string(self.process.join("net/dev"));
        let mut usage = self.version_2(&own).unwrap_or_else(|| self.version_1(&own));
        usage.network = network.ok().map(|text| network_bytes(&text));
        usage
    }

    /// Nothing where version 2 does not manage resources here.
    fn version_2(&self, own: &str) -> Option<Usage> {
        let folder = self.folder(&[""], own_path(own, ""))?;
        let read = |file| fs::read_to_string(folder.join(file)).ok();
        if !folder.join("cgroup.controllers").exists() {
            return None;
        }
        let cpu = read("cpu.stat").unwrap_or_default();
        let memory = read("memory.stat").unwrap_or_default();
        Some(Usage {
            cpu_seconds: field(&cpu, "usage_usec").map(|micros| micros / 1e6),
            cpu_limit: read("cpu.max").and_then(|text| quota_v2(&text)),
            throttling: throttling(&cpu, "throttled_usec", 1e6),
            memory: read("memory.current")
                .and_then(|text| working_set(&text, field(&memory, "inactive_file"))),
            memory_limit: read("memory.max").and_then(|text| limit(&text)),
            disk: read("io.stat").map(|text| disk_v2(&text)),
            network: None,
        })
    }

    fn version_1(&self, own: &str) -> Usage {
        let read = |folders: &[&str], controller, file: &str| {
            let folder = self.folder(folders, own_path(own, controller))?;
            fs::read_to_string(folder.join(file)).ok()
        };
        let cpu = |file| read(&["cpu", "cpu,cpuacct", "cpuacct,cpu"], "cpu", file);
        let memory = |file| read(&["memory"], "memory", file);
        let inactive = memory("memory.stat").and_then(|text| field(&text, "total_inactive_file"));
        Usage {
            cpu_seconds: read(
                &["cpuacct", "cpu,cpuacct", "cpuacct,cpu"],
                "cpuacct",
                "cpuacct.usage",
            )
            .and_then(|text| number(&text))
            .map(|nanos| nanos / 1e9),
            cpu_limit: quota_v1(cpu("cpu.cfs_quota_us"), cpu("cpu.cfs_period_us")),
            throttling: cpu("cpu.stat").and_then(|text| throttling(&text, "throttled_time", 1e9)),
            memory: memory("memory.usage_in_bytes").and_then(|text| working_set(&text, inactive)),
            memory_limit: memory("memory.limit_in_bytes").and_then(|text| limit(&text)),
            disk: read(&["blkio"], "blkio", "blkio.throttle.io_service_bytes")
                .map(|text| disk_v1(&text)),
            network: None,
        }
    }

    /// The first of `names` that exists; within it the process's own cgroup, if that is visible.
    /// In a container it is not: there the mount itself is the container's cgroup.
    fn folder(&self, names: &[&str], own: Option<&str>) -> Option<PathBuf> {
        let folder = names
            .iter()
            .map(|name| self.cgroups.join(name))
            .find(|folder| folder.is_dir())?;
        let inner = own.map(|path| folder.join(path.trim_start_matches('/')));
        Some(inner.filter(|inner| inner.is_dir()).unwrap_or(folder))
    }
}

/// The process's path in the hierarchy of `controller`; the empty one is version 2's.
fn own_path<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        (controllers.split(',').any(|name| name == controller) && Path::new(path).is_absolute())
            .then_some(path)
    })
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// The number behind `name` in lines of name and number.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

fn throttling(stat: &str, time: &str, per_second: f64) -> Option<Throttling> {
    Some(Throttling {
        periods: field(stat, "nr_periods")?,
        throttled_periods: field(stat, "nr_throttled")?,
        throttled_seconds: field(stat, time)? / per_second,
    })
}

/// `50000 100000` is half a core, `max 100000` no limit.
fn quota_v2(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(number(quota)? / number(period)?)
}

/// A quota of -1 is no limit.
fn quota_v1(quota: Option<String>, period: Option<String>) -> Option<f64> {
    let quota = number(&quota?)?;
    let period = number(&period?)?;
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// As kubelet: file pages that were not used lately do not count.
fn working_set(usage: &str, inactive_file: Option<f64>) -> Option<f64> {
    Some((number(usage)? - inactive_file.unwrap_or(0.0)).max(0.0))
}

fn limit(text: &str) -> Option<f64> {
    number(text).filter(|bytes| *bytes < NO_LIMIT)
}

/// Bytes read and written, over all devices: `8:0 rbytes=1 wbytes=2 …`.
fn disk_v2(text: &str) -> (f64, f64) {
    let sum = |prefix| {
        text.split_whitespace()
            .filter_map(|word| number(word.strip_prefix(prefix)?))
            .sum()
    };
    (sum("rbytes="), sum("wbytes="))
}

/// Bytes read and written, over all devices: `8:0 Read 1`.
fn disk_v1(text: &str) -> (f64, f64) {
    let sum = |direction| {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1);
                (words.next()? == direction).then(|| number(words.next()?))?
            })
            .sum()
    };
    (sum("Read"), sum("Write"))
}

/// Bytes received and sent by all interfaces but the loopback.
fn network_bytes(text: &str) -> (f64, f64) {
    let interfaces = text.lines().filter_map(|line| {
        let (name, figures) = line.split_once(':')?;
        let figures: Vec<_> = figures.split_whitespace().collect();
        (name.trim() != "lo").then_some(())?;
        Some((number(figures.first()?)?, number(figures.get(8)?)?))
    });
    interfaces.fold((0.0, 0.0), |sum, (received, sent)| {
        (sum.0 + received, sum.1 + sent)
    })
}

fn series(usage: &Usage) -> Vec<MetricFamily> {
    let one = |value: Option<f64>| value.map(|value| (Vec::new(), value)).into_iter().collect();
    let throttling = |pick: fn(Throttling) -> f64| usage.throttling.map(pick);
    let (network, disk) = (usage.network, usage.disk);
    [
        counters(
            names::CONTAINER_CPU_SECONDS,
            "CPU time of the container.",
            one(usage.cpu_seconds),
        ),
        gauges(
            names::CONTAINER_CPU_LIMIT,
            "Cores that the container may use.",
            one(usage.cpu_limit),
        ),
        counters(
            names::CONTAINER_CPU_PERIODS,
            "Scheduler periods in which the container had work to do.",
            one(throttling(|found| found.periods)),
        ),
        counters(
            names::CONTAINER_CPU_THROTTLED_PERIODS,
            "Periods in which the container used up its CPU quota.",
            one(throttling(|found| found.throttled_periods)),
        ),
        counters(
            names::CONTAINER_CPU_THROTTLED_SECONDS,
            "Time that threads stood still because the CPU quota was used up.",
            one(throttling(|found| found.throttled_seconds)),
        ),
        gauges(
            names::CONTAINER_MEMORY,
            "Working set: usage - inactive file pages.",
            one(usage.memory),
        ),
        gauges(
            names::CONTAINER_MEMORY_LIMIT,
            "Memory that the container may use.",
            one(usage.memory_limit),
        ),
        counters(
            names::CONTAINER_NETWORK_RECEIVED,
            "Bytes received by the pod's network, without loopback.",
            one(network.map(|bytes| bytes.0)),
        ),
        counters(
            names::CONTAINER_NETWORK_SENT,
            "Bytes sent by the pod's network, without loopback.",
            one(network.map(|bytes| bytes.1)),
        ),
        counters(
            names::CONTAINER_DISK_READ,
            "Bytes read from disks.",
            one(disk.map(|bytes| bytes.0)),
        ),
        counters(
            names::CONTAINER_DISK_WRITTEN,
            "Bytes written to disks.",
            one(disk.map(|bytes| bytes.1)),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
