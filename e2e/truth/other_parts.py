"""The parts that need others: a server that others wrote, and two other tools."""

import json
import math
import statistics
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import clients
import servers
from clients import Load, Seen, Tools, candlepower
from processes import Server, on_cores, run
from servers import Law, Own
from tables import difference, milliseconds, seconds, table

TOKENS = 32  # of each answer
PROMPT = 64
# What the mock server is told, and by how many users it is asked.
LAWS = (Law(100, 10), Law(400, 40), Law(200, 20, 40, 5))
USERS = (1, 8)
Z95 = 1.6449  # of the normal distribution


def stranger(tools: Tools, server_core: int, span: int) -> dict[str, Any]:
    """guidellm's mock server: what it was told, what it did by its own clock, and what was measured."""
    rows = []
    for law in LAWS:
        for users in USERS:
            rows.append(one_law(tools, server_core, law, users, span))
            print(f"\n{title(law, users)}\n")
            print(table(["figure", "set", "the server, by its own clock", "candlepower", "to the server's clock", "to what was set",
                         "plain client"], law_cells(rows[-1])))  # fmt: skip
    return {"laws": rows, "missed": [off for row in rows for off in apart(row)]}


def apart(row: dict[str, Any]) -> list[str]:
    """Medians that are further from the server's own clock than 2 % and 1 ms, and a rate by more than 1 %. The highest percentiles
    of a few answers are not judged: one more or less in the window moves them."""
    found, seen, did = [], row["candlepower"], row["server"]
    law = title(Law(**row["law"]), row["users"])
    for latency in ("ttft", "tpot"):
        measured, truth = seen[latency]["p50"], did[f"{latency}_p50"]
        if abs(measured - truth) > max(1.0, 0.02 * truth):
            found.append(f"{law}: {latency.upper()} P50 is {measured:.2f} ms, and by the server's clock {truth:.2f} ms")
    measured, truth = seen["tokens_per_second"], did["tokens_per_second"]
    if abs(measured - truth) > 0.01 * truth:
        found.append(f"{law}: {measured:.1f} tokens/s, and by the server's clock {truth:.1f}")
    return found


def title(law: Law, users: int) -> str:
    spread = f" ± {law.first_spread:g}" if law.first_spread else "", f" ± {law.each_spread:g}" if law.each_spread else ""
    return f"TTFT {law.first:g}{spread[0]} ms, ITL {law.each:g}{spread[1]} ms, {users} user{'s' * (users > 1)}"


def one_law(tools: Tools, core: int, law: Law, users: int, span: int) -> dict[str, Any]:
    log = tools.logs / "mock-times.jsonl"
    with closing(servers.mock_server(tools, core, law, TOKENS, log)) as server:
        load = Load(f"http://{server.address}", servers.NAME, users, PROMPT, TOKENS, span, 1)
        seen = candlepower(tools, load)
        lines = servers.mock_log(log)
        did = servers.of_times(lines, TOKENS, 1e3)
    plain = plain_client(tools, core, law, span) if users == 1 else None
    # The mean of TOKENS - 1 gaps spreads less than one gap.
    spread = law.each_spread / math.sqrt(TOKENS - 1)
    return {
        "law": vars(law),
        "users": users,
        "set": {
            "ttft_p50": law.first,
            "ttft_p95": law.first + Z95 * law.first_spread,
            "tpot_p50": law.each,
            "tpot_p95": law.each + Z95 * spread,
            "tokens_per_second": 1e3 * users * TOKENS / (law.first + (TOKENS - 1) * law.each),
        },
        "server": flat(did) | {"tokens_per_second": servers.tokens_per_second(lines, TOKENS, span)},
        "candlepower": seen.as_json(),
        "plain": plain,
    }


def plain_client(tools: Tools, core: int, law: Law, span: int) -> dict[str, float]:
    """Against the mock server as it comes, without the log."""
    with closing(servers.mock_server(tools, core, law, TOKENS, None)) as server:
        script = str(Path(__file__).with_name("plain_client.py"))
        command = [sys.executable, script, server.address, servers.NAME, str(TOKENS), str(span)]
        seen = json.loads(run(on_cores([tools.core], command), tools.logs / "plain_client.log"))
    first, each = ([one[place] for one in seen] for place in (0, 1))
    names = ("ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95")
    values = [servers.percentile(values, share) for values in (first, each) for share in (0.5, 0.95)]
    return dict(zip(names, values, strict=True))


def flat(own: Own) -> dict[str, float]:
    return {"ttft_p50": own.ttft.p50, "ttft_p95": own.ttft.p95, "tpot_p50": own.tpot.p50, "tpot_p95": own.tpot.p95}


def law_cells(row: dict[str, Any]) -> list[list[str]]:
    seen, cells = row["candlepower"], []
    for name, shown in (("ttft_p50", "TTFT P50"), ("ttft_p95", "TTFT P95"), ("tpot_p50", "TPOT P50"), ("tpot_p95", "TPOT P95")):
        latency, rank = name.split("_")
        wanted, did, measured = row["set"][name], row["server"][name], seen[latency][rank]
        plain = milliseconds(row["plain"][name]) if row["plain"] else ""
        cells.append([shown, milliseconds(wanted), milliseconds(did), milliseconds(measured), difference(measured, did),
                      difference(measured, wanted), plain])  # fmt: skip
    wanted, did, measured = (of["tokens_per_second"] for of in (row["set"], row["server"], seen))
    cells.append(["tokens/s", f"{wanted:.1f}", f"{did:.1f}", f"{measured:.1f}", difference(measured, did), difference(measured, wanted), ""])
    return cells


def tools_together(
    tools: Tools, server_core: int, model: Path, names: list[str], users: list[int], rounds: int, span: int
) -> dict[str, Any]:
    """The three tools in turn, each with a server that was just started, so that no cache helps the next."""
    cells = []
    for name in names:
        for count in users:
            cells.append(one_cell(tools, server_core, model, name, count, rounds, span))
            show_cell(cells[-1])
    return {"cells": cells, "prompt_tokens": PROMPT, "output_tokens": TOKENS, "seconds": span}


def start(tools: Tools, core: int, model: Path, name: str, users: int) -> Server:
    if name == "stand-in":
        return servers.stand_in(tools, core, Law(80, 10, 0, 0.5))
    return servers.own_server(tools, core, model, users)


def one_cell(
    tools: Tools, core: int, model: Path, name: str, users: int, rounds: int, span: int
) -> dict[str, Any]:
    taken: dict[str, list[dict[str, Any]]] = {}
    # Others count a prompt's tokens without the chat template, so ours has to be told how many it had.
    prompt = PROMPT
    # Whether users begin together matters only to a server that computes their prompts together.
    order = [tool for tool in clients.EVERY if tool is not clients.in_turn or name != "stand-in"]
    for number in range(rounds):
        turn = number % len(order)
        for tool in order[turn:] + order[:turn]:
            with closing(start(tools, core, model, name, users)) as server:
                watch = servers.Watch(server) if name != "stand-in" else None
                served = "stand-in" if name == "stand-in" else servers.NAME
                own_prompt = prompt if tool in clients.OURS else PROMPT
                load = Load(f"http://{server.address}", served, users, own_prompt, TOKENS, span, number + 1)
                seen = tool(tools, load)
                own = watch.own(seen.window) if watch else servers.of_times(servers.stand_in_log(server), TOKENS, 1e-3)
            if own.prompt_tokens and tool not in clients.OURS:
                prompt = round(own.prompt_tokens)
            taken.setdefault(seen.tool, []).append(judged(seen, own))
            done = f"{seen.tool} done in {seen.wall_seconds:.0f} s"
            print(f"  {name}, {users} users, round {number + 1}: {done}", file=sys.stderr, flush=True)
    return {"server": name, "users": users, "rounds": rounds, "tools": taken}


def judged(seen: Seen, own: Own) -> dict[str, Any]:
    server = {"ttft_mean": own.ttft_mean, "tpot_mean": own.tpot_mean, "requests": own.requests, "body_p95": own.body_p95}
    return seen.as_json() | {"own": server | {"prompt_tokens": own.prompt_tokens} | (flat(own) if own.ttft else {})}


FIGURES = (("ttft", "p50"), ("ttft", "p95"), ("tpot", "p50"), ("tpot", "p95"))


def median(rounds: list[dict[str, Any]], *path: str) -> float:
    values = []
    for one in rounds:
        for name in path:
            one = one[name]
        values.append(one)
    return statistics.median(values)


def show_cell(cell: dict[str, Any]) -> None:
    print(f"\n{cell['server']}, {cell['users']} users, medians of {cell['rounds']} rounds\n")
    names = ["candlepower", "guidellm", "aiperf"]
    taken, rows = cell["tools"], []
    every = [*names, *(name for name in taken if name not in names)]
    for latency, rank in FIGURES:
        values = [median(taken[name], latency, rank) for name in names]
        apart = (difference(values[0], other) for other in values[1:])
        rows.append([f"{latency.upper()} {rank.upper()}", *map(milliseconds, values), *apart])
    print(table(["figure", *names, "candlepower to guidellm", "candlepower to aiperf"], rows))
    print("\nEach beside the server's own account of the same requests, and what it cost:\n")
    print(table(["tool", *server_head(cell), "requests a second", "in flight", "prompt tokens", "CPU", "wall"],
                [tool_cells(name, taken[name], cell) for name in every]))  # fmt: skip
    if clients.IN_TURN in taken:
        print("\nDoes it matter that users begin together?\n")
        pair = ("candlepower", clients.IN_TURN)
        rows = [[f"{latency.upper()} {rank.upper()}", *(milliseconds(median(taken[name], latency, rank)) for name in pair)]
                for latency, rank in FIGURES]  # fmt: skip
        print(table(["figure", "users begin together", "one after the other"], rows))


    print(f"\n{by_formula(taken['guidellm'])}")


def by_formula(rounds: list[dict[str, Any]]) -> str:
    """What guidellm calls TPOT has the first token in it; its ITL is what everybody else calls TPOT."""
    tokens = median(rounds, "tokens_per_second") / median(rounds, "requests_per_second")
    own, first, each = (median(rounds, *path) for path in (("other_tpot_mean",), ("ttft", "mean"), ("tpot", "mean")))
    wanted = (first + (tokens - 1) * each) / tokens
    return (
        f"guidellm's own TPOT is {milliseconds(own)}; (TTFT + ITL × (n - 1)) / n, with its means of {milliseconds(first)} and"
        f" {milliseconds(each)} and n = {tokens:.1f}, is {milliseconds(wanted)}."
    )


def server_head(cell: dict[str, Any]) -> list[str]:
    if cell["server"] == "stand-in":
        return ["server's TTFT P95", "head to body P95", *(f"{latency.upper()} {rank.upper()} over the server's" for latency, rank in FIGURES)]
    return ["TTFT mean over the server's", "TPOT mean over the server's"]


def tool_cells(name: str, rounds: list[dict[str, Any]], cell: dict[str, Any]) -> list[str]:
    pairs = [(latency, "mean") for latency in ("ttft", "tpot")] if cell["server"] != "stand-in" else FIGURES
    against = []
    if cell["server"] == "stand-in":
        against = [milliseconds(median(rounds, "own", name)) for name in ("ttft_p95", "body_p95")]
    for latency, rank in pairs:
        over = [one[latency][rank] - one["own"][f"{latency}_{rank}"] for one in rounds]
        share = [one[latency][rank] / one["own"][f"{latency}_{rank}"] - 1 for one in rounds]
        against.append(f"{statistics.median(over):+.2f} ms ({statistics.median(share):+.1%})")
    prompts = rounds[0]["own"]["prompt_tokens"]
    return [
        name,
        *against,
        f"{median(rounds, 'requests_per_second'):.2f}",
        f"{median(rounds, 'in_flight'):.2f}",
        f"{median(rounds, 'own', 'prompt_tokens'):.1f}" if prompts else f"{PROMPT}",
        seconds(median(rounds, "cpu_seconds")),
        seconds(median(rounds, "wall_seconds")),
    ]
