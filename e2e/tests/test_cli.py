"""The command `candlepower` shows what runs in the cluster."""

import json
import os
from pathlib import Path

import pytest

import kube
import load
import models
import monitoring

NAME = "shown"
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", "")) / "release" / "candlepower"


@pytest.fixture(scope="module")
def answered(namespace: str, claim: str) -> str:
    """A model that has answered some requests and has their traces beside it; gives back a trace's id."""
    observability = {"metrics": {"mode": "None"}, "tracing": {"mode": "Sidecar", "samplingRatio": "100%"}}
    kube.apply(models.llm(NAME, observability=observability), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    with kube.forwarded(namespace, f"service/{NAME}", "http") as url:
        traces = [load.traced_chat(url, NAME)[0] for _ in range(3)]
    for trace_id in traces:
        monitoring.spans(namespace, NAME, "jaeger", trace_id)
    return traces[-1]


def candlepower(*arguments: str) -> str:
    return kube.run(PROGRAM, *arguments)


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
