"""The API server goes in the middle of a roll-out, and comes back."""

import os
import time
from typing import Any

import pytest

import kube
import models
import operators
from fault_proxy import Delay, Proxy
from operator_process import Operator

pytestmark = pytest.mark.alone

OUTAGE = float(os.environ.get("FAULTS_OUTAGE", "3"))
NAMES = [f"model-{number}" for number in range(5)]


def config_hashes(namespace: str) -> dict[str, str]:
    """Which configuration the pods of each resource are to have."""
    found = kube.find("deployments", namespace)
    templates = {item["metadata"]["name"]: item["spec"]["template"]["metadata"]["annotations"] for item in found}
    return {name: annotations["candlepower.dev/config-hash"] for name, annotations in templates.items()}


def test_a_roll_out_goes_on_when_the_api_server_is_back(namespace: str, proxy: Proxy, operator: Operator) -> None:
    for name in NAMES:
        kube.apply(models.llm(name), namespace)
    for name in NAMES:
        operators.wait_until_settled(proxy, name, namespace)
    before = config_hashes(namespace)

    # The requests that change the pods are on their way when the API server goes.
    late = proxy.add(Delay(3), "patch", "deployments", times=len(NAMES))
    for name in NAMES:
        kube.patch("llm", name, namespace, {"spec": {"engine": {"maxBatchSize": 4}}})
    operators.control_plane("lose-apiserver")
    went = time.monotonic()
    time.sleep(OUTAGE)
    assert operator.process.poll() is None
    operators.control_plane("start-apiserver")
    came = time.monotonic()

    def rolled() -> tuple[bool, Any]:
        now = config_hashes(namespace)
        return now.keys() == before.keys() and all(now[name] != before[name] for name in NAMES), now

    # A resource is tried again after twice as long as before, at most.
    kube.wait_for("another configuration everywhere", rolled, 30 + 2 * OUTAGE)
    print(f"everything was right {time.monotonic() - came:.1f} s after the API server came back")
    for name in NAMES:
        operators.wait_until_settled(proxy, name, namespace)
    assert late.hits, "it went in the middle of the roll-out"
    assert operator.process.poll() is None
    assert operators.failures(operator, "unreachable") > 0
    # Nobody hammers at what is not there: watches pause for up to 8 s, and a resource is tried once a second at most.
    meanwhile = [request for request in proxy.requests if went <= request.at < came]
    assert len(meanwhile) < 50 * (came - went)
