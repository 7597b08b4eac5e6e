"""Runs of the tests. Two may go on beside each other on one cluster, so each marks what it makes, and leaves alone what belongs
to another that is alive. Runs are on one machine, so that a run is known by its process."""

import os
from pathlib import Path

LABEL = "candlepower.dev/e2e-run"


def started(process: str) -> str:
    """When a process was started, in the kernel's ticks; empty where there is none."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    # Behind the command's name, which may hold spaces and parentheses.
    return stat.rpartition(")")[2].split()[19]


def is_alive(run: str) -> bool:
    """Whether the process of a run is still there. Its id alone may be another's by now."""
    process, _, since = run.partition("-")
    return since != "" and started(process) == since


# Of the process that was started by hand. Its workers inherit the variable.
THIS = os.environ.setdefault("CANDLEPOWER_E2E_RUN", f"{os.getpid()}-{started(str(os.getpid()))}")
