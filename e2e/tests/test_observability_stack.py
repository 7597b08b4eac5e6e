"""On a cluster with prometheus-operator the cluster's own Prometheus and Alertmanager do the work.

The tests of this module build on each other, in this order; the last one takes the monitoring stack away.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kube
import load
import models
import monitoring
from timeline import Timeline

NAME = "watched"
CACHE = Path(os.environ.get("CANDLEPOWER_CACHE", Path.home() / ".cache" / "candlepower"))

# What brings each of the alerts about. Two clients at 800 ms a step get 2.5 tokens a second.
FAULTS = {
    "CandlepowerErrorRateHigh": {"errorRate": "50%"},
    "CandlepowerTimeToFirstTokenHigh": {"firstTokenDelay": "3s"},
    "CandlepowerThroughputLow": {"stepDelay": "800ms"},
    "CandlepowerMemoryHigh": {"memory": "1300Mi"},
}
ALERTS = {
    "window": "20s",
    "timeToFirstTokenP95": {"threshold": "2s", "for": "5s"},
    "memoryUtilization": {"threshold": "60%", "for": "5s"},
    "errorRate": {"threshold": "5%", "for": "5s"},
    "throughput": {"threshold": 4, "for": "5s"},
}
FIRING = ["pending in Prometheus", "firing in Prometheus", "in Alertmanager", "in status.alerts"]
RESOLVED = ["gone from Prometheus", "gone from Alertmanager", "gone from status.alerts"]


@pytest.fixture(scope="module")
def watched(namespace: str, claim: str, monitoring_stack: monitoring.Prometheus) -> dict[str, Any]:
    """A served model with tight thresholds, whose resource leaves the mode to Auto."""
    observability = {"metrics": {"interval": "5s"}, "tracing": {"mode": "None"}}
    resources = {"cpu": "2", "memory": "2Gi", "requests": {"cpu": "50m", "memory": "64Mi"}}
    resource = models.llm(NAME, observability=observability, alerts=ALERTS, resources=resources, pod=load.FAULTS_ALLOWED)
    kube.apply(resource, namespace)
    return kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)


@pytest.fixture(scope="module")
def url(namespace: str, watched: dict[str, Any]) -> Iterator[str]:
    with kube.forwarded(namespace, f"service/{NAME}", "http") as address:
        yield address


@pytest.fixture(scope="module")
def timeline(namespace: str, url: str, monitoring_stack: monitoring.Prometheus) -> Iterator[Timeline]:
    """Watches the alerts while two clients keep asking, and writes down what came when."""
    monitoring.wait_until_collected(monitoring_stack, namespace, NAME)
    with Timeline(monitoring_stack, namespace, NAME) as found, load.steady(url, NAME, tokens=16):
        yield found
        found.write(CACHE / "log" / "alerts.md", list(FAULTS))


def test_auto_follows_the_cluster_to_its_own_prometheus(
    namespace: str, watched: dict[str, Any], monitoring_stack: monitoring.Prometheus
) -> None:
    monitoring.wait_until_collected(monitoring_stack, namespace, NAME)
    resource = kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "True", "Collecting", seconds=90)
    assert resource["status"]["observability"]["metrics"] == "PodMonitor"
    assert kube.get("podmonitor", NAME, namespace)["metadata"]["labels"]["release"] == "main"
    assert kube.get("prometheusrule", NAME, namespace)["metadata"]["labels"]["release"] == "main"
    (pod,) = kube.pods(NAME, namespace)
    assert "prometheus" not in {c["name"] for c in pod["spec"].get("initContainers", [])}


def test_nothing_fires_while_all_is_well(namespace: str, timeline: Timeline) -> None:
    kube.wait_for(
        "figures in the status",
        lambda: ((status := kube.get("llm", NAME, namespace)["status"]).get("performance") is not None, status),
        60,
    )
    assert timeline.prometheus.alerts(namespace, NAME) == {}
    assert monitoring.firing(NAME, namespace) == set()


@pytest.mark.parametrize("alert", FAULTS)
def test_a_fault_fires_its_alert_everywhere(alert: str, url: str, timeline: Timeline) -> None:
    load.inject(url, **FAULTS[alert])
    timeline.note(alert, "fault injected")
    try:
        timeline.wait_for(alert, FIRING)
    finally:
        load.inject(url)
        timeline.note(alert, "fault removed")


@pytest.mark.parametrize("alert", FAULTS)
def test_the_alert_resolves_everywhere(alert: str, timeline: Timeline) -> None:
    timeline.wait_for(alert, RESOLVED, 120)
    seen = timeline.seen[alert]
    assert seen["pending in Prometheus"] >= seen["fault injected"], "it was the fault that brought it about"


def test_a_deleted_pod_monitor_comes_back(namespace: str, watched: dict[str, Any]) -> None:
    old = kube.get("podmonitor", NAME, namespace)["metadata"]["uid"]
    kube.kubectl("-n", namespace, "delete", "podmonitor", NAME)

    def back() -> tuple[bool, Any]:
        found = [item["metadata"]["uid"] for item in kube.find("podmonitors", namespace)]
        return bool(found) and old not in found, found

    kube.wait_for("the PodMonitor to come back", back)


def test_without_the_crds_it_falls_back_to_a_sidecar(namespace: str, watched: dict[str, Any]) -> None:
    operator = kube.operator_pod()
    kube.run(kube.E2E / "cluster" / "monitoring" / "remove")

    def chosen() -> tuple[bool, Any]:
        status = kube.get("llm", NAME, namespace)["status"]
        return status["observability"]["metrics"] == "Sidecar", status

    kube.wait_for("mode Sidecar", chosen, 90)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    monitoring.wait_until_collected(monitoring.Prometheus(namespace, NAME, "prometheus"), namespace, NAME)
    after = kube.operator_pod()
    assert after["metadata"]["uid"] == operator["metadata"]["uid"]
    assert [s["restartCount"] for s in after["status"]["containerStatuses"]] == [
        s["restartCount"] for s in operator["status"]["containerStatuses"]
    ]
