"""Measures the engine and the server beside their peers in interleaved rounds, and writes a table and a JSON file.

It is called by e2e/perf/run, which has built and fetched what it needs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import engine_parts
import results
import server_parts
from engine_parts import Tools, Weights
from processes import Failed, cores, end_with_this_process
from results import Row

# In this order; each takes some minutes with five rounds.
PARTS = ("decode", "batch", "prefill", "context", "busy", "memory", "http", "fastapi")
FEWEST_ROUNDS = 5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="e2e/perf/run", description="Measures Candlepower beside its peers.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {' '.join(PARTS)} (all of them)")
    parser.add_argument("--rounds", type=int, default=FEWEST_ROUNDS, help="rounds of each comparison (%(default)s)")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="only these, such as smollm2-q8_0 1b-q4_0")
    parser.add_argument("--users", type=int, nargs="+", default=list(server_parts.USERS), help="numbers of users beside llama-server")
    parser.add_argument("--slow-users", type=int, nargs="+", default=[server_parts.SLOW_USERS], help="numbers of users beside FastAPI")
    parser.add_argument("--release", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--llama", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, required=True, action="append", help=argparse.SUPPRESS)
    parser.add_argument("--logs", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--about", type=json.loads, default={}, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {' '.join(sorted(unknown))}; there are: {' '.join(PARTS)}")
    return options


def models(options: argparse.Namespace) -> list[Weights]:
    """Every model, or those that were asked for."""
    paths = {path.stem: path for folder in options.weights for path in sorted(folder.glob("*.gguf"))}
    wanted = options.models or list(paths)
    missing = [name for name in wanted if name not in paths]
    if missing:
        raise Failed(f"there is no model {' '.join(missing)}; there are: {' '.join(paths)}")
    return [Weights.read(name, paths[name]) for name in wanted]


def rows(options: argparse.Namespace, tools: Tools) -> Iterator[Row]:
    """All rows of the parts that were asked for, as they come."""
    parts = set(options.parts or PARTS)
    every, rounds = models(options), options.rounds
    eight_bits = [weights for weights in every if weights.name.endswith("q8_0")] or every[:1]
    compared = parts & {"decode", "batch", "prefill"}
    if parts & {"decode", "batch", "prefill", "context"}:
        with closing(tools.machine()) as machine:
            if compared:
                yield from engine_parts.compare(tools, every, compared, rounds, machine)
            if "context" in parts:
                yield from engine_parts.context(tools, eight_bits, rounds, machine)
    if "busy" in parts:
        yield from engine_parts.busy(tools, eight_bits, rounds)
    if "memory" in parts:
        yield from server_parts.memory(tools, every)
    if parts & {"http", "fastapi"}:
        users = tuple(options.users) if "http" in parts else ()
        slow_users = tuple(options.slow_users) if "fastapi" in parts else ()
        python = Path(sys.executable)
        yield from server_parts.over_http(tools, python, eight_bits[0], rounds, users, slow_users)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    described = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    described = {name.strip(): value.strip() for name, value in described.items()}
    flags = described.get("flags", described.get("Features", "")).split()
    vectors = {"avx512_vnni": "AVX-512 VNNI", "avx2": "AVX2", "asimddp": "NEON with dot products"}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": described.get("model name", platform.machine()),
        "vectors": next((name for flag, name in vectors.items() if flag in flags), "none"),
        "cores": len(cores()),
        "memory_gib": round(memory / (1 << 30)),
        "linux": platform.release(),
    }


def versions(about: dict[str, Any]) -> dict[str, str]:
    """Of what was compared."""
    import torch
    import transformers

    root = Path(__file__).parents[2]
    commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True)
    own = commit.stdout.strip() or "unknown"
    return {"candlepower": own, **about, "transformers": transformers.__version__, "torch": torch.__version__}


def main() -> None:
    options = arguments()
    end_with_this_process()
    tools = Tools(options.release, options.llama, options.logs, len(cores()))
    about = {"machine": machine(), "threads": tools.threads, "versions": versions(options.about)}
    measured: list[Row] = []
    began = time.monotonic()
    for row in rows(options, tools):
        measured.append(row)
        print(f"{time.monotonic() - began:5.0f} s  {' | '.join(results.cells(row)[:6])}", file=sys.stderr, flush=True)
        results.write(options.out, measured, about | {"seconds": round(time.monotonic() - began)})
    missed = [row.name for row in measured if not row.reached()]
    print(f"\n{about['machine']}, {tools.threads} threads; {about['versions']}; {options.rounds} rounds\n")
    print(results.table(measured))
    print(f"\n{len(measured) - len(missed)} of {len(measured)} targets reached; also in {options.out}")
    if options.rounds < FEWEST_ROUNDS:
        print(f"fewer than {FEWEST_ROUNDS} rounds: a quick look, not a measurement")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
