"""When a part of the monitoring fails, the model goes on answering, and the loss is counted."""

from collections.abc import Iterator
from typing import Any

import pytest

import kube
import load
import models
import monitoring
import runbooks

NAME = "alone"


@pytest.fixture(scope="module")
def url(namespace: str, claim: str) -> Iterator[str]:
    """A model with a Prometheus beside it, whose traces go to a collector that is not there."""
    observability = {
        "metrics": {"mode": "Sidecar", "interval": "5s"},
        "tracing": {"mode": "Endpoint", "endpoint": "http://127.0.0.1:9", "samplingRatio": "100%"},
    }
    kube.apply(models.llm(NAME, observability=observability), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    with kube.forwarded(namespace, f"service/{NAME}", "http") as address:
        yield address


def test_without_a_collector_requests_are_answered_and_lost_spans_counted(namespace: str, url: str) -> None:
    assert [load.chat(url, NAME) for _ in range(5)] == [200] * 5

    def lost() -> tuple[bool, Any]:
        found = models.series(kube.raw(namespace, NAME, "http", "/metrics"))
        traces = {name: value for name, value in found.items() if name.startswith("llm_trace_")}
        return found["llm_trace_spans_dropped_total"] > 0 and found["llm_trace_export_failures_total"] > 0, traces

    kube.wait_for("spans counted as lost", lambda: monitoring.reached(lost), 60)
    runbooks.check_commands("CandlepowerTraceExportFailing", namespace, NAME)
    assert load.chat(url, NAME) == 200


def test_the_condition_says_that_spans_are_lost(namespace: str, url: str) -> None:
    def told() -> tuple[bool, Any]:
        assert load.chat(url, NAME) == 200
        found = kube.condition(kube.get("llm", NAME, namespace), "ObservabilityReady")
        return found.get("reason") == "TracesNotExported", found

    assert "traces to http://127.0.0.1:9" in kube.wait_for("lost spans in the condition", told, 90)["message"]


def test_a_prometheus_that_ends_is_started_again_beside_the_running_server(namespace: str, url: str) -> None:
    prometheus = monitoring.Prometheus(namespace, NAME, "prometheus")
    monitoring.wait_until_collected(prometheus, namespace, NAME)
    (pod,) = kube.pods(NAME, namespace)
    kube.run(kube.E2E / "lib" / "end-container", namespace, pod["metadata"]["name"], "prometheus")

    def restarted() -> tuple[bool, Any]:
        status = kube.get("pod", pod["metadata"]["name"], namespace)["status"]
        (sidecar,) = [s for s in status["initContainerStatuses"] if s["name"] == "prometheus"]
        return sidecar["restartCount"] == 1 and sidecar["ready"], status["initContainerStatuses"]

    kube.wait_for("Prometheus to be started again", restarted, 60)
    monitoring.wait_until_collected(prometheus, namespace, NAME)
    status = kube.get("pod", pod["metadata"]["name"], namespace)["status"]
    assert [s["restartCount"] for s in status["containerStatuses"]] == [0]
    assert load.chat(url, NAME) == 200
