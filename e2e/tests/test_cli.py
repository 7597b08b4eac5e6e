"""The command `candlepower` shows what runs in the cluster."""

import contextlib
import gzip
import json
import os
import select
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kube
import load
import models
import monitoring

NAME = "shown"
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", "")) / "release" / "candlepower"


@pytest.fixture(scope="module")
def answered(namespace: str, claim: str) -> str:
    """A model that has answered some requests and has Prometheus and their traces beside it; gives back a trace's id."""
    observability = {"metrics": {"mode": "Sidecar"}, "tracing": {"mode": "Sidecar", "samplingRatio": "100%"}}
    kube.apply(models.llm(NAME, observability=observability), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    with kube.forwarded(namespace, f"service/{NAME}", "http") as url:
        traces = [load.traced_chat(url, NAME)[0] for _ in range(3)]
    for trace_id in traces:
        monitoring.spans(namespace, NAME, "jaeger", trace_id)
    return traces[-1]


def candlepower(*arguments: str) -> str:
    return kube.run(PROGRAM, *arguments)


def exit_code(*arguments: str | Path) -> int:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=60, check=False).returncode


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own, ended as a reader ends it: by Ctrl-C."""
    process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def printed(process: subprocess.Popen[str], seconds: float = 60) -> Any:
    """The JSON that a process prints before it goes on."""
    assert process.stdout
    text, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if select.select([process.stdout], [], [], 0.5)[0]:
            text += os.read(process.stdout.fileno(), 65536)
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
    raise AssertionError(f"no JSON within {seconds:.0f} s: {text.decode()}")


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: str = answer.read().decode()
    return body


def test_status_tells_how_a_model_fares(namespace: str, answered: str) -> None:
    screen = candlepower("status", NAME, "--namespace", namespace)
    assert NAME in screen
    assert "Ready" in screen
    assert "ObservabilityReady" in screen
    json.loads(candlepower("status", NAME, "--namespace", namespace, "-o", "json"))


def test_top_lists_every_model(namespace: str, answered: str) -> None:
    assert NAME in candlepower("top", "--once", "--namespace", namespace)


def test_traces_says_where_the_time_went(namespace: str, answered: str) -> None:
    table = candlepower("traces", NAME, "--namespace", namespace, "--limit", "200")
    assert "prefill" in table
    assert "decode" in table


def test_what_is_not_there_is_an_error(namespace: str, answered: str) -> None:
    with pytest.raises(kube.Refused, match="absent"):
        candlepower("status", "absent", "--namespace", namespace)


def test_traces_are_json_for_programs(namespace: str, answered: str) -> None:
    report = json.loads(candlepower("traces", NAME, "--namespace", namespace, "-o", "json"))
    assert report["traces"] >= 3
    assert {"prefill", "decode"} <= {operation["name"] for operation in report["operations"]}
    assert len(report["slowest"]) == 3


def test_dashboards_opens_prometheus_and_jaeger(namespace: str, answered: str) -> None:
    with running("dashboards", NAME, "--namespace", namespace, "-o", "json") as process:
        tools = {tool["tool"]: tool for tool in printed(process)}
        assert set(tools) == {"Prometheus", "Jaeger", "Grafana"}
        (prometheus,), (jaeger,) = tools["Prometheus"]["links"], tools["Jaeger"]["links"]
        assert "Ready" in fetched(f"{prometheus['url']}/-/ready")
        assert "candlepower-server" in json.loads(fetched(f"{jaeger['url']}/api/v3/services"))["services"]
        assert process.poll() is None, "it stays until Ctrl-C"
    assert process.returncode == 0


def test_a_benchmark_of_a_name_finds_its_traces_its_last_start_and_how_its_containers_fared(namespace: str, answered: str, tmp_path: Path) -> None:
    few = ["--users", "2", "--duration", "6s", "--warm-up", "1s", "--output-tokens", "8", "--prompt-mix", "64:1"]
    assert exit_code("bench", NAME, "--namespace", namespace, *few, "--out", tmp_path / "run") in (0, 4)
    with gzip.open(tmp_path / "run" / "evidence.json.gz") as file:
        evidence = json.load(file)
    assert evidence["traces"]
    assert "traces" not in {missing["what"] for missing in evidence["missing"]}
    assert evidence["modelLoad"]["spans"]
    assert evidence["containerEnds"] == []


def test_exit_codes_tell_what_happened(namespace: str, answered: str) -> None:
    assert exit_code("status", NAME, "--namespace", namespace) == 0
    assert exit_code("status", "absent", "--namespace", namespace) == 1
    assert exit_code("statsu") == 2
    kube.apply(models.llm("never", model={"source": "pvc://absent/a.gguf"}), namespace)
    try:
        assert exit_code("status", "never", "--namespace", namespace) == 3
    finally:
        kube.kubectl("-n", namespace, "delete", "llm", "never", "--wait=false")
