"""The servers that are measured, each on a core of its own, and what each says of itself."""

import json
import os
import re
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from clients import WARM_UP, Latency, Tools
from processes import Failed, Server, free_port, on_cores
from tables import percentile

TICK = os.sysconf("SC_CLK_TCK")
NAME = "m"


@dataclass(frozen=True)
class Law:
    """What a stand-in is told to do; times in milliseconds, and how far they spread."""

    first: float
    each: float
    first_spread: float = 0
    each_spread: float = 0


def stand_in(tools: Tools, core: int, law: Law) -> Server:
    """Ours; `each_spread` is a share here, evenly distributed."""
    port = free_port()
    command = [str(tools.release / "examples/stand_in_server"), "--port", str(port), "--log-untraced"]
    command += ["--first-token", f"{law.first:g}ms", "--per-token", f"{law.each:g}ms", "--jitter", f"{law.each_spread:.0%}"]
    return Server("stand-in", on_cores([core], command), port, tools.logs / "stand-in.log", "/health")


def own_server(tools: Tools, core: int, model: Path, batch: int) -> Server:
    port = free_port()
    command = [str(tools.release / "candlepower-server"), "--model", str(model), "--served-name", NAME, "--threads", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-filter", "warn"]
    command += ["--max-context-length", "512", "--max-batch-size", str(batch)]
    return Server("candlepower-server", on_cores([core], command), port, tools.logs / "candlepower-server.log", "/health/ready")


def mock_server(tools: Tools, core: int, law: Law, output_tokens: int, log: Path | None) -> Server:
    """guidellm's; with a log, it runs within mock_log.py."""
    port = free_port()
    command = [str(tools.guidellm / "bin/python")]
    command += [str(Path(__file__).with_name("mock_log.py"))] if log else ["-m", "guidellm", "mock-server"]
    command += ["--port", str(port), "--model", NAME, "--output-tokens", str(output_tokens)]
    command += ["--ttft-ms", f"{law.first:g}", "--itl-ms", f"{law.each:g}"]
    command += ["--ttft-ms-std", f"{law.first_spread:g}", "--itl-ms-std", f"{law.each_spread:g}"]
    environment = ["env", f"MOCK_LOG={log}"] if log else []
    return Server("mock-server", [*environment, *on_cores([core], command)], port, tools.logs / "mock-server.log", "/health")


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@dataclass(frozen=True)
class Own:
    """What a server knows of its own latencies: medians only where it keeps every request."""

    ttft: Latency | None
    tpot: Latency | None
    ttft_mean: float
    tpot_mean: float
    requests: int
    prompt_tokens: float | None = None
    # From a request's head to the last of its body, where the server notes it: what the client does in between is in its TTFT.
    body_p95: float | None = None


def of_times(lines: list[list[float]], output_tokens: int, unit: float) -> Own:
    """Of requests' times: received, first token, last token, end, tokens, and where it is known when the request was complete.
    `unit` makes them milliseconds."""
    load = [line for line in lines if line[4] == output_tokens]
    begun = min(line[0] for line in load) + WARM_UP * 1e3 / unit
    counted = [line for line in load if line[0] >= begun]
    first = [(line[1] - line[0]) * unit for line in counted]
    each = [(line[2] - line[1]) / (line[4] - 1) * unit for line in counted]

    def latency(values: list[float]) -> Latency:
        return Latency(percentile(values, 0.5), percentile(values, 0.95), sum(values) / len(values))

    ttft, tpot = latency(first), latency(each)
    bodies = [(line[5] - line[0]) * unit for line in counted if len(line) > 5]
    return Own(ttft, tpot, ttft.mean, tpot.mean, len(counted), body_p95=percentile(bodies, 0.95) if bodies else None)


def tokens_per_second(lines: list[list[float]], output_tokens: int, span: float) -> float:
    """What the server wrote inside the window of `span` seconds after the warm-up, its tokens spread evenly between the first and
    the last of each answer, whether or not the answer ended."""
    load = [line for line in lines if line[4] == output_tokens]
    begun = min(line[0] for line in load) + WARM_UP
    inside = 0
    for _, first, last, _, tokens in load:
        gap = (last - first) / (tokens - 1)
        inside += sum(begun <= first + place * gap < begun + span for place in range(tokens))
    return inside / span


SUMS = ("llm_time_to_first_token_seconds", "llm_request_time_per_output_token_seconds", "llm_request_prompt_tokens")


class Watch:
    """Reads our server's /metrics while a tool runs, so that sums can be had of the measured part alone."""

    PERIOD = 0.5

    def __init__(self, server: Server) -> None:
        self.url = f"http://{server.address}/metrics"
        self.samples: list[tuple[float, dict[str, float]]] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.ended.wait(self.PERIOD):
            with urllib.request.urlopen(self.url, timeout=10) as answer:
                page, now = answer.read().decode(), time.time()
            found = re.findall(r"^(\w+_(?:sum|count))(?:\{[^}]*\})? (\S+)$", page, re.MULTILINE)
            self.samples.append((now, {name: float(value) for name, value in found}))

    def own(self, window: tuple[float, float]) -> Own:
        """Means over the window, whose edges are at most a period away."""
        self.ended.set()
        self.thread.join()
        inside = [sums for when, sums in self.samples if window[0] <= when <= window[1]]
        if len(inside) < 2 or inside[0][f"{SUMS[0]}_count"] == inside[-1][f"{SUMS[0]}_count"]:
            raise Failed("the server answered nothing while the tool says that it measured")

        def mean(name: str) -> tuple[float, float]:
            first, last = inside[0], inside[-1]
            count = last[f"{name}_count"] - first[f"{name}_count"]
            return (last[f"{name}_sum"] - first[f"{name}_sum"]) / max(count, 1), count

        (first, requests), (each, _), (prompt, _) = map(mean, SUMS)
        return Own(None, None, first * 1e3, each * 1e3, int(requests), prompt)


def stand_in_log(server: Server) -> list[list[float]]:
    return server.get("/log")


def mock_log(path: Path) -> list[list[float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
