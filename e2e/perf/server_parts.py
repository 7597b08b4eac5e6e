"""The parts that measure servers: over HTTP with several users, and the memory of a whole process."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from engine_parts import Tools, Weights
from processes import Failed, Server, cores, free_port, on_cores, run
from results import Row

NAME = "m"
TOKENS = 32  # of each answer
LONGEST = 256 + TOKENS
USERS = (10, 25, 50, 100)
FEWEST_REQUESTS = 20
SLOTS = 32
SLOW_USERS = 10
MIB = 1 << 20
OVERHEAD = 150 * MIB


@dataclass(frozen=True)
class Places:
    """Which cores are whose: the client has one of its own."""

    server: list[int]
    client: list[int]

    @classmethod
    def divide(cls) -> "Places":
        usable = cores()
        if len(usable) < 2:
            raise Failed("there is one core only, but server and client need one each: use a machine with two or more")
        return cls(usable[:-1], usable[-1:])


def our_server(tools: Tools, weights: Weights, places: Places | None, context: int, batch: int) -> Server:
    threads = len(places.server) if places else tools.threads
    port = free_port()
    command = [str(tools.ours / "candlepower-server"), "--model", str(weights.path), "--served-name", NAME]
    command += ["--host", "127.0.0.1", "--port", str(port), "--threads", str(threads), "--log-filter", "warn"]
    command += ["--max-context-length", str(context), "--max-batch-size", str(batch)]
    command = on_cores(places.server if places else None, command)
    return Server("candlepower-server", command, port, tools.logs / "candlepower-server.log", "/health/ready")


def llama_server(tools: Tools, weights: Weights, places: Places) -> Server:
    port, threads = free_port(), str(len(places.server))
    command = [str(tools.llama / "llama-server"), "-m", str(weights.path), "--host", "127.0.0.1", "--port", str(port)]
    command += ["-t", threads, "-tb", threads, "-np", str(SLOTS), "-c", str(SLOTS * (LONGEST + 32))]
    # No prompt comes twice, so that keeping earlier ones would only cost time.
    command += ["--cache-ram", "0", "--no-webui"]
    return Server("llama-server", on_cores(places.server, command), port, tools.logs / "llama-server.log", "/health")


def fastapi_server(tools: Tools, python: Path, weights: Weights, places: Places) -> Server:
    port = free_port()
    script = str(Path(__file__).with_name("fastapi_server.py"))
    command = [str(python), script, str(weights.path), str(port), str(len(places.server))]
    return Server("FastAPI + Transformers", on_cores(places.server, command), port, tools.logs / "fastapi.log", "/health")


@dataclass(frozen=True)
class Load:
    """What a number of users saw of a server."""

    tokens_per_second: float
    first_token_p95: float


def load(tools: Tools, server: Server, places: Places, users: int, seed: int) -> Load:
    """Puts load on a server: as many requests as users, but some for each where there are few users."""
    requests = max(users, FEWEST_REQUESTS)
    command = [str(tools.ours / "examples/http_load"), server.address, NAME]
    command += [str(number) for number in (users, requests, TOKENS, seed)]
    result = json.loads(run(on_cores(places.client, command), tools.logs / "http_load.log"))
    waits = sorted(result["firstTokens"])
    rank = -(-len(waits) * 95 // 100)  # the nearest rank
    return Load(result["tokens"] / result["seconds"], waits[rank - 1])


def over_http(
    tools: Tools, python: Path, weights: Weights, rounds: int, users: tuple[int, ...], slow_users: tuple[int, ...]
) -> Iterator[Row]:
    """Our server beside llama-server for each of `users`, and beside FastAPI for each of `slow_users`."""
    places = Places.divide()
    with ExitStack() as servers:
        ours = servers.enter_context(closing(our_server(tools, weights, places, LONGEST + 32, SLOTS)))
        peers = []
        if users:
            peers.append((servers.enter_context(closing(llama_server(tools, weights, places))), users, 1.5))
        if slow_users:
            slow = servers.enter_context(closing(fastapi_server(tools, python, weights, places)))
            peers.append((slow, slow_users, 8.0))
        for server in [ours, *(peer for peer, _, _ in peers)]:
            load(tools, server, places, 2, 0)  # warms up
        for peer, levels, target in peers:
            for level in levels:
                yield from level_rows(tools, places, (ours, peer), level, rounds, target)


def level_rows(
    tools: Tools, places: Places, servers: tuple[Server, Server], users: int, rounds: int, target: float
) -> Iterator[Row]:
    """Rounds with one number of users, both servers in turn and with the same prompts."""
    name = f"HTTP, {users} users"
    pace = Row(f"{name}: throughput", servers[1].name, "tokens/s", target)
    wait = Row(f"{name}: P95 TTFT", servers[1].name, "s", target, less_is_better=True)
    for number in range(rounds):
        seed = users * 1000 + number + 1
        seen = {}
        for server in servers if number % 2 == 0 else reversed(servers):
            seen[server.name] = load(tools, server, places, users, seed)
        ours, peer = (seen[server.name] for server in servers)
        pace.add(ours.tokens_per_second, peer.tokens_per_second)
        wait.add(ours.first_token_p95, peer.first_token_p95)
    yield from (pace, wait)


def memory(tools: Tools, models: list[Weights]) -> Iterator[Row]:
    """Resident memory after every token of the KV cache has been used, beside what is accounted for."""
    context, batch = 512, 4
    for weights in models:
        row = Row(f"memory, {weights.name}", "weights + KV cache + 150 MiB", "MiB", 1.0, less_is_better=True)
        with closing(our_server(tools, weights, None, context, batch)) as server:
            fill(server, context, batch)
            kv_cache = server.get("/health/startup")["model"]["kvCacheBytes"]
            limit = weights.path.stat().st_size + kv_cache + OVERHEAD
            row.add(server.resident_bytes() / MIB, limit / MIB)
        yield row


def fill(server: Server, context: int, batch: int) -> None:
    """Sends at once as many prompts as long as a full KV cache takes."""

    def ask(number: int) -> None:
        prompt = [1000 + (number * 7919 + index * 104729) % 30000 for index in range(context - 2)]
        server.post("/v1/completions", {"model": NAME, "prompt": prompt, "max_tokens": 2})

    with ThreadPoolExecutor(batch) as users:
        list(users.map(ask, range(batch)))
