"""LLMBenchmark on a real cluster: it waits for its turn and its target, measures, compares, reports, and leaves nothing behind.

The tests of this module build on each other, in this order.
"""

import json
import re
from typing import Any

import pytest

import kube

pytestmark = pytest.mark.alone

FIRST, SECOND = "first", "second"
LABEL = "candlepower.dev/llmbenchmark"
CHILDREN = "jobs,pods,configmaps,serviceaccounts,roles,rolebindings,llm"


def benchmark(name: str, target: str, seconds: int, **spec: Any) -> dict[str, Any]:
    """A benchmark of two short scenarios with small requests."""

    def scenario(users: int) -> dict[str, Any]:
        return {"name": f"{users}-users", "users": users, "duration": f"{seconds}s", "warmUp": "1s"}

    return {
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMBenchmark",
        "metadata": {"name": name},
        "spec": {
            "target": {"deployment": target},
            "profile": "custom",
            "scenarios": [scenario(2), scenario(4)],
            "workload": {"prompts": [{"tokens": 48, "weight": 1}], "outputTokens": 16},
            "objectives": {"ttft": {"p50": "20s", "p95": "20s", "p99": "20s"}, "tpot": "5s", "tokensPerSecond": 1},
            **spec,
        },
    }


def wait_for_benchmark(name: str, namespace: str, kind: str, status: str, reason: str, seconds: float) -> dict[str, Any]:
    """Waits for a condition of a benchmark, and gives back the whole resource."""

    def look() -> tuple[bool, Any]:
        resource = kube.get("llmbench", name, namespace)
        found = kube.condition(resource, kind)
        if kind == "Complete" and kube.condition(resource, "Failed"):
            raise AssertionError(f"{name} has failed: {json.dumps(resource['status'], indent=1)}")
        return (found.get("status"), found.get("reason")) == (status, reason), resource

    return kube.wait_for(f"{kind}={status} {reason} of {name}", look, seconds)


@pytest.fixture(scope="module")
def started(namespace: str, served: str) -> str:
    """Two benchmarks of one target: one that measures two variants, and one that has to wait for it."""
    variants = [
        {"name": "one-by-one", "patch": {"engine": {"maxBatchSize": 1}}},
        # A quantised file keeps its precision, so that this copy can never serve.
        {"name": "q8", "patch": {"precision": "q8_0"}},
    ]
    kube.apply(benchmark(FIRST, served, 8, variants=variants), namespace)
    wait_for_benchmark(FIRST, namespace, "Complete", "False", "Running", 60)
    kube.apply(benchmark(SECOND, served, 120), namespace)
    return served


@pytest.fixture(scope="module")
def complete(namespace: str, started: str) -> dict[str, Any]:
    return wait_for_benchmark(FIRST, namespace, "Complete", "True", "ReportWritten", 180)


def test_a_target_that_does_not_exist_is_waited_for_with_the_reason(namespace: str) -> None:
    kube.apply(benchmark("early", "nobody", 1), namespace)
    resource = wait_for_benchmark("early", namespace, "Complete", "False", "TargetNotFound", 20)
    assert "no LLMDeployment nobody" in kube.condition(resource, "Complete")["message"]
    assert kube.find("jobs", namespace, f"{LABEL}=early") == []
    kube.kubectl("-n", namespace, "delete", "llmbench", "early")


def test_a_benchmark_of_a_busy_target_says_whom_it_waits_for(namespace: str, started: str) -> None:
    resource = wait_for_benchmark(SECOND, namespace, "Complete", "False", "Queued", 20)
    assert f"the benchmark {FIRST} of the same target comes first" in kube.condition(resource, "Complete")["message"]


def test_its_job_may_touch_its_own_report_and_nothing_else(namespace: str, started: str) -> None:
    def allowed(verb: str, what: str) -> bool:
        account = f"system:serviceaccount:{namespace}:{FIRST}-bench"
        try:
            return kube.kubectl("-n", namespace, "auth", "can-i", verb, what, f"--as={account}").strip() == "yes"
        except kube.Refused:
            return False

    assert allowed("patch", f"configmaps/{FIRST}-report")
    for verb, what in [
        ("patch", f"configmaps/{SECOND}-report"),
        ("delete", f"configmaps/{FIRST}-report"),
        ("list", "configmaps"),
        ("create", "llmdeployments.candlepower.dev"),
        ("get", "secrets"),
    ]:
        assert not allowed(verb, what), f"{verb} {what}"


def test_progress_is_live(namespace: str, started: str) -> None:
    def look() -> tuple[bool, Any]:
        status = kube.get("llmbench", FIRST, namespace).get("status", {})
        return status.get("scenario", {}).get("users", 0) > 0 and "tokensPerSecond" in status.get("summary", {}), status

    status = kube.wait_for("live figures", look, 60)
    assert status["reportRef"] == f"{FIRST}-report"


def test_it_completes_with_figures_and_a_verdict(namespace: str, started: str, complete: dict[str, Any]) -> None:
    status = complete["status"]
    assert status["stage"] == "Complete"
    assert status["verdict"] == "Met", status
    assert [scenario["load"] for scenario in status["scenarios"]] == ["2 users", "4 users"]
    for scenario in status["scenarios"]:
        assert scenario["met"] is True
        assert {"ttftP50", "ttftP95", "tpot", "tokensPerSecond"} <= scenario["summary"].keys()
        assert float(scenario["summary"]["tokensPerSecond"]) > 1
    header, line = next(
        (header, line)
        for header, *lines in [kube.kubectl("-n", namespace, "get", "llmbench").splitlines()]
        for line in lines
        if line.startswith(FIRST)
    )
    assert header.split() == ["NAME", "TARGET", "STAGE", "USERS", "TTFT-P95", "TOK/S", "VERDICT", "AGE"]
    assert line.split()[:4] == [FIRST, started, "Complete", "4"]
    assert line.split()[6] == "Met"


def test_the_variant_was_measured_and_the_impossible_one_says_why_not(complete: dict[str, Any]) -> None:
    results = {variant["name"]: variant["result"] for variant in complete["status"]["variants"]}
    assert "tokens per second" in results["one-by-one"], results
    assert "UnsupportedPrecision" in results["q8"], results


def test_the_report_is_in_its_config_map_and_no_copy_is_left(namespace: str, complete: dict[str, Any]) -> None:
    data = kube.get("configmap", f"{FIRST}-report", namespace)["data"]
    report = json.loads(data["report.json"])
    assert [level["name"] for level in report["levels"]] == ["2-users", "4-users"]
    assert report["comparisons"], "the variant and the deployment again"
    assert re.fullmatch(r"\d+\.\d+\.\d+", report["versions"]["server"] or ""), report["versions"]
    # Read and measured by a job on the node of the server, with as much CPU as that may use.
    assert report["machine"]["cpu"] and report["machine"]["cores"] >= 2, report["machine"]
    assert report["roofline"]["probe"]["threads"] == 2, report["roofline"]["probe"]
    assert not [one for one in report["missing"] if "hardware" in one["what"]], report["missing"]
    assert "# " in data["report.md"]
    summary = json.loads(data["summary.json"])
    assert all(scenario["figures"]["requests"] > 0 for scenario in summary["scenarios"])
    assert kube.find("llm", namespace, LABEL) == []


def test_the_one_that_waited_runs_next_and_deleting_it_in_mid_run_removes_everything(
    namespace: str, complete: dict[str, Any]
) -> None:
    def measuring() -> tuple[bool, Any]:
        status = kube.get("llmbench", SECOND, namespace).get("status", {})
        return status.get("stage") == "Measuring", status

    kube.wait_for("the second one to measure", measuring, 60)
    kube.kubectl("-n", namespace, "delete", "llmbench", SECOND)

    def gone() -> tuple[bool, Any]:
        left = [f"{child['kind']}/{child['metadata']['name']}" for child in kube.find(CHILDREN, namespace, f"{LABEL}={SECOND}")]
        return not left, left

    kube.wait_for("its children to be gone", gone, 60)
