"""LLMDeployments and model files for the tests."""

import copy
import re
import struct
from pathlib import Path
from typing import Any

import kube

ROOT = kube.E2E.parent
SAMPLE = ROOT / "manifests" / "samples" / "smollm2.yaml"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SOURCE = f"pvc://models/{FILE}"


def llm(name: str = "smollm2", **spec: Any) -> dict[str, Any]:
    """An LLMDeployment of the small model; `spec` replaces or adds whole fields."""
    fields = {
        "model": {"source": SOURCE},
        "engine": {"maxContextLength": 2048, "maxBatchSize": 8},
        "resources": {"cpu": "2", "memory": "1Gi", "requests": {"cpu": "50m", "memory": "64Mi"}},
        # What runs beside a model costs memory and time; the tests of it ask for it.
        "observability": {"metrics": {"mode": "None"}, "tracing": {"mode": "None"}},
        # A namespace takes half of its pods' grace periods to go.
        "rollout": {"drainTimeout": "1s"},
    }
    fields.update(copy.deepcopy(spec))
    return {
        "apiVersion": "candlepower.dev/v1alpha1",
        "kind": "LLMDeployment",
        "metadata": {"name": name},
        "spec": fields,
    }


def real_file() -> Path:
    """The model's file on this machine."""
    return Path(kube.run(kube.E2E / "cluster" / "model", "fetch").split("\n")[-2])


def gguf_of(architecture: str) -> bytes:
    """A whole, valid GGUF file that holds nothing but the name of its architecture."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    string_type, tensors, pairs = 8, 0, 1
    header = b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs)
    return header + text("general.architecture") + struct.pack("<I", string_type) + text(architecture)


def claim_folder(name: str, namespace: str) -> Path:
    """Makes a claim of the local cluster's storage class, and gives back its folder on this machine."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    kube.apply(claim, namespace)

    def bound() -> tuple[bool, Any]:
        status = kube.get("pvc", name, namespace)
        return status["status"].get("phase") == "Bound", status

    volume = kube.wait_for(f"a volume for the claim {name}", bound)["spec"]["volumeName"]
    return Path(kube.get("pv", volume, namespace)["spec"]["local"]["path"])


def series(text: str) -> dict[str, float]:
    """Prometheus metrics: the sum over the labels of each name, and each single series by its whole name."""
    found: dict[str, float] = {}
    for name, labels, value in re.findall(r"^(\w+)({[^}]*})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
        if labels:
            found[name + labels] = float(value)
    return found
