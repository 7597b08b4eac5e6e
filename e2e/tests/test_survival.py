"""The operator outlives the API server's restart and keeps doing its work."""

from typing import Any

import kube
import models


def restarts() -> int:
    return sum(status["restartCount"] for status in kube.operator_pod()["status"]["containerStatuses"])


def scale_and_wait(name: str, namespace: str, number: int) -> None:
    kube.kubectl("-n", namespace, "scale", f"llm/{name}", f"--replicas={number}")

    def settled() -> tuple[bool, Any]:
        status = kube.get("llm", name, namespace)["status"]
        return status["readyReplicas"] == status["replicas"] == number, status

    kube.wait_for(f"{number} replicas", settled)


def test_it_goes_on_after_the_api_server_was_away(namespace: str, served: str) -> None:
    before, uid = restarts(), kube.operator_pod()["metadata"]["uid"]
    kube.run(kube.E2E / "cluster" / "restart-apiserver", "3")
    scale_and_wait(served, namespace, 2)
    scale_and_wait(served, namespace, 1)
    assert kube.operator_pod()["metadata"]["uid"] == uid
    assert restarts() == before


def test_a_new_operator_leaves_what_runs_alone(namespace: str, served: str) -> None:
    uids = {pod["metadata"]["uid"] for pod in kube.pods(served, namespace)}
    old = kube.operator_pod()["metadata"]["name"]
    kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "delete", "pod", old)
    kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "rollout", "status", "deployment/candlepower", "--timeout=60s")
    scale_and_wait(served, namespace, 2)
    assert uids < {pod["metadata"]["uid"] for pod in kube.pods(served, namespace)}
    scale_and_wait(served, namespace, 0)
    resource = kube.wait_for_condition(served, namespace, "Ready", "False", "ScaledToZero")
    assert resource["status"]["replicas"] == 0


def test_the_operator_says_how_it_fares(namespace: str, served: str) -> None:
    assert kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/healthz")
    assert kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/readyz")
    series = models.series(kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/metrics"))
    assert series['candlepower_operator_reconciles_total{controller="llmdeployment",result="success"}'] > 0
    assert series["process_resident_memory_bytes"] > 0
