//! What the kernel writes, as recorded, and what is made of it.
use super::*;

const NETWORK: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 4311543    2128    0    0    0     0          0         0  4311543    2128    0    0    0     0       0          0
  eth0: 1347238722   82037    0    0    0     0          0         0  6467274   60147    0    0    0     0       0          0
  eth1:     100       1    0    0    0     0          0         0       50       1    0    0    0     0       0          0
";

/// A machine with these files below `cgroups` and this `/proc/self/cgroup`.
fn usage(files: &[(&str, &str)], own: &str) -> Usage {
    let folder = tempfile::tempdir().unwrap();
    let process = folder.path().join("process");
    fs::create_dir_all(process.join("net")).unwrap();
    fs::write(process.join("cgroup"), own).unwrap();
    fs::write(process.join("net/dev"), NETWORK).unwrap();
    let cgroups = folder.path().join("cgroups");
    for (path, text) in files {
        let path = cgroups.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Container::at(cgroups, process).usage()
}

#[test]
fn version_2_tells_everything() {
    let found = usage(
        &[
            ("cgroup.controllers", "cpu io memory\n"),
            (
                "cpu.stat",
                "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_periods 40\nnr_throttled 4\nthrottled_usec 750000\n",
            ),
            ("cpu.max", "150000 100000\n"),
            ("memory.current", "1000000\n"),
            (
                "memory.stat",
                "anon 700000\nfile 300000\ninactive_file 200000\n",
            ),
            ("memory.max", "2000000\n"),
            (
                "io.stat",
                "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1 dbytes=0 dios=0\n",
            ),
        ],
        "0::/\n",
    );
    let expected = Usage {
        cpu_seconds: Some(2.5),
        cpu_limit: Some(1.5),
        throttling: Some(Throttling {
            periods: 40.0,
            throttled_periods: 4.0,
            throttled_seconds: 0.75,
        }),
        memory: Some(800_000.0),
        memory_limit: Some(2_000_000.0),
        disk: Some((101.0, 22.0)),
        network: Some((1_347_238_822.0, 6_467_324.0)),
    };
    assert_eq!(found, expected);
    assert_eq!(series(&expected).len(), 11);
}

#[test]
fn version_1_is_found_beside_version_2_and_with_cpu_and_cpuacct_in_one_folder() {
    for (cpu, accounting) in [("cpu", "cpuacct"), ("cpu,cpuacct", "cpu,cpuacct")] {
        let found = usage(
            &[
                ("unified/cgroup.controllers", "\n"),
                (
                    &format!("{cpu}/cpu.stat"),
                    "nr_periods 10\nnr_throttled 5\nthrottled_time 1500000000\n",
                ),
                (&format!("{cpu}/cpu.cfs_quota_us"), "50000\n"),
                (&format!("{cpu}/cpu.cfs_period_us"), "100000\n"),
                (&format!("{accounting}/cpuacct.usage"), "3000000000\n"),
                ("memory/memory.usage_in_bytes", "500\n"),
                (
                    "memory/memory.stat",
                    "inactive_file 1\ntotal_inactive_file 100\n",
                ),
                ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
                (
                    "blkio/blkio.throttle.io_service_bytes",
                    "8:0 Read 7\n8:0 Write 9\n8:0 Sync 16\n8:0 Total 16\nTotal 16\n",
                ),
            ],
            "4:memory:/kubepods/pod1\n2:cpuacct:/\n1:cpu:/\n0::/\n",
        );
        assert_eq!(found.cpu_seconds, Some(3.0), "{cpu}");
        assert_eq!(found.cpu_limit, Some(0.5));
        let throttled = found.throttling.map(|found| found.throttled_seconds);
        assert_eq!(throttled, Some(1.5));
        assert_eq!((found.memory, found.memory_limit), (Some(400.0), None));
        assert_eq!(found.disk, Some((7.0, 9.0)));
    }
}

#[test]
fn outside_a_container_the_processs_own_cgroup_counts() {
    let found = usage(
        &[
            ("memory/memory.usage_in_bytes", "900\n"),
            ("memory/work/memory.usage_in_bytes", "30\n"),
        ],
        "4:memory:/work\n",
    );
    assert_eq!(found.memory, Some(30.0));
}

#[test]
fn without_limits_and_files_there_are_no_series() {
    let found = usage(
        &[
            ("cgroup.controllers", "cpu memory\n"),
            ("cpu.max", "max 100000\n"),
            ("memory.max", "max\n"),
        ],
        "0::/\n",
    );
    let only_network = Usage {
        network: found.network,
        ..Usage::default()
    };
    assert_eq!(found, only_network);
    assert_eq!(series(&Usage::default()), []);
}
