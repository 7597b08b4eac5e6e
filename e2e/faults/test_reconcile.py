"""The children are made, kept as they should be and taken away, and nothing else is touched."""

import time
from collections.abc import Callable
from typing import Any

import pytest

import kube
import models
import operators
from fault_proxy import Proxy
from operator_process import Operator
from operators import SOON

# One that is fetched into a volume, with two pods: it has a child of every kind that needs no other CRDs.
ALL = {
    "model": {"source": "hf://org/model"},
    "cache": {"size": "1Gi"},
    "replicas": 2,
}
CHILDREN = {
    "configmap": ["{}", "{}-dashboards"],
    "service": ["{}"],
    "networkpolicy": ["{}"],
    "deployment": ["{}"],
    "poddisruptionbudget": ["{}"],
    "persistentvolumeclaim": ["{}-cache"],
}
OFF = {
    "replicas": 1,
    "cache": None,
    "access": {"networkPolicy": {"enabled": False}},
    "observability": {"dashboards": {"enabled": False}},
}


def settle(proxy: Proxy, resource: dict[str, Any], namespace: str) -> dict[str, Any]:
    kube.apply(resource, namespace)
    return operators.wait_until_settled(proxy, resource["metadata"]["name"], namespace)


def child_names(name: str) -> list[tuple[str, str]]:
    return [(kind, pattern.format(name)) for kind, patterns in CHILDREN.items() for pattern in patterns]


def test_every_child_is_made_and_belongs_to_the_resource(namespace: str, proxy: Proxy, operator: Operator) -> None:
    resource = settle(proxy, models.llm("made", **ALL), namespace)
    for kind, name in child_names("made"):
        child = kube.get(kind, name, namespace)
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("LLMDeployment", resource["metadata"]["uid"]), (kind, name)
        assert owner["controller"] is True
        # Each was asked for once: nothing is written a second time on the way.
        resources = {"networkpolicy": "networkpolicies"}.get(kind, f"{kind}s")
        assert [write.status for write in proxy.writes() if (write.resource, write.name) == (resources, name)] == [201], (kind, name)
    assert kube.condition(resource, "Ready")["reason"] == "PodsPending"


def test_another_look_and_another_operator_write_nothing(
    namespace: str, proxy: Proxy, operator: Operator, new_proxy: Callable[[], Proxy], start: Callable[..., Operator]
) -> None:
    settle(proxy, models.llm("quiet", **ALL), namespace)
    since, looks = time.monotonic(), operator.reconciles()
    kube.kubectl("-n", namespace, "annotate", "service", "quiet", "example.org/note=seen")
    kube.wait_for("another look", lambda: (operator.reconciles() > looks, operator.reconciles()), SOON)
    other = new_proxy()
    second = start(other)
    kube.wait_for("a look of the other", lambda: (second.reconciles() > 0, second.reconciles()), SOON)
    time.sleep(2)  # a resource is looked at once a second at most
    assert proxy.writes(since) == []
    assert other.writes() == []
    second.end()


def test_what_somebody_changes_in_children_is_put_right_and_what_is_theirs_stays(
    namespace: str, proxy: Proxy, operator: Operator
) -> None:
    settle(proxy, models.llm("edited", **ALL), namespace)
    note = {"metadata": {"annotations": {"example.org/note": "keep"}, "labels": {"example.org/team": "a"}}}
    kube.patch("deployment", "edited", namespace, {**note, "spec": {"replicas": 5}})
    kube.patch("service", "edited", namespace, {**note, "spec": {"selector": {"candlepower.dev/llmdeployment": "other"}}})
    config = kube.get("configmap", "edited", namespace)["data"]
    changed = {key: "broken" for key in config}
    kube.patch("configmap", "edited", namespace, {**note, "data": {**changed, "theirs.txt": "keep"}})

    def right() -> tuple[bool, Any]:
        deployment = kube.get("deployment", "edited", namespace)["spec"]["replicas"]
        selector = kube.get("service", "edited", namespace)["spec"]["selector"]["candlepower.dev/llmdeployment"]
        data = kube.get("configmap", "edited", namespace)["data"]
        return (deployment, selector) == (2, "edited") and data.items() >= config.items(), [deployment, selector, data]

    kube.wait_for("the children as they were", right, SOON)
    for kind in ("deployment", "service", "configmap"):
        metadata = kube.get(kind, "edited", namespace)["metadata"]
        assert metadata["annotations"]["example.org/note"] == "keep", kind
        assert metadata["labels"]["example.org/team"] == "a", kind
    assert kube.get("configmap", "edited", namespace)["data"]["theirs.txt"] == "keep"


def test_dashboards_cannot_be_edited_and_are_replaced_where_they_change(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, models.llm("drawn"), namespace)
    first = kube.get("configmap", "drawn-dashboards", namespace)
    with pytest.raises(kube.Refused, match="immutable"):
        kube.patch("configmap", "drawn-dashboards", namespace, {"data": {key: "broken" for key in first["data"]}})

    def replaced(old: str) -> dict[str, Any]:
        def another() -> tuple[bool, Any]:
            found = [one for one in kube.find("configmaps", namespace) if one["metadata"]["name"] == "drawn-dashboards"]
            return bool(found) and found[0]["metadata"]["uid"] != old, found

        return kube.wait_for("another ConfigMap", another, SOON)[0]

    kube.patch("configmap", "drawn-dashboards", namespace, {"metadata": {"labels": {"grafana_dashboard": None}}})
    second = replaced(first["metadata"]["uid"])
    assert (second["data"], second["metadata"]["labels"]) == (first["data"], first["metadata"]["labels"])
    kube.patch("llm", "drawn", namespace, {"spec": {"alerts": {"timeToFirstTokenP95": {"threshold": "7s"}}}})
    third = replaced(second["metadata"]["uid"])
    assert third["data"].keys() == first["data"].keys() and third["data"] != first["data"]
    operators.wait_until_settled(proxy, "drawn", namespace)
    assert len(proxy.of("delete", "configmaps", "drawn-dashboards")) == 2


def test_what_was_created_with_it_goes_when_it_is_wanted_no_more(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, models.llm("lighter", pod={"nodeSelector": {"example.org/a": "b"}, "labels": {"example.org/c": "d"}}), namespace)
    note = {"metadata": {"annotations": {"example.org/note": "keep"}}}
    kube.patch("deployment", "lighter", namespace, note)
    kube.patch("llm", "lighter", namespace, {"spec": {"pod": None}})
    operators.wait_until_settled(proxy, "lighter", namespace)
    deployment = kube.get("deployment", "lighter", namespace)
    template = deployment["spec"]["template"]
    assert "nodeSelector" not in template["spec"]
    assert "example.org/c" not in template["metadata"]["labels"]
    assert deployment["metadata"]["annotations"]["example.org/note"] == "keep"
    # Its fields are declared applied once, and never again.
    since = time.monotonic()
    kube.patch("llm", "lighter", namespace, {"spec": {"pod": {"nodeSelector": {"example.org/a": "c"}}}})
    operators.wait_until_settled(proxy, "lighter", namespace)
    assert len(proxy.of("patch", "deployments", "lighter", since)) == 1


def test_what_somebody_deletes_comes_back(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, models.llm("robbed", **ALL), namespace)
    # A claim would wait for a controller that is not here.
    robbed = [child for child in child_names("robbed") if child[0] != "persistentvolumeclaim"]
    before = {child: kube.get(*child, namespace)["metadata"]["uid"] for child in robbed}
    kube.kubectl("-n", namespace, "delete", *(f"{kind}/{name}" for kind, name in robbed), "--wait=false")

    def back() -> tuple[bool, Any]:
        missing = [child for child in robbed if not operators.exists(*child, namespace)]
        return not missing, missing

    kube.wait_for("every child", back, SOON)
    after = {child: kube.get(*child, namespace)["metadata"]["uid"] for child in robbed}
    assert all(before[child] != after[child] for child in robbed)


def test_who_scales_the_resource_owns_the_number(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, models.llm("scaled"), namespace)
    kube.kubectl("-n", namespace, "scale", "llm/scaled", "--replicas=3")

    def replicas() -> tuple[bool, Any]:
        found = kube.get("deployment", "scaled", namespace)["spec"]["replicas"]
        return found == 3, found

    kube.wait_for("three replicas", replicas, SOON)
    kube.patch("deployment", "scaled", namespace, {"spec": {"replicas": 1}})
    kube.wait_for("three replicas again", replicas, SOON)
    resource = operators.wait_until_settled(proxy, "scaled", namespace)
    assert resource["spec"]["replicas"] == 3
    assert proxy.of("patch", "llmdeployments") == proxy.of("update", "llmdeployments") == []


def test_a_child_that_is_wanted_no_more_goes_and_a_stranger_stays(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, models.llm("fewer", **ALL), namespace)
    labels = kube.get("configmap", "fewer", namespace)["metadata"]["labels"]
    stranger = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stranger", "labels": labels}}
    kube.apply(stranger, namespace)
    kube.patch("llm", "fewer", namespace, {"spec": OFF})
    orphans = [
        ("poddisruptionbudget", "fewer"),
        ("networkpolicy", "fewer"),
        ("configmap", "fewer-dashboards"),
    ]

    def gone() -> tuple[bool, Any]:
        left = [child for child in orphans if operators.exists(*child, namespace)]
        return not left, left

    kube.wait_for("the end of the orphans", gone, SOON)
    # Kubernetes keeps a claim until a controller has seen that no pod uses it.
    claim = kube.get("persistentvolumeclaim", "fewer-cache", namespace)
    assert "deletionTimestamp" in claim["metadata"]
    operators.wait_until_settled(proxy, "fewer", namespace)
    assert operators.exists("configmap", "stranger", namespace)
    for kind in ("configmap", "service", "deployment"):
        assert operators.exists(kind, "fewer", namespace), kind


@pytest.mark.parametrize("is_labelled", [False, True], ids=["without our labels", "with our labels"])
def test_an_object_of_somebody_else_is_not_taken_over_and_the_status_names_it(
    is_labelled: bool, namespace: str, proxy: Proxy, operator: Operator
) -> None:
    name = f"taken-{'labelled' if is_labelled else 'bare'}"
    labels = {"app.kubernetes.io/managed-by": "candlepower-operator", "candlepower.dev/llmdeployment": name}
    metadata = {"name": name, "labels": labels if is_labelled else {}}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "theirs"}}, namespace)
    before = kube.get("configmap", name, namespace)
    kube.apply(models.llm(name), namespace)
    resource = kube.wait_for_condition(name, namespace, "Ready", "False", "ChildRefused", SOON)
    message = kube.condition(resource, "Ready")["message"]
    assert f"ConfigMap {name}" in message and "exists already" in message
    assert kube.get("configmap", name, namespace) == before
    assert [write for write in proxy.writes() if (write.resource, write.name) == ("configmaps", name) and write.status < 300] == []
    assert operators.failures(operator, "refused") > 0
    kube.kubectl("-n", namespace, "delete", "configmap", name)
    operators.wait_for_child("deployment", name, namespace)
    kube.wait_for_condition(name, namespace, "Ready", "False", "PodsPending", SOON)
