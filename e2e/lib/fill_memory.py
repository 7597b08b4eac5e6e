"""Joins the control group of a process and takes memory there, until the kernel ends that process for lack of it.

usage: fill_memory.py PID
"""

import os
import sys
from pathlib import Path

STEP = 1 << 20


def memory_group(pid: int) -> Path:
    """The folder of the process's control group that limits memory, of either version of control groups."""
    groups = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, controllers, path in groups:
        if "memory" in controllers.split(","):
            return Path(f"/sys/fs/cgroup/memory{path}")
    return next(Path(f"/sys/fs/cgroup{path}") for number, _, path in groups if number == "0")


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def limit(group: Path) -> int:
    name = next(name for name in ("memory.max", "memory.limit_in_bytes") if (group / name).exists())
    return int((group / name).read_text())


def main() -> None:
    pid = int(sys.argv[1])
    group = memory_group(pid)
    # The kernel is to end the other one, as it would have if that had taken the memory.
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    most = limit(group)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    taken = []
    while runs(pid):
        if len(taken) * STEP > most:
            sys.exit(f"error: {most} bytes were taken, which is all that {group} has, and the process still runs")
        taken.append(b"x" * STEP)


if __name__ == "__main__":
    main()
