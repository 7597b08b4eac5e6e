"""The three tools, each called for the same load and read into the same figures."""

import json
import os
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from processes import on_cores, run

WARM_UP = 4  # seconds
IN_TURN = "candlepower, users in turn"


@dataclass(frozen=True)
class Latency:
    """In milliseconds."""

    p50: float
    p95: float
    mean: float


@dataclass(frozen=True)
class Seen:
    """What a tool says it saw, and what that cost. TPOT is (last token - first token) / (tokens - 1)."""

    tool: str
    ttft: Latency
    tpot: Latency
    e2e_mean: float
    requests: int
    requests_per_second: float
    tokens_per_second: float
    # The measured part of the run, in seconds since 1970.
    window: tuple[float, float]
    cpu_seconds: float
    wall_seconds: float
    # guidellm's own TPOT, whose formula is another: (last token - request) / tokens.
    other_tpot_mean: float | None = None
    problems: tuple[str, ...] = ()

    def in_flight(self) -> float:
        """By Little's law: how many requests the tool kept open on average."""
        return self.requests_per_second * self.e2e_mean / 1e3

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"in_flight": self.in_flight()}


@dataclass(frozen=True)
class Load:
    """The same for each tool."""

    url: str
    model: str
    users: int
    prompt_tokens: int
    output_tokens: int
    seconds: int
    seed: int


@dataclass(frozen=True)
class Tools:
    """Where the programs are, and the core for all clients."""

    release: Path
    guidellm: Path
    aiperf: Path
    tokenizer: Path
    logs: Path
    core: int


def timed(
    command: list[str], tools: Tools, log: str, environment: dict[str, str] | None = None
) -> tuple[str, float, float]:
    """What it printed, and the CPU and wall seconds of it and all that it started and waited for."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = ["env", *(f"{name}={value}" for name, value in (environment or {}).items()), *command]
    output = run(on_cores([tools.core], command), tools.logs / f"{log}.log")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return output, cpu, time.monotonic() - began


# Users a second, more than there are in any load: all begin at once, as those of the other tools do.
AT_ONCE = 1_000_000


def candlepower(tools: Tools, load: Load) -> Seen:
    return our_own(tools, load, "candlepower", AT_ONCE)


def in_turn(tools: Tools, load: Load) -> Seen:
    """Users who begin one after the other, all within a second, and so stay out of step: the command's default."""
    return our_own(tools, load, IN_TURN, load.users)


def our_own(tools: Tools, load: Load, name: str, spawn_rate: int) -> Seen:
    # With --out it would also collect evidence, which is not compared.
    command = [str(tools.release / "candlepower"), "bench", load.url, "--model", load.model, "--users", str(load.users)]
    command += ["--duration", f"{WARM_UP + load.seconds}s", "--warm-up", f"{WARM_UP}s", "--seed", str(load.seed)]
    command += ["--spawn-rate", str(spawn_rate)]
    command += ["--prompt-mix", f"{load.prompt_tokens}:1", "--output-tokens", str(load.output_tokens), "--output", "json"]
    output, cpu, wall = timed(command, tools, "candlepower")
    ended = time.time()
    scenario = json.loads(output)["scenarios"][0]
    figures = scenario["figures"]

    def latency(name: str) -> Latency:
        found = figures[name]
        return Latency(found["p50"] / 1e3, found["p95"] / 1e3, found["mean"] / 1e3)

    last = ended - figures["e2e"]["mean"] / 1e6
    return Seen(
        name,
        latency("ttft"),
        latency("tpot"),
        figures["e2e"]["mean"] / 1e3,
        figures["ttft"]["count"],
        figures["requestsPerSecond"],
        figures["outputTokensPerSecond"],
        (last - load.seconds, last),
        cpu,
        wall,
        problems=tuple(scenario["generatorProblems"]),
    )


def guidellm(tools: Tools, load: Load) -> Seen:
    report = tools.logs / "guidellm.json"
    report.unlink(missing_ok=True)
    command = [str(tools.guidellm / "bin/python"), "-m", "guidellm", "run", "--disable-console"]
    command += ["--backend", f"kind=openai_http,target={load.url},validate_backend=false,extras.body.temperature=0"]
    command += ["--profile", f"kind=concurrent,streams={load.users},warmup.value={WARM_UP},warmup.mode=duration"]
    command += ["--constraint", f"kind=max_duration,seconds={WARM_UP + load.seconds}"]
    command += ["--tokenizer", f"kind=huggingface_auto,model={tools.tokenizer / 'tokenizer'}"]
    command += ["--data", f"kind=synthetic_text,prompt_tokens={load.prompt_tokens},output_tokens={load.output_tokens}"]
    command += ["--seed", f"kind=static,value={load.seed}", "--output", f"kind=json,path={report}"]
    _, cpu, wall = timed(command, tools, "guidellm")
    measured = json.loads(report.read_text())["benchmarks"][0]
    metrics = {name: one["successful"] for name, one in measured["metrics"].items() if "successful" in (one or {})}

    def latency(name: str) -> Latency:
        ranks = metrics[name]["percentiles"]
        return Latency(ranks["p50"], ranks["p95"], metrics[name]["mean"])

    return Seen(
        "guidellm",
        latency("time_to_first_token_ms"),
        latency("inter_token_latency_ms"),
        metrics["request_latency"]["mean"] * 1e3,
        measured["metrics"]["request_totals"]["successful"],
        metrics["requests_per_second"]["mean"],
        metrics["output_tokens_per_second"]["mean"],
        (measured["start_time"], measured["end_time"]),
        cpu,
        wall,
        metrics["time_per_output_token_ms"]["mean"],
    )


def aiperf(tools: Tools, load: Load) -> Seen:
    folder = tools.logs / "aiperf"
    shutil.rmtree(folder, ignore_errors=True)
    command = [str(tools.aiperf / "bin/python"), "-m", "aiperf", "profile", "--model", load.model, "--url", load.url]
    command += ["--endpoint-type", "chat", "--streaming", "--concurrency", str(load.users), "--ui", "none"]
    command += ["--warmup-duration", str(WARM_UP), "--benchmark-duration", str(load.seconds)]
    command += ["--synthetic-input-tokens-mean", str(load.prompt_tokens), "--output-tokens-mean", str(load.output_tokens)]
    # More than it will send: it would send its usual 100 again and again, and a server's prefix cache would hold them.
    command += ["--num-dataset-entries", "1000"]
    # Lengths are the server's own count, as in the other tools.
    command += ["--use-legacy-max-tokens", "--use-server-token-count", "--tokenizer", "local/tok", "--random-seed", str(load.seed)]
    command += ["--extra-inputs", "temperature:0", "--extra-inputs", "ignore_eos:true", "--artifact-dir", str(folder)]
    _, cpu, wall = timed(command, tools, "aiperf", {"HF_HOME": str(tools.tokenizer)})
    report = json.loads((folder / "profile_export_aiperf.json").read_text())

    def latency(name: str) -> Latency:
        return Latency(report[name]["p50"], report[name]["p95"], report[name]["avg"])

    return Seen(
        "aiperf",
        latency("time_to_first_token"),
        latency("inter_token_latency"),
        report["request_latency"]["avg"],
        int(report["request_count"]["avg"]),
        report["request_throughput"]["avg"],
        report["output_token_throughput"]["avg"],
        (moment(report["start_time"]), moment(report["end_time"])),
        cpu,
        wall,
    )


def moment(text: str) -> float:
    """Seconds since 1970 of a time as aiperf writes it: local, without a zone."""
    return datetime.fromisoformat(text).timestamp()


# Ours last: their prompts are as long as the others' turned out to be.
EVERY: tuple[Callable[[Tools, Load], Seen], ...] = (guidellm, aiperf, candlepower, in_turn)
OURS = (candlepower, in_turn)


def own_environment() -> None:
    """No tool may reach for a hub or ask a question."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
