"""Pods whose /metrics are of no use cost nothing but their own figures, and the status says which ones they are."""

from collections.abc import Iterator
from typing import Any

import pytest

import kube
import load
import models

NAME = "among"
# What a stand-in does when asked for its metrics: the operator's words for it.
KINDS = {"endless": "length limit exceeded", "rubbish": "", "slow": "no answer within 1s"}
ROUND = "candlepower_operator_scrape_duration_seconds"


@pytest.fixture(scope="module")
def pod(namespace: str, claim: str) -> dict[str, Any]:
    """The pod of a model that serves, without anything beside it."""
    kube.apply(models.llm(NAME, alerts={"window": "20s"}), namespace)
    kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "True", "CollectionOff")
    (pod,) = kube.pods(NAME, namespace)
    return pod


@pytest.fixture(scope="module")
def program(claim: str) -> Iterator[str]:
    """The path in pods of the program that stands in for a server; it lies beside the model."""
    file = models.real_file().with_name("bad_metrics")
    kube.run("cc", "-o", file, kube.E2E / "lib" / "bad_metrics.c")
    yield f"/models/{file.name}"
    file.unlink()


@pytest.fixture(scope="module")
def bad_pods(namespace: str, pod: dict[str, Any], program: str) -> None:
    """A pod of each kind that the operator takes for one of the model's. The Service leaves them out."""
    for kind in KINDS:
        kube.apply(stand_in(kind, program, pod["spec"]["containers"][0]["image"]), namespace)
    kube.kubectl("-n", namespace, "wait", "--for=condition=Ready", *(f"pod/{kind}" for kind in KINDS), "--timeout=60s")


def stand_in(kind: str, program: str, image: str) -> dict[str, Any]:
    labels = {"candlepower.dev/llmdeployment": NAME, "app.kubernetes.io/managed-by": "candlepower-operator"}
    container = {
        "name": "server",
        "image": image,
        "command": [program, kind],
        "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "10m"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": kind, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [container],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
        },
    }


def rounds() -> tuple[float, float]:
    """How often the operator has asked all pods, and how many seconds that took."""
    series = models.series(kube.raw(kube.OPERATOR_NAMESPACE, "candlepower", "http", "/metrics"))
    return series[f"{ROUND}_count"], series[f"{ROUND}_sum"]


def test_the_status_names_them_and_the_figures_of_the_others_go_on(namespace: str, pod: dict[str, Any], bad_pods: None) -> None:
    operator = kube.operator_pod()
    with kube.forwarded(namespace, f"pod/{pod['metadata']['name']}", "http") as url, load.steady(url, NAME):

        def named() -> tuple[bool, Any]:
            resource = kube.get("llm", NAME, namespace)
            message = kube.condition(resource, "ObservabilityReady").get("message", "")
            return all(f"{kind}: " in message for kind in KINDS), resource

        # A pod that began to serve after the others is named a round later.
        resource = kube.wait_for("the names of all bad pods", named, 30)
        condition = kube.condition(resource, "ObservabilityReady")
        assert (condition["status"], condition["reason"]) == ("False", "NotScraped")
        for words in KINDS.values():
            assert words in condition["message"]
        number, seconds = rounds()
        told = resource["status"].get("performance", {}).get("observedAt", "")

        def newer() -> tuple[bool, Any]:
            status = kube.get("llm", NAME, namespace)["status"]
            figures = status.get("performance", {})
            return figures.get("observedAt", "") > told and float(figures["tokensPerSecond"]) > 0, status

        status = kube.wait_for("newer figures", newer, 40)
        assert status["performance"]["ttft"]["p95"]
    after = rounds()
    assert (after[1] - seconds) / max(after[0] - number, 1) < 1.5, "a round waits 1 s for all slow pods together"
    assert kube.condition(kube.get("llm", NAME, namespace), "Ready")["status"] == "True"
    assert kube.operator_pod()["status"]["containerStatuses"][0]["restartCount"] == (
        operator["status"]["containerStatuses"][0]["restartCount"]
    )


def test_once_they_are_gone_all_is_well(namespace: str, bad_pods: None) -> None:
    kube.kubectl("-n", namespace, "delete", "pods", *KINDS, "--wait=false")
    kube.wait_for_condition(NAME, namespace, "ObservabilityReady", "True", "CollectionOff", seconds=30)
