"""The operator adds pods when requests wait, removes them when it is quiet, says why, and leaves spec.replicas alone."""

from collections.abc import Iterator
from typing import Any

import pytest

import kube
import load
import models

# Requests that are always under way: one runs, so that more wait than the one that may.
CLIENTS = 4
# Long enough for a scrape to meet it.
TOKENS = 64


@pytest.fixture(scope="module")
def scaled(namespace: str, claim: str) -> str:
    """The name of a deployment of one or two pods, each of which runs one request and lets one wait."""
    limits = {"minReplicas": 1, "maxReplicas": 2, "waitingRequestsPerReplica": 1, "scaleDownStabilization": "5s"}
    engine = {"maxContextLength": 1024, "maxBatchSize": 1}
    kube.apply(models.llm("scaled", autoscaling=limits, engine=engine), namespace)
    kube.wait_for_condition("scaled", namespace, "Ready", "True")
    return "scaled"


@pytest.fixture()
def address(namespace: str, scaled: str) -> Iterator[str]:
    with kube.forwarded(namespace, f"service/{scaled}", "http") as found:
        yield found


def wait_for_pods(name: str, namespace: str, number: int, seconds: float = 90) -> dict[str, Any]:
    """Waits until so many pods serve, and gives back the resource."""

    def settled() -> tuple[bool, Any]:
        resource = kube.get("llm", name, namespace)
        status = resource["status"]
        return status["readyReplicas"] == status["replicas"] == number, resource

    return kube.wait_for(f"{number} pods that serve", settled, seconds)


def reasons(name: str, namespace: str) -> list[str]:
    """The reasons of the events that tell of another number."""
    events = kube.find("events.events.k8s.io", namespace)
    about = [event for event in events if event["regarding"]["name"] == name and event["regarding"]["kind"] == "LLMDeployment"]
    return [event["reason"] for event in about if event.get("action") == "Scale"]


def test_load_brings_a_pod_and_quiet_takes_it_away(namespace: str, scaled: str, address: str) -> None:
    before = kube.get("llm", scaled, namespace)["status"]
    assert before["autoscaling"]["desiredReplicas"] == 1
    assert "lastScaleTime" not in before["autoscaling"]

    with load.steady(address, scaled, clients=CLIENTS, tokens=TOKENS) as answers:
        grown = wait_for_pods(scaled, namespace, 2)
    chosen = grown["status"]["autoscaling"]
    assert chosen["desiredReplicas"] == 2
    # All requests stay with the pod that the port is forwarded to, so that it may be said by now that two are not enough.
    assert chosen["reason"] in ("LoadRose", "AtMaximum"), chosen
    assert chosen["lastScaleTime"]
    assert grown["spec"].get("replicas") is None, "the field is not the operator's"
    assert set(answers) == {200}

    shrunk = wait_for_pods(scaled, namespace, 1)["status"]["autoscaling"]
    assert (shrunk["desiredReplicas"], shrunk["reason"]) == (1, "LoadFell"), shrunk
    assert shrunk["message"].startswith("1 pod instead of 2: more were not needed in the last 5s"), shrunk
    assert sorted(reasons(scaled, namespace)) == ["LoadFell", "LoadRose"]


def test_the_deployment_is_set_back_and_the_scale_subresource_is_refused(namespace: str, scaled: str) -> None:
    generation = kube.get("deployment", scaled, namespace)["metadata"]["generation"]
    kube.kubectl("-n", namespace, "scale", f"deployment/{scaled}", "--replicas=2")

    def set_back() -> tuple[bool, Any]:
        deployment = kube.get("deployment", scaled, namespace)
        changes = deployment["metadata"]["generation"] - generation
        return changes >= 2 and deployment["spec"]["replicas"] == 1, deployment["spec"]

    kube.wait_for("the number that the operator chose", set_back)
    with pytest.raises(kube.Refused, match="either spec.replicas or spec.autoscaling"):
        kube.kubectl("-n", namespace, "scale", f"llm/{scaled}", "--replicas=0")


def test_without_autoscaling_the_scale_subresource_switches_off_and_on(namespace: str, scaled: str) -> None:
    kube.patch("llm", scaled, namespace, {"spec": {"autoscaling": None}})
    kube.kubectl("-n", namespace, "scale", f"llm/{scaled}", "--replicas=0")
    off = kube.wait_for_condition(scaled, namespace, "Ready", "False", "ScaledToZero")
    assert "autoscaling" not in off["status"]

    def gone() -> tuple[bool, Any]:
        scale = kube.scale("llm", scaled, namespace)
        return scale["status"]["replicas"] == 0, scale

    scale = kube.wait_for("no pod", gone)
    assert f"candlepower.dev/llmdeployment={scaled}" in scale["status"]["selector"]
    kube.kubectl("-n", namespace, "scale", f"llm/{scaled}", "--replicas=1")
    kube.wait_for_condition(scaled, namespace, "Ready", "True")
    with kube.forwarded(namespace, f"service/{scaled}", "http") as address:
        assert load.chat(address, scaled) == 200
