"""On a cluster without monitoring one `kubectl apply` is enough for metrics, traces and alerts; and monitoring may
be installed later.

The tests of this module build on each other, in this order.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import kube
import load
import models
import monitoring
from test_observability_stack import ALERTS, FAULTS

pytestmark = pytest.mark.alone

NAME = "observed"
ALERT = "CandlepowerErrorRateHigh"


@pytest.fixture(scope="module")
def prometheus(namespace: str, claim: str) -> monitoring.Prometheus:
    """The Prometheus beside a model whose resource leaves both modes to Auto."""
    resource = models.llm(
        NAME,
        observability={"metrics": {"interval": "5s"}, "tracing": {"samplingRatio": "100%"}},
        alerts=ALERTS,
        resources={"cpu": "2", "memory": "2Gi", "requests": {"cpu": "50m", "memory": "64Mi"}},
        pod=load.FAULTS_ALLOWED,
    )
    kube.apply(resource, namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    return monitoring.Prometheus(namespace, NAME, "prometheus")


@pytest.fixture(scope="module")
def url(namespace: str, prometheus: monitoring.Prometheus) -> Iterator[str]:
    with kube.forwarded(namespace, f"service/{NAME}", "http") as address:
        yield address


def test_prometheus_and_jaeger_run_beside_the_model(namespace: str, prometheus: monitoring.Prometheus) -> None:
    (pod,) = kube.pods(NAME, namespace)
    sidecars = {c["name"]: c for c in pod["spec"]["initContainers"]}
    assert {"prometheus", "jaeger"} <= set(sidecars)
    assert all(sidecar["restartPolicy"] == "Always" for sidecar in sidecars.values())
    chosen = kube.get("llm", NAME, namespace)["status"]["observability"]
    assert (chosen["metrics"], chosen["tracing"]) == ("Sidecar", "Sidecar")


def test_it_scrapes_the_server_and_has_loaded_the_rules(namespace: str, prometheus: monitoring.Prometheus) -> None:
    monitoring.wait_until_collected(prometheus, namespace, NAME)
    kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "True", seconds=90)
    assert prometheus.value(f'llm_model_loaded{{namespace="{namespace}",llmdeployment="{NAME}"}}') == 1


def test_what_the_prefix_cache_saved_is_seen_in_prometheus(namespace: str, url: str, prometheus: monitoring.Prometheus) -> None:
    for _ in range(2):
        assert load.chat(url, NAME) == 200
    hits = f'llm_prefix_cache_hits_total{{namespace="{namespace}",llmdeployment="{NAME}"}}'
    kube.wait_for("hits of the prefix cache", lambda: ((prometheus.value(hits) or 0) > 0, prometheus.query(hits)), 30)


def test_a_request_s_trace_is_found_beside_the_model(namespace: str, url: str) -> None:
    trace_id, caller = load.traced_chat(url, NAME)
    monitoring.check_parents(monitoring.spans(namespace, NAME, "jaeger", trace_id), caller)


def test_openmetrics_is_read_by_its_own_parser_and_leads_from_a_slow_answer_to_its_trace(
    namespace: str, url: str, prometheus: monitoring.Prometheus
) -> None:
    trace_id, _ = load.traced_chat(url, NAME)
    request = urllib.request.Request(f"{url}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    assert families["llm_request_success"].type == "counter"
    exemplars = [sample.exemplar for sample in families["llm_time_to_first_token_seconds"].samples if sample.exemplar]
    assert trace_id in {exemplar.labels["trace_id"] for exemplar in exemplars}
    series = f'llm_time_to_first_token_seconds_bucket{{llmdeployment="{NAME}"}}'
    kube.wait_for("Prometheus to have it too", lambda: (trace_id in (kept := prometheus.exemplars(series)), kept), 30)


def test_each_alert_fires_and_resolves(namespace: str, url: str, prometheus: monitoring.Prometheus) -> None:
    fired: dict[str, set[str]] = {"in Prometheus": set(), "in the status": set()}

    def firing() -> tuple[bool, Any]:
        states = prometheus.alerts(namespace, NAME)
        fired["in Prometheus"] |= {alert for alert, state in states.items() if state == "firing"}
        fired["in the status"] |= monitoring.firing(NAME, namespace)
        return all(set(FAULTS) <= seen for seen in fired.values()), {place: sorted(seen) for place, seen in fired.items()}

    def resolved() -> tuple[bool, Any]:
        left = set(prometheus.alerts(namespace, NAME)) | monitoring.firing(NAME, namespace)
        return not left & set(FAULTS), sorted(left)

    with load.steady(url, NAME):
        load.inject(url, **{fault: value for faults in FAULTS.values() for fault, value in faults.items()})
        kube.wait_for("all alerts to fire", lambda: monitoring.reached(firing), 120)
        load.inject(url, errorRate="50%")
        check_that_a_restarted_operator_forgets_no_alert(namespace)
        load.inject(url)
        kube.wait_for("all alerts to resolve", lambda: monitoring.reached(resolved), 120)


def check_that_a_restarted_operator_forgets_no_alert(namespace: str) -> None:
    old = kube.operator_pod()["metadata"]["name"]
    kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "delete", "pod", old)
    kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "rollout", "status", "deployment/candlepower", "--timeout=60s")
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert ALERT in monitoring.firing(NAME, namespace)
        time.sleep(1)


def test_another_threshold_reaches_it_without_a_new_pod(namespace: str, prometheus: monitoring.Prometheus) -> None:
    (before,) = kube.pods(NAME, namespace)
    kube.patch("llm", NAME, namespace, {"spec": {"alerts": {"throughput": {"threshold": 123457}}}})

    def loaded() -> tuple[bool, Any]:
        groups = prometheus.groups(namespace, NAME)
        return "123457" in json.dumps(groups), [rule["query"] for group in groups for rule in group["rules"]]

    kube.wait_for("the new threshold in Prometheus", lambda: monitoring.reached(loaded), 90)
    (after,) = kube.pods(NAME, namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    restarts = {s["name"]: s["restartCount"] for s in after["status"]["initContainerStatuses"]}
    assert set(restarts.values()) == {0}, restarts


@pytest.fixture(scope="module")
def arrived_stack(namespace: str, prometheus: monitoring.Prometheus, request: pytest.FixtureRequest) -> monitoring.Prometheus:
    """The cluster's Prometheus, which is installed only now: the model serves already."""
    assert kube.get("llm", NAME, namespace)["status"]["observability"]["metrics"] == "Sidecar"
    return request.getfixturevalue("monitoring_stack")


def test_auto_follows_to_a_monitoring_stack_that_arrives(namespace: str, arrived_stack: monitoring.Prometheus) -> None:
    def rolled() -> tuple[bool, Any]:
        containers = [[c["name"] for c in pod["spec"]["initContainers"]] for pod in kube.pods(NAME, namespace)]
        return containers == [["jaeger"]], containers

    kube.wait_for("one pod, with a Jaeger and without a Prometheus", rolled, 90)
    monitoring.wait_until_collected(arrived_stack, namespace, NAME)
    resource = kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "True", "Collecting", seconds=90)
    assert "by PodMonitor" in kube.condition(resource, "ObservabilityReady")["message"]
    chosen = resource["status"]["observability"]
    assert (chosen["metrics"], chosen["tracing"]) == ("PodMonitor", "Sidecar")
    groups = [group["name"].rsplit(":", 1)[-1] for group in arrived_stack.groups(namespace, NAME)]
    assert {"alerts", "recording"} <= set(groups)
