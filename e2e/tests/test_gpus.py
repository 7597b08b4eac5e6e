"""A model that asks for a GPU: what the status says while no node has one, and where it runs when one comes.

The node's GPU is a number that the test writes into the node's status, and its memory a label; the server looks for neither.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import hub
import kube
import models

GPU = "nvidia.com/gpu"
PRODUCT, MEMORY = f"{GPU}.product", f"{GPU}.memory"
# The operator remembers for a minute what it was told of nodes with certain labels. With this one's value it has not asked yet.
POOL = "pool"
PORT = 18086
CONTEXT = 8192
# Beside the server's own gibibyte there is room for the weights, and not for a KV cache of that many tokens.
MEBIBYTES = 1024 + 156
SMALL = {PRODUCT: "Tiny-GPU", MEMORY: str(MEBIBYTES)}
LARGE = {PRODUCT: "Large-GPU", MEMORY: "24576"}
# The operator looks again after a minute whether there are other nodes.
ANOTHER_LOOK = 120


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """The name of the cluster's node, without GPUs before and after."""
    name = kube.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    yield name
    give_gpus(name, 0)
    kube.kubectl("label", "node", name, f"{PRODUCT}-", f"{MEMORY}-", f"{POOL}-")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub.Hub]:
    """The hub's look-alike."""
    with hub.running(models.real_file(), tmp_path_factory.mktemp("hub"), PORT) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def large(namespace: str, mirror: hub.Hub, node: str) -> str:
    """The name of a resource that fits no GPU. The tests go on while the operator waits with its next look at it."""
    label(node, SMALL | {POOL: namespace})
    kube.apply(fetched("large", mirror, {POOL: namespace}), namespace)
    return "large"


def label(node: str, labels: dict[str, str]) -> None:
    kube.kubectl("label", "--overwrite", "node", node, *(f"{name}={value}" for name, value in labels.items()))


def give_gpus(node: str, number: int) -> None:
    status = {kind: {GPU: str(number)} for kind in ("capacity", "allocatable")}
    kube.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def test_without_a_gpu_the_status_names_what_is_missing_and_with_one_it_serves(
    namespace: str, claim: str, node: str
) -> None:
    resources = {"gpus": 1, "cpu": "2", "memory": "1Gi", "requests": {"cpu": "50m", "memory": "64Mi"}}
    kube.apply(models.llm("fast", resources=resources), namespace)
    resource = kube.wait_for_condition("fast", namespace, "Ready", "False", "Unschedulable")
    message = kube.condition(resource, "Ready")["message"]
    assert f"Insufficient {GPU}" in message and "spec.resources.gpus" in message

    (pod,) = kube.pods("fast", namespace)
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["limits"][GPU] == "1"
    assert resource["status"]["imageDevice"] == "cuda"

    give_gpus(node, 1)
    kube.wait_for_condition("fast", namespace, "Ready", "True")


def fetched(name: str, mirror: hub.Hub, nodes: dict[str, str]) -> dict[str, Any]:
    """A model of the hub on a GPU of the nodes with these labels, with far more memory in its container than it needs."""
    env = [{"name": "HF_ENDPOINT", "value": mirror.url}, {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"}]
    spec = {
        "model": {"source": "hf://tests/tiny"},
        "engine": {"maxContextLength": CONTEXT, "maxBatchSize": 1},
        "resources": {"gpus": 1, "cpu": "1", "memory": "8Gi", "requests": {"cpu": "50m", "memory": "64Mi"}},
        "pod": {"env": env, "nodeSelector": nodes},
    }
    return models.llm(name, **spec)


def has_deployment(name: str, namespace: str) -> bool:
    return any(found["metadata"]["name"] == name for found in kube.find("deployments", namespace))


def test_gpus_whose_memory_no_node_tells_are_left_to_the_server(namespace: str, mirror: hub.Hub) -> None:
    kube.apply(fetched("untold", mirror, {PRODUCT: "Unknown"}), namespace)
    resource = kube.wait_for_condition("untold", namespace, "FitsMemory", "Unknown", "NotEstimated")
    message = kube.condition(resource, "FitsMemory")["message"]
    assert MEMORY in message and "GPU feature discovery" in message
    assert has_deployment("untold", namespace)
    kube.kubectl("-n", namespace, "delete", "llm", "untold", "--wait=false")


def test_a_model_that_does_not_fit_the_gpu_is_refused_until_its_context_does(
    namespace: str, mirror: hub.Hub, node: str
) -> None:
    label(node, SMALL)
    kube.apply(fetched("tight", mirror, {PRODUCT: SMALL[PRODUCT]}), namespace)
    resource = kube.wait_for_condition("tight", namespace, "Ready", "False", "MemoryTooSmall")
    fits = kube.condition(resource, "FitsMemory")
    assert (fits["status"], fits["reason"]) == ("False", "MemoryTooSmall")
    for part in [f"KV cache of {CONTEXT} tokens", "overhead 1.0 GiB", "exceed one Tiny-GPU GPU (1.2 GiB)", "a GPU of at least 2 GiB"]:
        assert part in fits["message"]
    assert not has_deployment("tight", namespace)
    proposed = re.search(r"lower engine.maxContextLength to (\d+)", fits["message"])
    assert proposed and 256 <= int(proposed[1]) < CONTEXT

    kube.patch("llm", "tight", namespace, {"spec": {"engine": {"maxContextLength": int(proposed[1])}}})
    resource = kube.wait_for_condition("tight", namespace, "FitsMemory", "True")
    assert "of one Tiny-GPU GPU (1.2 GiB)" in kube.condition(resource, "FitsMemory")["message"]
    assert has_deployment("tight", namespace)
    kube.kubectl("-n", namespace, "delete", "llm", "tight", "--wait=false")


def test_a_claim_of_devices_that_no_driver_has_is_named_with_the_cure(namespace: str, claim: str) -> None:
    request = {"name": "gpu", "exactly": {"deviceClassName": "nothing.example.com"}}
    template = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": "one-gpu"},
        "spec": {"spec": {"devices": {"requests": [request]}}},
    }
    kube.apply(template, namespace)
    resources = {"claims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}], "cpu": "2", "memory": "1Gi"}
    kube.apply(models.llm("claimed", resources=resources), namespace)
    resource = kube.wait_for_condition("claimed", namespace, "Ready", "False", "Unschedulable")
    message = kube.condition(resource, "Ready")["message"]
    assert "device class nothing.example.com" in message and "ResourceClaimTemplate one-gpu" in message
    assert resource["status"]["imageDevice"] == "cuda"
    kube.kubectl("-n", namespace, "delete", "llm", "claimed", "--wait=false")


def test_what_fits_no_gpu_is_served_by_itself_once_a_larger_node_is_there(namespace: str, node: str, large: str) -> None:
    resource = kube.wait_for_condition(large, namespace, "Ready", "False", "MemoryTooSmall")
    fits = kube.condition(resource, "FitsMemory")
    assert (fits["status"], fits["reason"]) == ("False", "MemoryTooSmall")
    assert "exceed one Tiny-GPU GPU (1.2 GiB)" in fits["message"]
    assert not has_deployment(large, namespace)
    generation = resource["metadata"]["generation"]

    label(node, LARGE)
    resource = kube.wait_for_condition(
        large, namespace, "FitsMemory", "True", "EnoughMemory", seconds=ANOTHER_LOOK, pause=1
    )
    assert "of one Large-GPU GPU (24.0 GiB)" in kube.condition(resource, "FitsMemory")["message"]
    # It would fit, and none is free yet.
    resource = kube.wait_for_condition(large, namespace, "Ready", "False", "Unschedulable")
    assert f"Insufficient {GPU}" in kube.condition(resource, "Ready")["message"]

    give_gpus(node, 2)
    resource = kube.wait_for_condition(large, namespace, "Ready", "True", seconds=180)
    assert resource["metadata"]["generation"] == generation
