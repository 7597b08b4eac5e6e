"""A model that cannot be served gives a reason and a cure in the resource's status.

All are applied at once, so that the tests wait for the slowest only.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import kube
import models
import monitoring

# name: (spec, condition, reason, words of the message)
CASES: dict[str, tuple[dict[str, Any], str, str, list[str]]] = {
    "missing": (
        {"model": {"source": "pvc://models/nothing.gguf"}},
        "Ready", "ModelNotFound", ["nothing.gguf does not exist", "check model.source"],
    ),
    "truncated": (
        {"model": {"source": "pvc://broken/truncated.gguf"}},
        "Ready", "CorruptModel", ["truncated.gguf is not a whole GGUF file", "download it again"],
    ),
    "no-gguf": (
        {"model": {"source": "pvc://broken/page.html"}},
        "Ready", "CorruptModel", ["page.html is not a whole GGUF file"],
    ),
    "unknown": (
        {"model": {"source": "pvc://broken/mamba.gguf"}},
        "Ready", "UnsupportedArchitecture", ['"mamba" is not supported', "use a model of the architectures"],
    ),
    "checksum": (
        {"model": {"source": models.SOURCE, "sha256": "0" * 64}},
        "Ready", "ChecksumMismatch", ["has the SHA-256 b179", "download the file again, or correct the field"],
    ),
    "too-large": (
        {"resources": {"cpu": "1", "memory": "128Mi"}},
        "Ready", "InsufficientMemory", ["exceed the memory limit of 128", "raise resources.memory"],
    ),
    "no-claim": (
        {"model": {"source": "pvc://nowhere/model.gguf"}},
        "Scheduled", "Unschedulable", ['"nowhere" not found', "create the claim, or correct spec.model.source"],
    ),
    "no-node": (
        {"resources": {"cpu": "2", "memory": "900Gi"}},
        "Scheduled", "Unschedulable", ["Insufficient memory", "add a node, or lower spec.resources"],
    ),
    "two-places": (
        {"model": {"source": models.SOURCE, "tokenizer": "pvc://elsewhere/tokenizer.json"}},
        "Ready", "InvalidSpec", ["model.tokenizer", "beside the weights"],
    ),
}


@pytest.fixture(scope="module", autouse=True)
def applied(namespace: str, claim: str) -> Iterator[None]:
    """All of the cases, and a volume with the files that some of them need."""
    folder = models.claim_folder("broken", namespace)
    with models.real_file().open("rb") as whole:
        (folder / "truncated.gguf").write_bytes(whole.read(20_000_000))
    (folder / "page.html").write_text("<html>404: there is no such model</html>")
    (folder / "mamba.gguf").write_bytes(models.gguf_of("mamba"))
    for name, (spec, *_) in CASES.items():
        kube.apply(models.llm(name, **spec), namespace)
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", CASES)
def test_the_status_names_the_cause_and_the_cure(name: str, namespace: str) -> None:
    _, kind, reason, words = CASES[name]
    resource = kube.wait_for_condition(name, namespace, kind, "False", reason)
    message = kube.condition(resource, kind)["message"]
    for word in words:
        assert word in message
    assert kube.condition(resource, "Ready")["status"] == "False"


def test_a_failing_pod_keeps_its_reason_while_it_is_started_again(namespace: str) -> None:
    def restarted() -> tuple[bool, Any]:
        (pod,) = kube.pods("missing", namespace)
        statuses = pod["status"].get("containerStatuses", [])
        return any(status["restartCount"] >= 2 for status in statuses), statuses

    kube.wait_for("a second restart", restarted)
    for _ in range(10):
        resource = kube.get("llm", "missing", namespace)
        assert kube.condition(resource, "Ready")["reason"] == "ModelNotFound"


def test_a_server_that_ends_at_once_again_and_again_is_an_alert_without_prometheus(namespace: str) -> None:
    def firing() -> tuple[bool, Any]:
        status = kube.get("llm", "truncated", namespace)["status"]
        return "CandlepowerCrashLooping" in status.get("alerts", {}).get("firing", []), status

    # The third restart comes about 70 s after the first start.
    status = kube.wait_for("the alert of a crash loop", firing, 150)
    assert status["alerts"]["runbooksUrl"].endswith("/docs/runbooks")
    assert "CandlepowerCrashLooping" not in monitoring.firing("no-node", namespace)


def test_the_events_warn_of_it(namespace: str) -> None:
    events = kube.find("events", namespace)
    warned = {event["reason"] for event in events if event["type"] == "Warning"}
    assert {"ModelNotFound", "CorruptModel", "InsufficientMemory", "InvalidSpec"} <= warned


def test_the_cure_works(namespace: str) -> None:
    kube.patch("llm", "missing", namespace, {"spec": {"model": {"source": models.SOURCE}}})
    kube.wait_for_condition("missing", namespace, "Ready", "True")
