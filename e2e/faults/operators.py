"""Operators as processes, each of which reaches the API server by a proxy and works in one namespace."""

import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

import kube
from fault_proxy import Proxy
from operator_process import Operator

BINARY = Path(os.environ["OPERATOR_BINARY"])
CREDENTIALS = Path(os.environ["CREDENTIALS"])
LOGS = Path(os.environ["LOGS"])
# What comes of a change in a quiet cluster is there within it, whatever else the machine does.
SOON = 20
# As the chart calls it.
LEASE = "candlepower"


def kubeconfig(proxy: Proxy, namespace: str, folder: Path) -> Path:
    """One that leads to the proxy; its namespace is that of the Lease."""
    path = folder / f"kubeconfig-{secrets.token_hex(3)}"
    path.write_text(
        f"""apiVersion: v1
kind: Config
clusters: [{{name: faults, cluster: {{server: "{proxy.address}"}}}}]
users: [{{name: operator, user: {{}}}}]
contexts: [{{name: faults, context: {{cluster: faults, user: operator, namespace: {namespace}}}}}]
current-context: faults
"""
    )
    return path


def start(proxy: Proxy, namespace: str, folder: Path, *flags: str) -> Operator:
    """An operator whose caches are filled, or that waits to lead."""
    log = LOGS / f"{namespace}-{secrets.token_hex(2)}.log"
    flags = ("--watch-namespaces", namespace, "--log-format", "text", *flags)
    operator = Operator(BINARY, kubeconfig(proxy, namespace, folder), log, *flags, listen=f"127.0.0.1:{free_port()}")
    operator.wait_until_ready()
    return operator


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def control_plane(*command: str) -> None:
    """Takes a part of the control plane away or brings it back."""
    kube.run(Path(__file__).with_name("control-plane"), *command)


def exists(kind: str, name: str, namespace: str) -> bool:
    return bool(kube.kubectl("-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "name").strip())


def wait_for_child(kind: str, name: str, namespace: str, seconds: float = SOON) -> dict[str, Any]:
    kube.wait_for(f"{kind} {name}", lambda: (exists(kind, name, namespace), "it is not there"), seconds)
    return kube.get(kind, name, namespace)


def wait_until_settled(proxy: Proxy, name: str, namespace: str) -> dict[str, Any]:
    """Waits until the status is of the newest generation and nothing more is written, and gives back the resource."""

    def observed() -> tuple[bool, Any]:
        resource = kube.get("llm", name, namespace)
        status = resource.get("status", {})
        return status.get("observedGeneration") == resource["metadata"]["generation"], status

    kube.wait_for(f"a status of {name} of its newest generation", observed, SOON)
    # A resource is looked at once a second at most.
    kube.wait_for("the end of all writes", lambda: (not proxy.writes(time.monotonic() - 1.5), "it writes on"), SOON)
    return kube.get("llm", name, namespace)


def failures(operator: Operator, category: str) -> float:
    """Reconciles of LLMDeployments that failed for a reason."""
    series = "candlepower_operator_reconcile_failures_total"
    return operator.metrics()[f'{series}{{category="{category}",controller="llmdeployment"}}']


def new_namespace(subject: str) -> str:
    """It is never deleted: there is no controller that would empty it."""
    name = f"faults-{subject}-{secrets.token_hex(2)}"
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, name)
    return name


def let_elect(namespace: str) -> None:
    """Gives operators there the right to the Lease, which the chart gives in the operator's own namespace."""
    for kind in ("role", "rolebinding"):
        found = kube.get(kind, "candlepower-leader", kube.OPERATOR_NAMESPACE)
        kube.apply({**found, "metadata": {"name": found["metadata"]["name"]}}, namespace)


def elected(pod: str) -> tuple[str, ...]:
    """The flags of one of several operators, of which one leads."""
    return ("--leader-elect", "--leader-elect-lease", LEASE, "--pod-name", pod)


def leads(operator: Operator) -> bool:
    return operator.metrics().get("candlepower_operator_leader") == 1
