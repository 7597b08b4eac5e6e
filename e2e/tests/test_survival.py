"""The operator outlives the API server's restart and keeps doing its work."""

from typing import Any

import pytest

import kube
import models

pytestmark = pytest.mark.alone


def restarts() -> int:
    return sum(status["restartCount"] for status in kube.operator_pod()["status"]["containerStatuses"])


def scale_and_wait(name: str, namespace: str, number: int) -> None:
    kube.kubectl("-n", namespace, "scale", f"llm/{name}", f"--replicas={number}")

    def settled() -> tuple[bool, Any]:
        status = kube.get("llm", name, namespace)["status"]
        return status["readyReplicas"] == status["replicas"] == number, status

    kube.wait_for(f"{number} replicas", settled)


def operator_answers(old: str) -> tuple[bool, Any]:
    """Whether another pod than `old` stands behind the operator's Service; Kubernetes counts the Deployment as
    rolled out a moment before it has noticed that its pod is gone, and routes to the new one a moment later."""
    slices = kube.find("endpointslices", kube.OPERATOR_NAMESPACE, "kubernetes.io/service-name=candlepower")
    ready = [
        endpoint["targetRef"]["name"]
        for part in slices
        for endpoint in part["endpoints"] or []
        if endpoint["conditions"].get("ready")
    ]
    return bool(ready) and old not in ready, ready


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
    kube.wait_for("a new operator that answers", lambda: operator_answers(old), 60)
    scale_and_wait(served, namespace, 2)
    assert uids < {pod["metadata"]["uid"] for pod in kube.pods(served, namespace)}
    scale_and_wait(served, namespace, 0)
    resource = kube.wait_for_condition(served, namespace, "Ready", "False", "ScaledToZero")
    assert resource["status"]["replicas"] == 0


def test_an_operator_with_another_image_for_servers_restarts_none(namespace: str, served: str) -> None:
    scale_and_wait(served, namespace, 1)
    (before,) = kube.pods(served, namespace)
    kube.run("env", "SERVER_IMAGE=candlepower/server:another", kube.E2E / "lib" / "install-chart")
    try:
        newer = models.llm("newer", replicas=0)
        kube.apply(newer, namespace)

        def image() -> tuple[bool, Any]:
            found = [child for child in kube.find("deployments", namespace) if child["metadata"]["name"] == "newer"]
            images = [child["spec"]["template"]["spec"]["containers"][0]["image"] for child in found]
            return images == ["candlepower/server:another"], images

        kube.wait_for("the other image for a new resource", image)
        # The new operator has seen this one, too.
        kube.patch("llm", served, namespace, {"spec": {"alerts": {"errorRate": {"threshold": "7%"}}}})
        kube.wait_for_condition(served, namespace, "Ready", "True")
        (after,) = kube.pods(served, namespace)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
    finally:
        kube.install_chart()


def test_the_operator_says_how_it_fares(namespace: str, served: str) -> None:
    assert kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/healthz")
    assert kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/readyz")
    series = models.series(kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/metrics"))
    assert series['candlepower_operator_reconciles_total{controller="llmdeployment",result="success"}'] > 0
    assert series["process_resident_memory_bytes"] > 0
