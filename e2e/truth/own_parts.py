"""The parts that need no other tool: figures beside the stand-in's log, and what the load generator itself costs."""

import json
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from clients import Tools
from processes import Server, free_port, on_cores, run
from servers import cpu_seconds
from tables import difference, milliseconds, table

PER_TOKEN = 20  # milliseconds: 2,000 streams are 100,000 tokens/s
SECONDS = 24
# How many streams, and how many tokens the server sends at once (100,000 sends a second are more than the cores of some
# machines can do), for how long: records take memory with every token.
LEVELS = ((500, 1, SECONDS), (1000, 1, SECONDS), (2000, 1, SECONDS), (2000, 2, SECONDS), (2000, 4, SECONDS), (2000, 4, 5 * SECONDS))
GOAL = {"streams": 2000, "tokens_per_second": 100_000, "memory_mib": 200}


def log(tools: Tools) -> dict[str, Any]:
    """Every figure of a run beside what the server's log says it was."""
    command = [str(tools.release / "examples/truth_table"), "--duration", "30s"]
    measured = [json.loads(line) for line in run(command, tools.logs / "truth_table.log").splitlines()]
    for load in measured:
        print(f"\n{load['load']}: {load['requests']} requests; problems of the load generator: {problems(load['problems'])}\n")
        print(table(["figure", "measured", "true", "difference"], [row_cells(row) for row in load["rows"]]))
        print("\nShares of the critical path, by the analysis and by the log:\n")
        print(table(["operation", "analysis", "true", "difference"], [row_cells(row) for row in load["shares"]]))
    missed = [f"{load['load']}: {off}" for load in measured for off in load["off"]]
    return {"loads": measured, "missed": missed}


def row_cells(row: dict[str, Any]) -> list[str]:
    measured, truth = row["measured"], row["truth"]
    if row["unit"] == "share":
        return [row["what"], f"{measured:.2%}", f"{truth:.2%}", f"{(measured - truth) * 100:+.3f} points"]
    shown = milliseconds if row["unit"] == "micros" else lambda rate: f"{rate:.2f} a second"
    scale = 1e3 if row["unit"] == "micros" else 1
    return [row["what"], shown(measured / scale), shown(truth / scale), difference(measured, truth)]


def problems(found: list[str]) -> str:
    return "; ".join(found) or "none"


def generator(tools: Tools, server_core: int) -> dict[str, Any]:
    """How many streams one core holds, and which side gives way first."""
    rows = []
    for streams, at_once, span in LEVELS:
        port = free_port()
        command = [str(tools.release / "examples/stand_in_server"), "--port", str(port), "--per-token", f"{PER_TOKEN}ms"]
        command += ["--at-once", str(at_once)]
        with closing(Server("stand-in", on_cores([server_core], command), port, tools.logs / "stand-in.log", "/health")) as server:
            rows.append({"at_once": at_once, **one_level(tools, server, streams, span)})
    print()
    print(table(["streams", "seconds", "tokens at once", "tokens/s wanted", "tokens/s", "generator, of a core", "server, of a core", "memory",
                 "timer lag P99", "problems"], [level_cells(row) for row in rows]))  # fmt: skip
    reached = [row for row in rows if row["streams"] >= GOAL["streams"] and reaches(row)]
    missed = [] if reached else [f"no level of {GOAL['streams']:,} streams reaches {GOAL} without a problem of the generator"]
    return {"levels": rows, "goal": GOAL, "missed": missed}


def reaches(row: dict[str, Any]) -> bool:
    """Within a hundredth of the goal's rate, for what the window's edges cut off."""
    fast = row["tokens_per_second"] >= 0.99 * GOAL["tokens_per_second"]
    return fast and row["memory_mib"] <= GOAL["memory_mib"] and not row["problems"]


def one_level(tools: Tools, server: Server, streams: int, seconds: int) -> dict[str, Any]:
    before, began = cpu_seconds(server), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(tools.release / "candlepower"), "bench", f"http://{server.address}", "--out", f"{folder}/run", "-o", "json"]
        command += ["--users", str(streams), "--spawn-rate", str(streams // 5), "--output-tokens", "500"]
        command += ["--duration", f"{seconds}s", "--warm-up", f"{SECONDS // 3}s", "--cool-down", "0s"]
        cost = json.loads(run(on_cores([tools.core], command), tools.logs / "generator.log"))["scenarios"][0]
        health = json.loads(Path(folder, "run/run.json").read_text())["scenarios"][0]["generator"]
    server_share = (cpu_seconds(server) - before) / (time.monotonic() - began)
    figures = cost["figures"]
    return {
        "streams": streams,
        "seconds": seconds,
        "wanted": streams * 1000 / PER_TOKEN,
        "tokens_per_second": figures["outputTokensPerSecond"],
        "failed": figures["failed"],
        "generator_cores": health["cpuCores"],
        "server_cores": server_share,
        "memory_mib": health["peakMemory"] / (1 << 20),
        "timer_lag_p99_ms": health["timerLagP99"] / 1e3,
        "itl_p50_ms": figures["itl"]["p50"] / 1e3,
        "itl_p99_ms": figures["itl"]["p99"] / 1e3,
        "problems": cost["generatorProblems"],
    }


def level_cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['streams']:,}",
        str(row["seconds"]),
        str(row["at_once"]),
        f"{row['wanted']:,.0f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['generator_cores']:.0%}",
        f"{row['server_cores']:.0%}",
        f"{row['memory_mib']:.0f} MiB",
        f"{row['timer_lag_p99_ms']:.1f} ms",
        problems(row["problems"]),
    ]
