"""Helm takes the operator away and leaves the models; an upgrade brings the CRDs along.

Last of all, because the others need the operator.
"""

from collections.abc import Iterator

import pytest

import kube

pytestmark = pytest.mark.alone

CRD = "llmdeployments.candlepower.dev"


@pytest.fixture
def reinstalled() -> Iterator[None]:
    """Whatever a test did to the operator, it is there again afterwards."""
    yield
    kube.install_chart()


def short_names() -> list[str]:
    return kube.get("crd", CRD, "default")["spec"]["names"].get("shortNames", [])


def test_an_upgrade_brings_the_crds_up_to_date(reinstalled: None) -> None:
    outdated = '[{"op": "remove", "path": "/spec/names/shortNames"}]'
    kube.kubectl("patch", "crd", CRD, "--type=json", "-p", outdated)
    assert not short_names()
    kube.install_chart()
    assert short_names() == ["llm", "llms"]


def test_uninstalling_keeps_the_models(namespace: str, served: str, reinstalled: None) -> None:
    (pod,) = kube.pods(served, namespace)
    kube.run("helm", "uninstall", "candlepower", "--namespace", kube.OPERATOR_NAMESPACE, "--wait")
    left = kube.find("deployments,services,serviceaccounts", kube.OPERATOR_NAMESPACE, "app.kubernetes.io/instance=candlepower")
    assert not left
    assert "candlepower" not in kube.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name")
    assert kube.get("llm", served, namespace)["spec"]
    (same,) = kube.pods(served, namespace)
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]
