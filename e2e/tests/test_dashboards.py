"""Every query of every panel, and what every runbook tells to look at, finds data of a model under load."""

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
import runbooks

pytestmark = pytest.mark.alone

NAME = "drawn"

# Where to put pictures of the dashboards, drawn from what the test's model did in the last minutes.
PICTURES = os.environ.get("DASHBOARD_PICTURES")
MINUTES = 3

# Parts of the runbooks' queries that find nothing here: history of days, requests refused by a full queue, what is
# recorded only for resources that ask for GPUs, and what only benchmarks have.
WITHOUT_DATA = ["candlepower_llmbenchmark_regressed", "offset 1h", 'error_type="queue_full"', "llm_gpu_memory:utilization_max"]


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


@pytest.mark.parametrize("page", runbooks.PAGES)
def test_what_a_runbook_asks_prometheus_has_an_answer(
    page: str, namespace: str, under_load: str, monitoring_stack: monitoring.Prometheus
) -> None:
    queries = [runbooks.placed(query, namespace, under_load) for query in runbooks.lines(page, "promql")]
    assert queries
    for query in queries:

        def answered(query: str = query) -> tuple[bool, Any]:
            found = monitoring_stack.query(query)
            return bool(found) or any(part in query for part in WITHOUT_DATA), query

        kube.wait_for("an answer", answered, 30)


# Runbooks whose commands show something only while there is that very trouble.
CRASH_LOOP, NO_COLLECTOR = "CandlepowerCrashLooping", "CandlepowerTraceExportFailing"
UNDER_LOAD = [page for page in runbooks.PAGES if runbooks.lines(page, "sh") and page not in (CRASH_LOOP, NO_COLLECTOR)]


@pytest.mark.parametrize("page", UNDER_LOAD)
def test_a_runbook_s_commands_show_something(page: str, namespace: str, under_load: str) -> None:
    runbooks.check_commands(page, namespace, under_load)


def test_the_commands_of_the_runbook_on_crashes_show_a_crash(namespace: str, under_load: str) -> None:
    (pod,) = kube.pods(under_load, namespace)
    kube.run(kube.E2E / "lib" / "end-container", namespace, pod["metadata"]["name"], "server")

    def back() -> tuple[bool, Any]:
        (status,) = kube.get("pod", pod["metadata"]["name"], namespace)["status"]["containerStatuses"]
        return status["restartCount"] > 0 and status["ready"], status

    kube.wait_for("the server to be back", back)
    runbooks.check_commands(CRASH_LOOP, namespace, under_load)


def test_no_command_of_a_runbook_is_left_out() -> None:
    assert runbooks.languages() == {"promql", "sh"}
