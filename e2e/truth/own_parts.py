"""The parts that need no other tool: figures beside the stand-in's log, and what the load generator itself costs."""

import json
import time
from contextlib import closing
from typing import Any

from clients import Tools
from processes import Server, free_port, on_cores, run
from servers import cpu_seconds
from tables import difference, milliseconds, table

PER_TOKEN = 20  # milliseconds: 2,000 streams are 100,000 tokens/s
# How many streams, and how many tokens the server sends at once: 100,000 sends a second are more than its core can do.
LEVELS = ((500, 1), (1000, 1), (2000, 1), (2000, 2), (2000, 4))
SECONDS = 24
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
    return {"loads": measured}


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
    for streams, at_once in LEVELS:
        port = free_port()
        command = [str(tools.release / "examples/stand_in_server"), "--port", str(port), "--per-token", f"{PER_TOKEN}ms"]
        command += ["--at-once", str(at_once)]
        with closing(Server("stand-in", on_cores([server_core], command), port, tools.logs / "stand-in.log", "/health")) as server:
            rows.append({"at_once": at_once, **one_level(tools, server, streams)})
    print()
    print(table(["streams", "tokens at once", "tokens/s wanted", "tokens/s", "generator, of a core", "server, of a core", "memory",
                 "timer lag P99", "problems"], [level_cells(row) for row in rows]))  # fmt: skip
    return {"levels": rows, "goal": GOAL}


def one_level(tools: Tools, server: Server, streams: int) -> dict[str, Any]:
    before, began = cpu_seconds(server), time.monotonic()
    command = [str(tools.release / "examples/load_cost"), f"http://{server.address}", "--json"]
    command += ["--streams", str(streams), "--duration", f"{SECONDS}s"]
    cost = json.loads(run(on_cores([tools.core], command), tools.logs / "load_cost.log"))
    server_share = (cpu_seconds(server) - before) / (time.monotonic() - began)
    figures, health = cost["figures"], cost["generator"]
    return {
        "streams": streams,
        "wanted": streams * 1000 / PER_TOKEN,
        "tokens_per_second": figures["outputTokensPerSecond"],
        "failed": figures["failed"],
        "generator_cores": health["cpuCores"],
        "server_cores": server_share,
        "memory_mib": health["peakMemory"] / (1 << 20),
        "timer_lag_p99_ms": health["timerLagP99"] / 1e3,
        "itl_p50_ms": figures["itl"]["p50"] / 1e3,
        "itl_p99_ms": figures["itl"]["p99"] / 1e3,
        "problems": cost["problems"],
    }


def level_cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['streams']:,}",
        str(row["at_once"]),
        f"{row['wanted']:,.0f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['generator_cores']:.0%}",
        f"{row['server_cores']:.0%}",
        f"{row['memory_mib']:.0f} MiB",
        f"{row['timer_lag_p99_ms']:.1f} ms",
        problems(row["problems"]),
    ]
