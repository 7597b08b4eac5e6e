"""A model that asks for a GPU: what the status says while no node has one, and where it runs when one comes.

The node's GPU is a number that the test writes into the node's status; the server does not look for it.
"""

import json
from collections.abc import Iterator

import pytest

import kube
import models

GPU = "nvidia.com/gpu"


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """The name of the cluster's node, without GPUs before and after."""
    name = kube.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    yield name
    give_gpus(name, 0)


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
