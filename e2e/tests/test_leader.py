"""Of two operators one works. When it is lost the other takes over, and when it is stopped at once."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kube
import models

pytestmark = pytest.mark.alone

# A leader that is lost is followed after 15 s without a change of its lease, which is looked at every 2 s.
TAKE_OVER = 40


@pytest.fixture(scope="module", autouse=True)
def two_operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The chart with two operators, and afterwards as it was."""
    values = tmp_path_factory.mktemp("chart") / "values.yaml"
    own = Path(kube.E2E / "lib" / "test-values.yaml").read_text()
    values.write_text(f"{own}\nreplicas: 2\n")
    kube.install_chart(values)
    yield
    kube.install_chart(kube.E2E / "lib" / "test-values.yaml")


def pods() -> list[dict[str, Any]]:
    """The operators' pods. Those of an earlier roll-out that are still being deleted are none of them."""
    found = kube.find("pods", kube.OPERATOR_NAMESPACE, "app.kubernetes.io/component=operator")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def operators() -> list[str]:
    """The names of the operators' pods."""
    return [pod["metadata"]["name"] for pod in pods()]


def lease() -> dict[str, Any]:
    return kube.get("lease", "candlepower", kube.OPERATOR_NAMESPACE)["spec"]


def leader() -> str:
    """The pod that holds the lease; empty where nobody does."""
    return lease().get("holderIdentity", "").partition("_")[0]


def wait_for_leader(but: str = "") -> str:
    def leads() -> tuple[bool, str]:
        pod = leader()
        return pod != but and pod in operators(), pod

    return kube.wait_for("another leader", leads, TAKE_OVER)


def figures(pod: str) -> dict[str, float]:
    """What an operator counts about itself."""
    address = f"/api/v1/namespaces/{kube.OPERATOR_NAMESPACE}/pods/{pod}:8080/proxy/metrics"
    return models.series(kube.kubectl("get", "--raw", address))


def wait_until_reconciled(name: str, namespace: str) -> None:
    """A resource whose volume does not exist is looked at all the same."""
    kube.apply(models.llm(name, model={"source": "pvc://nowhere/a.gguf"}), namespace)

    def reconciled() -> tuple[bool, Any]:
        resource = kube.get("llm", name, namespace)
        return bool(kube.condition(resource, "Ready")), resource.get("status", {})

    kube.wait_for(f"a status of {name}", reconciled)
    assert kube.get("deployment", name, namespace)


def writes(series: dict[str, float]) -> float:
    """Requests that changed something, but for the lease."""
    found = [
        value
        for name, value in series.items()
        if name.startswith("candlepower_operator_api_requests_total{")
        and any(f'verb="{verb}"' in name for verb in ("create", "update", "patch", "delete"))
        and 'resource="leases"' not in name
    ]
    return sum(found)


def test_only_the_leader_writes_and_both_are_ready(namespace: str) -> None:
    first = wait_for_leader()
    wait_until_reconciled("first", namespace)
    [other] = [pod for pod in operators() if pod != first]
    leading, waiting = figures(first), figures(other)
    assert leading["candlepower_operator_leader"] == 1 and waiting["candlepower_operator_leader"] == 0
    assert writes(leading) > 0
    assert writes(waiting) == 0
    assert waiting.get("candlepower_operator_writes_total", 0) == 0
    statuses = [pod["status"] for pod in pods()]
    ready = [container["ready"] for status in statuses for container in status["containerStatuses"]]
    assert ready == [True, True], json.dumps(statuses)


def test_the_other_takes_over_from_a_leader_that_is_lost(namespace: str) -> None:
    first, transitions = wait_for_leader(), lease()["leaseTransitions"]
    # The container ends without a word: no lease is given away.
    kube.run(kube.E2E / "lib" / "end-container", kube.OPERATOR_NAMESPACE, first, "operator")
    kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "delete", "pod", first, "--force", "--grace-period=0")
    second = wait_for_leader(but=first)
    wait_until_reconciled("second", namespace)
    assert lease()["leaseTransitions"] > transitions
    assert figures(second)["candlepower_operator_leader"] == 1


def test_a_leader_that_is_stopped_gives_the_lease_away(namespace: str) -> None:
    first = wait_for_leader()
    kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "rollout", "status", "deployment/candlepower", "--timeout=60s")
    command = ["kubectl", "-n", kube.OPERATOR_NAMESPACE, "logs", "--follow", first]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as log:
        assert log.stdout and log.stdout.readline(), "from here on nothing that it says is missed"
        kube.kubectl("-n", kube.OPERATOR_NAMESPACE, "delete", "pod", first)
        wait_for_leader(but=first)
        last_words, _ = log.communicate(timeout=60)
    assert "the lease is released" in last_words
    wait_until_reconciled("third", namespace)
