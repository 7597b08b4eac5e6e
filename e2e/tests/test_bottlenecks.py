"""Bottlenecks that are planted in a real server: the verdict names each of them, and none where there is none.

Those that a deployment's spec or an injected fault makes are measured by an LLMBenchmark; those outside of the server (the
way to it, the reader, the load generator) by the command `candlepower bench`.
"""

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kube
import load
import models
import proxy
import safetensors
from test_cli import PROGRAM

pytestmark = pytest.mark.alone

# What people expect of a chat with this model on two cores. It is the same for all: a healthy run meets it, what is planted does not.
OBJECTIVES = {"ttft": {"p50": "400ms", "p95": "400ms", "p99": "1s"}, "tpot": "100ms", "tokensPerSecond": 1}
TRACED = {"metrics": {"mode": "None"}, "tracing": {"mode": "Sidecar", "samplingRatio": "100%"}}


class Planted:
    """A bottleneck in a deployment, and the load that shows it."""

    def __init__(
        self, name: str, expected: str | None, users: int, prompt: int = 48, faults: dict[str, str] | None = None, **spec: Any
    ) -> None:
        self.name, self.expected, self.users, self.prompt, self.faults, self.spec = name, expected, users, prompt, faults, spec


PLANTED = [
    Planted("healthy", None, users=2),
    Planted(
        "throttled",
        "throttled CPU",
        users=2,
        resources={"cpu": "200m", "memory": "1Gi", "requests": {"cpu": "50m", "memory": "64Mi"}},
    ),
    Planted("one-place", "queueing", users=6, engine={"maxContextLength": 2048, "maxBatchSize": 1}),
    Planted(
        "waits-for-company",
        "queueing",
        users=1,
        engine={"maxContextLength": 2048, "maxBatchSize": 8, "maxBatchWait": "1s"},
    ),
    # Room for one whole context; four requests at once reserve nearly all of it.
    Planted(
        "little-memory",
        "KV-cache pressure",
        users=8,
        prompt=480,
        engine={"maxContextLength": 2048, "maxBatchSize": 8, "kvCacheMemory": "46Mi", "prefixCaching": False},
    ),
    Planted(
        "slow-tokenizer", "tokenisation", users=1, faults={"tokenizeDelay": "800ms"}, observability=TRACED, pod=load.FAULTS_ALLOWED
    ),
    # A folder that is quantised when it is loaded takes longer than a file that is only mapped.
    Planted("loads-late", "cold start", users=1, preload=False, precision="q8_0", model={"source": "pvc://converted/smollm2"}),
]


@pytest.fixture(scope="module")
def converted(namespace: str, claim: str) -> None:
    """The model in sixteen bits, in the claim `converted`."""
    place = models.claim_folder("converted", namespace)
    (place / "smollm2").mkdir()
    safetensors.write(models.real_file(), place / "smollm2")


def measure(planted: Planted, namespace: str, disturb: Callable[[], None] | None = None) -> dict[str, Any]:
    """Serves what is planted, measures it, and gives back the benchmark and its report."""
    name = planted.name
    kube.apply(models.llm(name, **planted.spec), namespace)
    kube.wait_for_condition(name, namespace, "Ready", "True", seconds=120)
    if planted.faults:
        with kube.forwarded(namespace, f"service/{name}", "http") as url:
            load.inject(url, **planted.faults)
    spec = {
        "target": {"deployment": name},
        "profile": "custom",
        "scenarios": [{"name": "load", "users": planted.users, "duration": "9s", "warmUp": "1s"}],
        "workload": {"prompts": [{"tokens": planted.prompt, "weight": 1}], "outputTokens": 16},
        "objectives": OBJECTIVES,
    }
    kube.apply(
        {"apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMBenchmark", "metadata": {"name": name}, "spec": spec}, namespace
    )

    if disturb:
        disturb()

    def look() -> tuple[bool, Any]:
        resource = kube.get("llmbench", name, namespace)
        assert not kube.condition(resource, "Failed"), json.dumps(resource["status"], indent=1)
        return kube.condition(resource, "Complete").get("status") == "True", resource

    resource = kube.wait_for(f"the report of {name}", look, 120)
    resource["report"] = json.loads(kube.get("configmap", f"{name}-report", namespace)["data"]["report.json"])
    kube.kubectl("-n", namespace, "delete", "llm", name, "--wait=false")
    return resource


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_what_is_planted_is_named(namespace: str, converted: None, planted: Planted) -> None:
    resource = measure(planted, namespace)
    findings = resource["report"]["findings"]
    assert resource["status"].get("primaryBottleneck") == planted.expected, json.dumps(findings, indent=1)
    if planted.expected:
        assert findings[0]["evidence"], findings[0]


def test_a_server_that_runs_out_of_memory_is_named(namespace: str, claim: str) -> None:
    """The rest of what its limit allows is taken while it answers, and the kernel ends it."""

    def fill() -> None:
        kube.wait_for("load on runs-out", lambda: under_load("runs-out", namespace), 60)
        (pod,) = kube.pods("runs-out", namespace)
        kube.run(kube.E2E / "lib" / "fill-memory", namespace, pod["metadata"]["name"], "server")

    found = measure(Planted("runs-out", "out of memory", users=2), namespace, fill)
    first = found["report"]["findings"][0]
    assert found["status"].get("primaryBottleneck") == "out of memory", json.dumps(found["report"]["findings"], indent=1)
    assert "OOMKilled" in json.dumps(first["evidence"]) and first["severity"] == "critical", first


def under_load(name: str, namespace: str) -> tuple[bool, Any]:
    status = kube.get("llmbench", name, namespace).get("status", {})
    return status.get("stage") == "Measuring", status


# Outside of the server, as its clients meet it.


@pytest.fixture(scope="module")
def reachable(namespace: str, served: str) -> Iterator[str]:
    with kube.forwarded(namespace, f"service/{served}", "http") as url:
        yield url


def bench(
    target: str,
    metrics: str,
    folder: Path,
    disturb: Callable[[subprocess.Popen[bytes]], None] | None = None,
    objectives: tuple[str, ...] = ("ttft-p95=300ms", "tpot=30ms"),
) -> str | None:
    """Loads `target` from here; the primary bottleneck of the report."""
    flags = ["--users", "2", "--duration", "9s", "--warm-up", "1s", "--prompt-mix", "48", "--output-tokens", "48"]
    flags += ["--metrics-url", f"{metrics}/metrics", "--scrape-interval", "1s", "--out", str(folder)]
    with subprocess.Popen([PROGRAM, "bench", target, *flags], stdout=subprocess.DEVNULL) as process:
        if disturb:
            disturb(process)
        assert process.wait(timeout=120) in (0, 4)
    limits = [argument for objective in objectives for argument in ("--objective", objective)]
    report = json.loads(kube.run(PROGRAM, "report", str(folder), "-o", "json", *limits))
    return report["conclusion"].get("primaryBottleneck")


def stop_and_go(process: subprocess.Popen[bytes]) -> None:
    """Lets the process run for a third of the time only, as a busy machine does."""
    over = threading.Event()
    with contextlib.suppress(ProcessLookupError):
        while process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            over.wait(0.4)
            process.send_signal(signal.SIGCONT)
            over.wait(0.2)


def test_a_slow_way_to_the_server_is_named(reachable: str, tmp_path: Path) -> None:
    with proxy.slow(reachable, request_delay=0.4) as url:
        assert bench(url, reachable, tmp_path / "run") == "upstream"


def test_a_client_that_reads_slowly_is_named(reachable: str, tmp_path: Path) -> None:
    with proxy.slow(reachable, answer_delay=0.05) as url:
        assert bench(url, reachable, tmp_path / "run") == "slowClient"


def test_a_load_generator_that_is_held_up_is_named(reachable: str, tmp_path: Path) -> None:
    # A lag that makes no objective look missed leaves the verdict alone; two thirds of the time make each token look three times as slow.
    missed = ("tpot=10ms",)
    assert bench(reachable, reachable, tmp_path / "run", stop_and_go, missed) == "overloadedGenerator"
