"""A change reaches the pods where it concerns them, and only there."""

from typing import Any

import pytest

import kube


def uid_of_the_pod(name: str, namespace: str) -> str:
    (pod,) = kube.pods(name, namespace)
    return pod["metadata"]["uid"]


def test_another_batch_size_replaces_the_pod(namespace: str, served: str) -> None:
    old = uid_of_the_pod(served, namespace)
    kube.patch("llm", served, namespace, {"spec": {"engine": {"maxBatchSize": 4}}})
    kube.wait_for_another_pod(served, namespace, old)
    configuration = kube.get("configmap", served, namespace)["data"]["server.yaml"]
    assert "maxBatchSize: 4" in configuration


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"alerts": {"errorRate": {"threshold": "7%"}}}},
        {"spec": {"observability": {"dashboards": {"enabled": False}}}},
        {"metadata": {"labels": {"team": "research"}}},
    ],
    ids=["alert", "dashboards", "label"],
)
def test_what_concerns_no_pod_leaves_it_alone(namespace: str, served: str, change: dict[str, Any]) -> None:
    old = uid_of_the_pod(served, namespace)
    kube.patch("llm", served, namespace, change)
    resource = kube.wait_for_condition(served, namespace, "Ready", "True")
    assert resource["status"]["observedGeneration"] == resource["metadata"]["generation"]
    assert uid_of_the_pod(served, namespace) == old


def test_what_somebody_else_changes_in_a_child_is_put_right(namespace: str, served: str) -> None:
    kube.kubectl("-n", namespace, "delete", "service", served)

    def back() -> tuple[bool, Any]:
        services = kube.find("services", namespace)
        return bool(services), services

    kube.wait_for("the Service to come back", back)
