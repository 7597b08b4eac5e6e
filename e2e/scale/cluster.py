"""What the measurement asks of the cluster by kubectl: rarely, because that is load, too."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from processes import Failed

SOURCE = "pvc://models/SmolLM2-135M-Instruct.Q4_1.gguf"
LABEL = "candlepower.dev/llmdeployment"
CHILDREN = "configmaps,services,deployments.apps,networkpolicies.networking.k8s.io"


def kubectl(*arguments: str, stdin: str | None = None, patience: float = 300) -> str:
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=patience)
    if done.returncode:
        raise Failed(f"kubectl {' '.join(arguments)}:\n{done.stderr}")
    return done.stdout


def apply(objects: list[dict[str, Any]]) -> None:
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def make_namespace(name: str) -> None:
    """With the claim that the models are on."""
    size = {"storage": "1Gi"}
    modes = ["ReadOnlyMany"]
    apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"models-{name}"},
                "spec": {
                    "capacity": size,
                    "accessModes": modes,
                    "storageClassName": "none",
                    "hostPath": {"path": "/models"},
                    "claimRef": {"namespace": name, "name": "models"},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "models", "namespace": name},
                "spec": {
                    "accessModes": modes,
                    "storageClassName": "none",
                    "volumeName": f"models-{name}",
                    "resources": {"requests": size},
                },
            },
        ]
    )


def resource() -> list[dict[str, Any]]:
    """An LLMDeployment of nothing but its source, as often as it is asked for."""
    return [
        {
            "apiVersion": "candlepower.dev/v1alpha1",
            "kind": "LLMDeployment",
            "metadata": {"name": "NAME"},
            "spec": {"model": {"source": SOURCE}},
        }
    ]


def children(namespace: str, name: str) -> list[dict[str, Any]]:
    """The children of a resource as somebody else would write them: with another name, and of no owner."""
    items = json.loads(kubectl("-n", namespace, "get", CHILDREN, "-l", f"{LABEL}={name}", "-o", "json"))["items"]
    text = json.dumps([bare(item) for item in items])
    # Their watches must not be the operator's.
    return json.loads(text.replace("candlepower-operator", "write-objects").replace(LABEL, "example.org/copy").replace(name, "NAME"))


def bare(item: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: item["metadata"][key] for key in ("name", "labels", "annotations") if key in item["metadata"]}
    metadata["annotations"] = {k: v for k, v in metadata.get("annotations", {}).items() if "kubernetes.io" not in k}
    rest = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    for key in ("clusterIP", "clusterIPs"):
        if rest.get("spec", {}).get(key) not in ("None", ["None"]):
            rest.get("spec", {}).pop(key, None)
    return {**rest, "metadata": metadata}


def wait_until(what: str, holds: Callable[[], bool], patience: float, every: float = 1) -> float:
    """Waits, and says how long it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > patience:
            raise Failed(f"not within {patience:.0f} s: {what}")
        time.sleep(every)
    return time.monotonic() - began


def remove(kinds: str, namespace: str) -> None:
    """Deletes objects and waits until their pods are gone, too."""
    kubectl("-n", namespace, "delete", kinds, "--all", "--wait=false")

    def gone() -> bool:
        left = kubectl("-n", namespace, "get", "pods,replicasets.apps,deployments.apps,services", "-o", "name")
        return not left.strip()

    wait_until(f"the end of what was written in {namespace}", gone, 300, every=3)
