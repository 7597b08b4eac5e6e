"""The API server takes every change that the catalogue of recommendations proposes."""

import json
from pathlib import Path
from typing import Any

import pytest

import kube
import models

NAME = "patient"
# A unit test beside the catalogue (bench/src/analysis/advice) keeps this file as the catalogue is.
PATCHES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("recommendations.json").read_text())
# What the recommendations are against.
AILING = {
    "preload": False,
    "precision": "q8_0",
    "replicas": 1,
    "engine": {"maxBatchSize": 1, "maxBatchWait": "500ms", "prefixCaching": False, "kvCacheMemory": "64Mi"},
    "resources": {"cpu": "200m", "memory": "4Gi"},
}


@pytest.fixture(scope="module")
def patient(namespace: str) -> str:
    """The name of an LLMDeployment that could do with each of them."""
    kube.apply(models.llm(NAME, **AILING), namespace)
    return NAME


def tried(namespace: str, name: str, patch: dict[str, Any]) -> dict[str, Any]:
    """The spec as the API server would have it, defaults, limits and rules applied; nothing is changed."""
    change = json.dumps({"spec": patch})
    command = ("patch", "llm", name, "--type=merge", "--dry-run=server", "--output=json", "--patch", change)
    return json.loads(kube.kubectl("-n", namespace, *command))["spec"]


def holds(value: Any, part: Any) -> bool:
    """Whether all fields of `part` are in `value`: a field that the schema does not know is dropped without a word."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(key in value and holds(value[key], part[key]) for key in part)
    return value == part


@pytest.mark.parametrize("name", sorted(PATCHES))
def test_a_recommended_patch_is_taken(name: str, namespace: str, patient: str) -> None:
    before = kube.get("llm", patient, namespace)["spec"]
    spec = tried(namespace, patient, PATCHES[name])
    assert holds(spec, PATCHES[name]), spec
    assert spec != before, "the test's resource has it already, so that nothing was tried"


def test_a_patch_that_is_none_is_seen(namespace: str, patient: str) -> None:
    with pytest.raises(kube.Refused, match="maxBatchSize"):
        tried(namespace, patient, {"engine": {"maxBatchSize": 0}})
    unknown = {"engine": {"maxBatchSise": 8}}
    assert not holds(tried(namespace, patient, unknown), unknown)
