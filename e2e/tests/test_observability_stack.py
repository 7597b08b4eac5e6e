"""On a cluster with prometheus-operator the cluster's own Prometheus and Alertmanager do the work.

The tests of this module build on each other, in this order; the last one takes the monitoring stack away.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kube
import load
import models
import monitoring
from timeline import Timeline

pytestmark = pytest.mark.alone

NAME = "watched"
CACHE = Path(os.environ.get("CANDLEPOWER_CACHE", Path.home() / ".cache" / "candlepower"))

# What brings each of the alerts about. Two clients at 800 ms a step get 2.5 tokens a second.
FAULTS = {
    "CandlepowerErrorRateHigh": {"errorRate": "50%"},
    "CandlepowerTimeToFirstTokenHigh": {"firstTokenDelay": "6s"},
    "CandlepowerThroughputLow": {"stepDelay": "800ms"},
    "CandlepowerMemoryHigh": {"memory": "1300Mi"},
}
ALERTS = {
    "window": "20s",
    "timeToFirstTokenP95": {"threshold": "4s", "for": "5s"},
    "memoryUtilization": {"threshold": "60%", "for": "5s"},
    "errorRate": {"threshold": "5%", "for": "5s"},
    "throughput": {"threshold": 3, "for": "5s"},
}
FIRING = ["pending in Prometheus", "firing in Prometheus", "in Alertmanager", "in status.alerts"]
RESOLVED = ["gone from Prometheus", "gone from Alertmanager", "gone from status.alerts"]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The chart's value for a collector of the cluster's own, for as long as these tests run."""
    endpoint = "http://jaeger.observability:4317"
    usual = (kube.E2E / "lib" / "test-values.yaml").read_text()
    values = tmp_path_factory.mktemp("chart") / "values.yaml"
    operator = "{endpoint: 'http://jaeger.observability:4318'}"
    values.write_text(f"{usual}tracing:\n  endpoint: {endpoint}\n  operator: {operator}\n")
    kube.install_chart(values)
    yield endpoint
    kube.install_chart()


@pytest.fixture(scope="module")
def watched(namespace: str, claim: str, monitoring_stack: monitoring.Prometheus, collector: str) -> dict[str, Any]:
    """A served model with tight thresholds, whose resource leaves both modes to Auto."""
    observability = {"metrics": {"interval": "5s"}, "tracing": {"samplingRatio": "100%"}}
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


def test_traces_go_to_the_collector_that_the_chart_names(namespace: str, watched: dict[str, Any], url: str) -> None:
    assert kube.get("llm", NAME, namespace)["status"]["observability"]["tracing"] == "Endpoint"
    (pod,) = kube.pods(NAME, namespace)
    assert "jaeger" not in {c["name"] for c in pod["spec"].get("initContainers", [])}
    trace_id, caller = load.traced_chat(url, NAME)
    monitoring.check_parents(monitoring.spans("observability", "jaeger", "query", trace_id), caller)


def test_the_operator_s_own_work_is_traced_from_the_resource_to_its_children(namespace: str, watched: dict[str, Any]) -> None:
    def look() -> tuple[bool, Any]:
        found = [monitoring.outline(trace, namespace, NAME) for trace in monitoring.reconciles()]
        mine = [spans for spans in found if spans]
        return any(("apply", "reconcile", "deployments", "201") in spans for spans in mine), mine

    made = kube.wait_for("the trace of the reconcile that made the Deployment", lambda: monitoring.reached(look), 30)
    (spans,) = [spans for spans in made if ("apply", "reconcile", "deployments", "201") in spans]
    assert ("api_request", "apply", "deployments", "201") in spans
    assert {"dereference", "build", "write_status"} <= {name for name, *_ in spans}


def test_prometheus_leads_from_a_latency_to_the_request_s_trace(url: str, monitoring_stack: monitoring.Prometheus) -> None:
    trace_id, _ = load.traced_chat(url, NAME)

    def kept() -> tuple[bool, Any]:
        found = monitoring_stack.exemplars(f'llm_time_to_first_token_seconds_bucket{{llmdeployment="{NAME}"}}')
        return trace_id in found, found

    kube.wait_for("the trace's id beside the latency", kept, 30)


def test_nothing_fires_while_all_is_well(namespace: str, timeline: Timeline) -> None:
    kube.wait_for(
        "figures in the status",
        lambda: ((status := kube.get("llm", NAME, namespace)["status"]).get("performance") is not None, status),
        60,
    )
    # A start that takes long leaves an alert pending, which a rule's next evaluations take back.
    kube.wait_for(
        "no alert in Prometheus",
        lambda: (not (alerts := timeline.prometheus.alerts(namespace, NAME)), alerts),
        45,
    )
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
    assert seen["firing in Prometheus"] >= seen["fault injected"], "it was the fault that brought it about"


def test_a_prometheus_that_starts_again_has_lost_nothing(
    namespace: str, watched: dict[str, Any], monitoring_stack: monitoring.Prometheus
) -> None:
    series = f'up{{namespace="{namespace}",llmdeployment="{NAME}"}}'
    assert monitoring_stack.value(series) == 1
    moment = time.time()
    kube.run(kube.E2E / "lib" / "end-container", monitoring.NAMESPACE, "prometheus-main-0", "prometheus")
    kube.wait_for("Prometheus to be started again", restarted)
    monitoring.wait_until_collected(monitoring_stack, namespace, NAME, 60)
    assert monitoring_stack.query_at(series, moment), "what was collected before is still there"


def restarted() -> tuple[bool, Any]:
    statuses = kube.get("pod", "prometheus-main-0", monitoring.NAMESPACE)["status"]["containerStatuses"]
    (status,) = [status for status in statuses if status["name"] == "prometheus"]
    return status["restartCount"] > 0 and status["ready"], status


def test_without_prometheus_the_status_says_so_and_alerts_go_on(
    namespace: str, url: str, timeline: Timeline, monitoring_stack: monitoring.Prometheus
) -> None:
    alert = "CandlepowerErrorRateHigh"
    scale_prometheus(0)
    kube.kubectl("-n", monitoring.NAMESPACE, "wait", "pod/prometheus-main-0", "--for=delete", "--timeout=60s")
    # A Prometheus that was well is asked again after minutes, or when there are other rules.
    kube.patch("llm", NAME, namespace, {"spec": {"objectives": {"availability": "99%"}}})
    resource = kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "Unknown", "PrometheusUnreachable", seconds=30)
    assert "Prometheus does not answer" in kube.condition(resource, "ObservabilityReady")["message"]
    load.inject(url, errorRate="50%")
    try:
        kube.wait_for("the alert in the status", lambda: (alert in (told := sorted(monitoring.firing(NAME, namespace))), told), 40)
        scale_prometheus(1)
        monitoring.wait_until_collected(monitoring_stack, namespace, NAME)

        def fires() -> tuple[bool, Any]:
            states = monitoring_stack.alerts(namespace, NAME)
            return states.get(alert) == "firing", states

        kube.wait_for("the alert in Prometheus, which is back", lambda: monitoring.reached(fires), 60)
    finally:
        load.inject(url)
        scale_prometheus(1)
    kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "True", "Collecting", seconds=60)
    groups = [group["name"] for group in monitoring_stack.groups(namespace, NAME)]
    assert f"candlepower:{namespace}:{NAME}:objectives" in groups


def scale_prometheus(replicas: int) -> None:
    kube.patch("prometheus", "main", monitoring.NAMESPACE, {"spec": {"replicas": replicas}})


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
