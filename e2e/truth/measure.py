"""Measures whether the load generator's figures are true, prints tables and writes a JSON file.

It is called by e2e/truth/run, which has built and fetched what it needs.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import clients
import other_parts
import own_parts
from clients import Tools
from processes import Failed, cores, end_with_this_process
from tables import rounded

PARTS = ("log", "generator", "stranger", "tools")
SERVERS = ("stand-in", "candlepower-server")


def arguments() -> argparse.Namespace:
    about = "Measures whether the load generator's figures are true."
    parser = argparse.ArgumentParser(prog="e2e/truth/run", description=about)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {' '.join(PARTS)} (all of them)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the three tools (%(default)s)")
    parser.add_argument("--users", type=int, nargs="+", default=[4, 16], help="numbers of users of the three tools")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), help="which servers they load")
    parser.add_argument("--seconds", type=int, default=15, help="how long a tool measures (%(default)s)")
    for name in ("release", "model", "guidellm", "aiperf", "tokenizer", "logs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {' '.join(sorted(unknown))}; there are: {' '.join(PARTS)}")
    return options


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line]
    described = {name.strip(): value.strip() for name, value in lines}
    flags = described.get("flags", "").split()
    return {
        "cpu": described.get("model name", platform.machine()),
        "vectors": next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "none"),
        "cores": len(cores()),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "linux": platform.release(),
    }


def versions(options: argparse.Namespace) -> dict[str, str]:
    """Of what was compared."""
    root = Path(__file__).parents[2]
    commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True)
    found = {"candlepower": commit.stdout.strip() or "unknown"}
    for name in ("guidellm", "aiperf"):
        pins = Path(__file__).with_name(f"{name}.txt").read_text().splitlines()
        found[name] = next(pin.split("==")[1] for pin in pins if pin.startswith(f"{name}=="))
    return found


def measure(part: str, options: argparse.Namespace, tools: Tools, server_core: int) -> dict[str, Any]:
    if part == "log":
        return own_parts.log(tools)
    if part == "generator":
        return own_parts.generator(tools, server_core)
    if part == "stranger":
        return other_parts.stranger(tools, server_core, options.seconds)
    return other_parts.tools_together(
        tools, server_core, options.model, options.servers, options.users, options.rounds, options.seconds
    )


def joined(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    """With the cells of other servers and numbers of users, which may be measured one at a time."""
    if not before or "cells" not in now:
        return now
    new = {(cell["server"], cell["users"]) for cell in now["cells"]}
    old = [cell for cell in before["cells"] if (cell["server"], cell["users"]) not in new]
    return now | {"cells": [*old, *now["cells"]]}


def main() -> None:
    options = arguments()
    end_with_this_process()
    clients.own_environment()
    usable = cores()
    if len(usable) < 2:
        raise Failed("there is one core only, but server and client need one each: use a machine with two or more")
    tools = Tools(options.release, options.guidellm, options.aiperf, options.tokenizer, options.logs, usable[-1])
    options.logs.mkdir(parents=True, exist_ok=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    about = {"machine": machine(), "versions": versions(options)}
    print(f"{about['machine']}; {about['versions']}")
    # Parts that are measured one at a time go into the same file.
    kept = json.loads(options.out.read_text()) if options.parts and options.out.exists() else {}
    missed = []
    for part in options.parts or PARTS:
        print(f"\n== {part}", flush=True)
        content = {**about, **measure(part, options, tools, usable[0])}
        missed += [f"{part}: {what}" for what in content.get("missed", [])]
        kept[part] = joined(kept.get(part), rounded(content))
        options.out.write_text(json.dumps(kept, indent=2) + "\n")
    print(f"\nalso in {options.out}")
    if missed:
        raise Failed("these are further off than they may be:\n  " + "\n  ".join(missed))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
