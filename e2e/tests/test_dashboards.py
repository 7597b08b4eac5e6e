"""Every query of every panel finds data in a Prometheus that scrapes a model under load."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import kube
import load
import models
import monitoring

NAME = "drawn"

# Where to put pictures of the dashboards, drawn from what the test's model did in the last minutes.
PICTURES = os.environ.get("DASHBOARD_PICTURES")
MINUTES = 3


@pytest.fixture(scope="module")
def gpu_library(claim: str) -> Iterator[dict[str, str]]:
    """A variable that makes the server see the two GPUs of the stand-in library, which lies beside the model."""
    library = models.real_file().with_name("libnvidia-ml.so.1")
    source = kube.E2E.parent / "server" / "tests" / "nvml" / "nvml.c"
    kube.run("cc", "-shared", "-fPIC", "-o", library, source)
    yield {"name": "NVML_LIBRARY", "value": f"/models/{library.name}"}
    library.unlink()


@pytest.fixture(scope="module")
def under_load(namespace: str, claim: str, gpu_library: dict[str, str], monitoring_stack: monitoring.Prometheus) -> Any:
    """A model that has answered, failed and waited, so that no series is empty. Requests go on."""
    resource = models.llm(
        NAME,
        observability={"metrics": {"interval": "5s"}, "tracing": {"samplingRatio": "100%"}},
        alerts={"window": "20s", "errorRate": {"for": "0s"}},
        objectives={"availability": "99%", "timeToFirstToken": {"threshold": "2s", "target": "95%"}},
        pod={"env": [*load.FAULTS_ALLOWED["env"], gpu_library]},
    )
    watch_the_operator()
    kube.apply(resource, namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=120)
    monitoring.wait_until_collected(monitoring_stack, namespace, NAME)
    with kube.forwarded(namespace, f"service/{NAME}", "http") as url, load.steady(url, NAME):
        load.inject(url, errorRate="30%")  # so that there are errors to show, and an alert
        kube.wait_for(
            "errors in Prometheus",
            lambda: ((rate := monitoring_stack.value(f'sum(rate(llm_request_errors_total{{llmdeployment="{NAME}"}}[20s]))') or 0) > 0, rate),
            60,
        )
        yield NAME


def watch_the_operator() -> None:
    """Applies the chart's PodMonitor for the operator, as the chart does on a cluster that served the kind before."""
    chart = kube.E2E.parent / "charts" / "candlepower"
    values = ["--values", kube.E2E / "lib" / "test-values.yaml", "--set-string", "podMonitor.operator=true"]
    template = ["--namespace", kube.OPERATOR_NAMESPACE, "--show-only", "templates/podmonitor.yaml"]
    kube.kubectl("apply", "-f", "-", stdin=kube.run("helm", "template", "candlepower", chart, *template, *values))


def test_every_panel_s_query_finds_data(namespace: str, under_load: str) -> None:
    """The operator's own series come a scrape or two later than the model's, so that one look is not enough."""
    with kube.forwarded(monitoring.NAMESPACE, "service/prometheus-operated", "web") as address:
        command = [
            sys.executable, kube.E2E / "lib" / "render_dashboards.py", "--check", "--prometheus", address,
            "--namespace", namespace, "--llmdeployment", under_load,
        ]  # fmt: skip

        def check() -> tuple[bool, str]:
            try:
                return True, kube.run(*command)
            except kube.Refused as refused:
                return False, str(refused)

        print(kube.wait_for("data for every query", check, 90))
        if PICTURES:
            time.sleep(60 * MINUTES)
            draw = [option for option in command if option != "--check"]
            print(kube.run(*draw, "--range", str(60 * MINUTES), "--out", PICTURES))


def test_the_dashboards_are_delivered_for_grafana(namespace: str, under_load: str) -> None:
    boards = kube.get("configmap", f"{under_load}-dashboards", namespace)
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert boards["data"]
