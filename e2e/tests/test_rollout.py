"""Under constant load, neither another configuration nor fewer replicas cost a request; and of several pods, a drain of
nodes takes one at a time."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import kube
import models

NAME = "rolled"
NETWORK = os.environ.get("CANDLEPOWER_NETNS", "/run/netns/candlepower")
CLIENTS = kube.E2E / "lib" / "constant_load.py"


@pytest.fixture(scope="module")
def rolled(namespace: str, claim: str) -> str:
    """The name of an LLMDeployment with two pods that serve."""
    kube.apply(models.llm(NAME, replicas=2, rollout={"drainTimeout": "30s"}), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True")
    return NAME


@contextlib.contextmanager
def constant_load(name: str, namespace: str) -> Iterator[None]:
    """Clients within the cluster's network; afterwards each of them has had answers, and to every request."""
    address = kube.get("service", name, namespace)["spec"]["clusterIP"]
    command = ["nsenter", f"--net={NETWORK}", sys.executable, str(CLIENTS), f"http://{address}:8080", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clients:
        try:
            yield
        except BaseException:
            clients.kill()
            raise
        told = json.loads(clients.communicate(timeout=120)[0])
    assert told["lost"] == [] and told["hang"] == 0, told
    assert all(answered >= 10 for answered in told["answered"]), told


def uids(name: str, namespace: str) -> set[str]:
    """Of all pods, those on their way out included."""
    return {pod["metadata"]["uid"] for pod in kube.find("pods", namespace, f"candlepower.dev/llmdeployment={name}")}


def wait_for_pods(name: str, namespace: str, number: int, without: set[str]) -> None:
    """Waits until that many pods serve, and none of those is left."""

    def look() -> tuple[bool, Any]:
        resource = kube.get("llm", name, namespace)
        ready = kube.condition(resource, "Ready").get("status") == "True"
        now = uids(name, namespace)
        return ready and len(now) == number and not now & without, {"pods": sorted(now), **resource["status"]}

    kube.wait_for(f"{number} other pods", look, 180)


def budgets(namespace: str) -> list[dict[str, Any]]:
    return kube.find("poddisruptionbudgets", namespace)


def test_of_two_pods_one_may_be_away(namespace: str, rolled: str) -> None:
    (budget,) = budgets(namespace)
    assert budget["metadata"]["name"] == rolled
    assert budget["spec"]["maxUnavailable"] == 1

    def counted() -> tuple[bool, Any]:
        (budget,) = budgets(namespace)
        return budget.get("status", {}).get("disruptionsAllowed") == 1, budget

    kube.wait_for("the budget to find both pods", counted)


def test_what_somebody_else_changes_in_the_budget_is_put_right(namespace: str, rolled: str) -> None:
    kube.patch("pdb", rolled, namespace, {"spec": {"maxUnavailable": 2}})

    def back() -> tuple[bool, Any]:
        found = budgets(namespace)
        return [budget["spec"]["maxUnavailable"] for budget in found] == [1], found

    kube.wait_for("the budget as it was", back)
    kube.kubectl("-n", namespace, "delete", "pdb", rolled)
    kube.wait_for("the budget to come back", back)


def test_another_configuration_loses_no_request(namespace: str, rolled: str) -> None:
    before = uids(rolled, namespace)
    with constant_load(rolled, namespace):
        kube.patch("llm", rolled, namespace, {"spec": {"engine": {"maxBatchSize": 4}}})
        wait_for_pods(rolled, namespace, 2, without=before)


def test_fewer_replicas_lose_no_request(namespace: str, rolled: str) -> None:
    before = uids(rolled, namespace)
    with constant_load(rolled, namespace):
        kube.kubectl("-n", namespace, "scale", f"llm/{rolled}", "--replicas=1")
        wait_for_pods(rolled, namespace, 1, without=set())
    # The number of replicas is no part of a pod.
    assert uids(rolled, namespace) < before


def test_a_single_pod_holds_up_no_node(namespace: str, rolled: str) -> None:
    kube.wait_for("the budget to go", lambda: (not budgets(namespace), budgets(namespace)))
