"""etcd is restored from a snapshot: what happened since then has not happened, and resource versions go back."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kube
import models
import operators
from fault_proxy import Proxy
from operator_process import Operator

pytestmark = pytest.mark.alone

LOOK = "1s"  # how often it looks at the API server's history; by default as often as it asks what is served
PATIENCE = 40


def write_much(namespace: str) -> None:
    """More than the control plane writes when it comes back, so that it does not catch up with what was known."""
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"filler-{number}"}} for number in range(300)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kube.kubectl("-n", namespace, "create", "-f", "-", stdin=text)


def replicas(name: str, namespace: str) -> int:
    return kube.get("deployment", name, namespace)["spec"]["replicas"]


def test_the_operator_comes_to_what_the_snapshot_asks_for(
    namespace: str, proxy: Proxy, start: Callable[..., Operator], tmp_path: Path
) -> None:
    operator = start(proxy, "--discovery-interval", LOOK)
    for name in ("changed", "robbed"):
        kube.apply(models.llm(name, replicas=1), namespace)
        operators.wait_until_settled(proxy, name, namespace)
    operators.control_plane("save", str(tmp_path / "snapshot"))

    # All of this will not have happened.
    kube.patch("llm", "changed", namespace, {"spec": {"replicas": 3}})
    kube.apply(models.llm("new"), namespace)
    operators.wait_until_settled(proxy, "new", namespace)
    assert replicas("changed", namespace) == 3
    write_much(namespace)
    written = time.monotonic()

    def looked() -> tuple[bool, Any]:
        looks = [request.status for request in proxy.of("list", "llmbenchmarks", since=written)]
        return 200 in looks, looks

    kube.wait_for("a look at the history", looked, PATIENCE)
    operators.control_plane("restore", str(tmp_path / "snapshot"))
    restored = time.monotonic()
    assert replicas("changed", namespace) == 1
    assert not operators.exists("llm", "new", namespace)

    # It ends, so that its next process begins with the caches empty, as Kubernetes does.
    assert operator.process.wait(timeout=PATIENCE) == 1
    assert "has gone back" in operator.log.read_text()
    following = start(proxy, "--discovery-interval", LOOK)
    print(f"a new process {time.monotonic() - restored:.1f} s after etcd was back")
    kube.kubectl("-n", namespace, "delete", "service", "robbed", "--wait=false")
    kube.patch("llm", "changed", namespace, {"spec": {"replicas": 2}})

    def right() -> tuple[bool, Any]:
        found = (replicas("changed", namespace), operators.exists("service", "robbed", namespace))
        return found == (2, True), found

    kube.wait_for("what is asked for now", right, PATIENCE)
    operators.wait_until_settled(proxy, "changed", namespace)
    assert following.process.poll() is None
