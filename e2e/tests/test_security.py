"""Model pods and the operator run with as few rights as they can. The namespace enforces the level `restricted`."""

from typing import Any

import kube
import pytest


@pytest.fixture(scope="module")
def pod(namespace: str, served: str) -> dict[str, Any]:
    """The pod that serves."""
    return kube.pods(served, namespace)[0]


def assert_unprivileged(pod: dict[str, Any]) -> None:
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["spec"]["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


def test_the_model_pod_is_unprivileged(pod: dict[str, Any]) -> None:
    assert_unprivileged(pod)


def test_the_operator_is_unprivileged() -> None:
    assert_unprivileged(kube.operator_pod())


def test_the_model_pod_holds_no_credentials_of_the_cluster(pod: dict[str, Any]) -> None:
    assert pod["spec"]["automountServiceAccountToken"] is False
    paths = [mount["mountPath"] for c in pod["spec"]["containers"] for mount in c["volumeMounts"]]
    assert not any("serviceaccount" in path for path in paths)


def test_the_model_is_mounted_for_reading_only(pod: dict[str, Any]) -> None:
    mounts = {m["mountPath"]: m for c in pod["spec"]["containers"] for m in c["volumeMounts"]}
    assert mounts["/models"]["readOnly"] is True


def test_the_operator_may_not_read_secrets_or_write_pods() -> None:
    account = kube.operator_pod()["spec"]["serviceAccountName"]
    user = f"--as=system:serviceaccount:{kube.OPERATOR_NAMESPACE}:{account}"
    for verb, kind in [("patch", "deployments.apps"), ("list", "nodes")]:
        assert allowed(verb, kind, user), f"{verb} {kind}"
    refused = [("get", "secrets"), ("create", "pods"), ("delete", "namespaces"), ("update", "llm"), ("patch", "nodes")]
    for verb, kind in refused:
        assert not allowed(verb, kind, user), f"{verb} {kind}"


def allowed(verb: str, kind: str, user: str) -> bool:
    try:
        return kube.kubectl("auth", "can-i", verb, kind, "--all-namespaces", user).strip() == "yes"
    except kube.Refused:  # "no" is a failure to kubectl
        return False
