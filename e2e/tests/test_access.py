"""Who may send requests: API keys out of a Secret, which may change at any time, and a NetworkPolicy."""

from collections.abc import Iterator
from typing import Any

import pytest

import kube
import load
import models

NAME = "locked"
KEYS = {"apiKeys": {"secretRef": {"name": "keys"}}}


def secret(name: str, **keys: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}


@pytest.fixture(scope="module")
def locked(namespace: str, claim: str) -> str:
    """The name of an LLMDeployment that wants a key."""
    kube.apply(secret("keys", team="first"), namespace)
    kube.apply(models.llm(NAME, access=KEYS), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True")
    return NAME


@pytest.fixture(scope="module")
def address(namespace: str, locked: str) -> Iterator[str]:
    with kube.forwarded(namespace, f"service/{locked}", "http") as address:
        yield address


def status(address: str, key: str | None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return load.chat(address, NAME, headers=headers)


def uid(namespace: str) -> str:
    (pod,) = kube.pods(NAME, namespace)
    return pod["metadata"]["uid"]


def test_a_key_opens_and_nothing_else_does(address: str) -> None:
    assert status(address, None) == 401
    assert status(address, "wrong") == 401
    assert status(address, "first") == 200


def test_probes_and_metrics_need_none(namespace: str, address: str) -> None:
    for path in ("/health/ready", "/metrics"):
        assert load.call("GET", f"{address}{path}", None)[0] == 200
    # The operator reads them, too.
    resource = kube.get("llm", NAME, namespace)
    assert kube.condition(resource, "SpecSupported")["status"] == "True"
    assert kube.condition(resource, "ModelLoaded")["status"] == "True"


def test_the_operator_holds_no_key(namespace: str, locked: str) -> None:
    (pod,) = kube.pods(locked, namespace)
    (container,) = pod["spec"]["containers"]
    assert "first" not in str(pod) and "keys" not in str(container["env"])
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["api-keys"]["readOnly"] is True


def test_another_key_reaches_the_server_without_a_restart(namespace: str, address: str) -> None:
    before = uid(namespace)
    kube.patch("secret", "keys", namespace, {"stringData": {"team": "second"}})
    kube.wait_for("the new key to open", lambda: (status(address, "second") == 200, "still refused"), 120)
    assert status(address, "first") == 401
    assert uid(namespace) == before


def test_too_many_requests_of_a_key_have_to_wait(namespace: str, claim: str) -> None:
    kube.apply(secret("limited", team="one"), namespace)
    limited = {"apiKeys": {"secretRef": {"name": "limited"}, "requestsPerMinute": 2}}
    kube.apply(models.llm("limited", access=limited), namespace)
    kube.wait_for_condition("limited", namespace, "Ready", "True")
    with kube.forwarded(namespace, "service/limited", "http") as address:
        headers = {"Authorization": "Bearer one"}
        statuses = [load.chat(address, "limited", headers=headers) for _ in range(3)]
    assert statuses == [200, 200, 429]
    kube.kubectl("-n", namespace, "delete", "llm", "limited", "--wait=false")


def test_a_missing_secret_is_named_and_opens_nothing(namespace: str, claim: str) -> None:
    missing = {"apiKeys": {"secretRef": {"name": "missing"}}}
    kube.apply(models.llm("missing", access=missing), namespace)
    resource = kube.wait_for_condition("missing", namespace, "Ready", "False", "VolumeNotReady")
    message = kube.condition(resource, "Ready")["message"]
    assert '"missing" not found' in message and "spec.access.apiKeys" in message
    kube.kubectl("-n", namespace, "delete", "llm", "missing", "--wait=false")


def test_a_secret_without_keys_opens_nothing(namespace: str, claim: str) -> None:
    kube.apply(secret("empty"), namespace)
    empty = {"apiKeys": {"secretRef": {"name": "empty"}}}
    kube.apply(models.llm("empty", access=empty), namespace)
    kube.wait_for_condition("empty", namespace, "ModelLoaded", "True")
    (pod,) = kube.pods("empty", namespace)
    with kube.forwarded(namespace, f"pod/{pod['metadata']['name']}", "8080") as address:
        code, text = load.call("GET", f"{address}/health/ready", None)
        assert code == 503 and "no_api_keys" in text
        assert load.chat(address, "empty") == 401
    kube.kubectl("-n", namespace, "delete", "llm", "empty", "--wait=false")


def ingress(namespace: str) -> Any:
    """What the NetworkPolicy lets in; None where there is none."""
    found = [policy for policy in kube.find("networkpolicies", namespace) if policy["metadata"]["name"] == NAME]
    return found[0]["spec"]["ingress"] if found else None


def test_the_network_policy_follows_the_resource_and_no_pod_does(namespace: str, locked: str) -> None:
    before = uid(namespace)
    (rule,) = ingress(namespace)
    assert rule["from"] == [{"namespaceSelector": {}}]
    assert [port["port"] for port in rule["ports"]] == [8080]

    peer = {"podSelector": {"matchLabels": {"app": "chat"}}}
    kube.patch("llm", locked, namespace, {"spec": {"access": {"networkPolicy": {"from": [peer]}}}})

    def narrowed() -> tuple[bool, Any]:
        found = ingress(namespace)
        return bool(found) and peer in found[0]["from"], found

    (rule,) = kube.wait_for("the list in the NetworkPolicy", narrowed)
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kube.OPERATOR_NAMESPACE}}}
    assert operator in rule["from"]

    kube.kubectl("-n", namespace, "delete", "networkpolicy", locked)
    kube.wait_for("the NetworkPolicy to come back", narrowed)
    kube.patch("llm", locked, namespace, {"spec": {"access": {"networkPolicy": {"enabled": False}}}})
    kube.wait_for("the NetworkPolicy to go", lambda: (ingress(namespace) is None, ingress(namespace)))
    assert uid(namespace) == before
