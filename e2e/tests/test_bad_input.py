"""The API server refuses a resource that cannot mean anything, and its message says what to write."""

from typing import Any

import pytest

import kube
import models

REFUSED = {
    "an unknown field": (
        {"engine": {"maxBatchSzie": 4}},
        ["unknown field", "spec.engine.maxBatchSzie"],
    ),
    "no source": ({"model": {}}, ["spec.model.source: Required"]),
    "a source of no known kind": (
        {"model": {"source": "ftp://host/model.gguf"}},
        ["spec.model.source", "start with hf://, https://", "pvc://models/model.gguf"],
    ),
    "a claim without a path": (
        {"model": {"source": "pvc://models"}},
        ["spec.model.source", "write pvc://CLAIM/PATH"],
    ),
    "a path that leaves the volume": (
        {"model": {"source": "pvc://models/../secrets"}},
        ["spec.model.source", "may not contain '..'"],
    ),
    "a checksum of the wrong form": (
        {"model": {"source": models.SOURCE, "sha256": "abc"}},
        ["spec.model.sha256", "the 64 lower-case hexadecimal digits"],
    ),
    "memory in an unknown unit": (
        {"resources": {"memory": "4 gigs"}},
        ["spec.resources.memory", "write a size such as 512Mi, 16Gi"],
    ),
    "a duration without a unit": (
        {"rollout": {"drainTimeout": "60"}},
        ["spec.rollout.drainTimeout", "write a duration such as 500ms, 2s"],
    ),
    "a threshold above all there is": (
        {"alerts": {"errorRate": {"threshold": "120%"}}},
        ["spec.alerts.errorRate.threshold", "write a percentage between 0% and 100%"],
    ),
    "an unknown precision": (
        {"precision": "q17"},
        ["spec.precision", 'Unsupported value: "q17"', '"q8_0"'],
    ),
    "no batch at all": (
        {"engine": {"maxBatchSize": 0}},
        ["spec.engine.maxBatchSize", "greater than or equal to 1"],
    ),
    "two owners of the number of pods": (
        {"replicas": 2, "autoscaling": {"minReplicas": 1, "maxReplicas": 3}},
        ["set either spec.replicas or spec.autoscaling, not both"],
    ),
    "tracing to nowhere": (
        {"observability": {"tracing": {"mode": "Endpoint"}}},
        ["mode Endpoint needs an endpoint, such as http://"],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused(change: dict[str, Any], words: list[str], namespace: str) -> None:
    assert_refused(models.llm(**change), words, namespace)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m" * 51, ["metadata.name", "write at most 50 characters"]),
        ("4bit", ["metadata.name", "starting with a letter"]),
    ],
    ids=["too long", "with a digit first"],
)
def test_a_name_is_refused(name: str, words: list[str], namespace: str) -> None:
    assert_refused(models.llm(name), words, namespace)


def assert_refused(resource: dict[str, Any], words: list[str], namespace: str) -> None:
    with pytest.raises(kube.Refused) as refusal:
        kube.apply(resource, namespace)
    for word in words:
        assert word in str(refusal.value)
