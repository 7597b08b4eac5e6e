"""The API server refuses a resource that cannot mean anything, and its message says what to write."""

import copy
from typing import Any

import pytest

import kube
import models

# What hand-written YAML gets wrong: the change to a good resource, and words of the message.
REFUSED = {
    # ---- Names of fields
    "an unknown field": ({"engine": {"maxBatchSzie": 4}}, ["unknown field", "spec.engine.maxBatchSzie"]),
    "a field in the wrong case": ({"engine": {"maxbatchsize": 4}}, ["unknown field", "spec.engine.maxbatchsize"]),
    "a field with an underscore": ({"served_name": "a"}, ["unknown field", "spec.served_name"]),
    "a field in the wrong place": ({"gpus": 1}, ["unknown field", "spec.gpus"]),
    # ---- Types
    "text for a number": ({"replicas": "two"}, ["spec.replicas", "must be of type integer"]),
    "a number for a switch": ({"preload": 1}, ["spec.preload", "must be of type boolean"]),
    "text for a switch": ({"preload": "yes"}, ["spec.preload", "must be of type boolean"]),
    "text for an object": ({"model": models.SOURCE}, ["spec.model", "must be of type object"]),
    "a list for an object": ({"engine": []}, ["spec.engine", "must be of type object"]),
    "a fraction of a pod": ({"replicas": 1.5}, ["spec.replicas", "must be of type integer"]),
    # ---- The source
    "no source": ({"model": {}}, ["spec.model.source: Required"]),
    "an empty source": ({"model": {"source": ""}}, ["spec.model.source", "start with hf://"]),
    "a source of no known kind": (
        {"model": {"source": "ftp://host/model.gguf"}},
        ["spec.model.source", "start with hf://, https://", "pvc://models/model.gguf"],
    ),
    "a source without its scheme": ({"model": {"source": "org/model"}}, ["spec.model.source", "start with hf://"]),
    "a scheme in capitals": ({"model": {"source": "PVC://models/a.gguf"}}, ["spec.model.source", "start with hf://"]),
    "a claim without a path": ({"model": {"source": "pvc://models"}}, ["spec.model.source", "write pvc://CLAIM/PATH"]),
    "a claim in capitals": ({"model": {"source": "pvc://Models/a.gguf"}}, ["spec.model.source", "write pvc://CLAIM/PATH"]),
    "a path that leaves the volume": (
        {"model": {"source": "pvc://models/../secrets"}},
        ["spec.model.source", "may not contain '..'"],
    ),
    "a file that is not absolute": ({"model": {"source": "file://a.gguf"}}, ["spec.model.source", "write file:///PATH"]),
    "a revision of a volume": (
        {"model": {"source": models.SOURCE, "revision": "main"}},
        ["spec.model", "only hf:// sources have revisions"],
    ),
    "an empty revision": ({"model": {"source": "hf://a/b", "revision": ""}}, ["spec.model.revision", "at least 1 char"]),
    "a checksum of the wrong form": (
        {"model": {"source": models.SOURCE, "sha256": "abc"}},
        ["spec.model.sha256", "the 64 lower-case hexadecimal digits"],
    ),
    "a checksum in capitals": (
        {"model": {"source": models.SOURCE, "sha256": "A" * 64}},
        ["spec.model.sha256", "the 64 lower-case hexadecimal digits"],
    ),
    # ---- Who may send requests
    "TLS without its Secret": ({"access": {"tls": {}}}, ["spec.access.tls.secretRef: Required"]),
    "a file for the Secret of TLS": (
        {"access": {"tls": {"secretRef": {"name": "/certs/tls.crt"}}}},
        ["spec.access.tls", "write the name of a Secret"],
    ),
    # ---- The model's name
    "an empty name for requests": (
        {"model": {"source": models.SOURCE, "servedName": ""}},
        ["spec.model.servedName", "such as mistral-7b"],
    ),
    "a name for requests with a space": (
        {"model": {"source": models.SOURCE, "servedName": "my model"}},
        ["spec.model.servedName", "such as mistral-7b"],
    ),
    "a tokenizer of no known kind": (
        {"model": {"source": models.SOURCE, "tokenizer": "tokenizer.json"}},
        ["spec.model.tokenizer", "start with hf://"],
    ),
    "a tokenizer's claim without a path": (
        {"model": {"source": models.SOURCE, "tokenizer": "pvc://models"}},
        ["spec.model.tokenizer", "write pvc://CLAIM/PATH"],
    ),
    "a tokenizer that leaves the volume": (
        {"model": {"source": models.SOURCE, "tokenizer": "pvc://models/a/../../b.json"}},
        ["spec.model.tokenizer", "may not contain '..'"],
    ),
    "credentials without a name": (
        {"model": {"source": "hf://a/b", "credentials": {"secretRef": {"name": ""}}}},
        ["spec.model.credentials.secretRef.name", "at least 1 char"],
    ),
    # ---- Quantities and their units
    "memory in an unknown unit": (
        {"resources": {"memory": "4 gigs"}},
        ["spec.resources.memory", "write a size with its unit, such as 512Mi, 16Gi"],
    ),
    "memory in GB": ({"resources": {"memory": "4GB"}}, ["spec.resources.memory", "512Mi, 16Gi or 1G"]),
    "memory without a unit": ({"resources": {"memory": 4}}, ["spec.resources.memory", "write a size with its unit"]),
    "no memory": ({"resources": {"memory": "0"}}, ["spec.resources.memory", "write a size with its unit"]),
    "negative memory": ({"resources": {"memory": "-4Gi"}}, ["spec.resources.memory", "write a size with its unit"]),
    "empty memory": ({"resources": {"memory": ""}}, ["spec.resources.memory", "write a size with its unit"]),
    "memory beyond all there is": (
        {"resources": {"memory": "99999999999999999999Gi"}},
        ["spec.resources.memory", "write a size with its unit"],
    ),
    "CPU in words": ({"resources": {"cpu": "four"}}, ["spec.resources.cpu", "write a number of cores"]),
    "no CPU": ({"resources": {"cpu": 0}}, ["spec.resources.cpu", "write a number of cores"]),
    "negative CPU": ({"resources": {"cpu": -1}}, ["spec.resources.cpu", "write a number of cores"]),
    "a request above the memory limit": (
        {"resources": {"memory": "1Gi", "requests": {"memory": "2Gi"}}},
        ["spec.resources", "resources.requests.memory: write at most resources.memory"],
    ),
    "a request above the CPU limit": (
        {"resources": {"cpu": 1, "requests": {"cpu": "1500m"}}},
        ["spec.resources", "resources.requests.cpu: write at most resources.cpu"],
    ),
    "a KV cache larger than all memory": (
        {"resources": {"memory": "1Gi"}, "engine": {"kvCacheMemory": "1Gi"}},
        ["engine.kvCacheMemory: write less than resources.memory"],
    ),
    "negative GPUs": ({"resources": {"gpus": -1}}, ["spec.resources.gpus", "greater than or equal to 0"]),
    "a part of a GPU": ({"resources": {"gpus": 0.5}}, ["spec.resources.gpus", "must be of type integer"]),
    "GPUs by number and by claim": (
        {"resources": {"gpus": 1, "claims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]}},
        ["spec.resources", "with claims, remove gpus"],
    ),
    "a claim of nothing": (
        {"resources": {"claims": [{"name": "gpu"}]}},
        ["spec.resources.claims[0]", "write either resourceClaimTemplateName"],
    ),
    "a duration without a unit": (
        {"rollout": {"drainTimeout": "60"}},
        ["spec.rollout.drainTimeout", "write a duration such as 500ms, 2s"],
    ),
    "a duration as a number": ({"rollout": {"drainTimeout": 60}}, ["spec.rollout.drainTimeout", "must be of type string"]),
    "a duration in words": (
        {"rollout": {"drainTimeout": "one minute"}},
        ["spec.rollout.drainTimeout", "write a duration such as 500ms, 2s"],
    ),
    "a negative duration": (
        {"rollout": {"drainTimeout": "-5s"}},
        ["spec.rollout.drainTimeout", "write a duration such as 500ms, 2s"],
    ),
    "a window of no time": ({"alerts": {"window": "0s"}}, ["spec.alerts.window", "write a time above 0"]),
    "a window of too few scrapes": (
        {"alerts": {"window": "30s"}, "observability": {"metrics": {"mode": "Sidecar"}}},
        ["alerts.window: write at least four times observability.metrics.interval"],
    ),
    "a threshold above all there is": (
        {"alerts": {"errorRate": {"threshold": "120%"}}},
        ["spec.alerts.errorRate.threshold", "write a percentage between 0% and 100%"],
    ),
    "a percentage without its sign": (
        {"alerts": {"errorRate": {"threshold": "5"}}},
        ["spec.alerts.errorRate.threshold", "write a percentage between 0% and 100%"],
    ),
    "a percentage as a fraction": (
        {"alerts": {"errorRate": {"threshold": 0.05}}},
        ["spec.alerts.errorRate.threshold", "must be of type string"],
    ),
    "an objective that is not counted": (
        {"objectives": {"timeToFirstToken": {"threshold": "1500ms", "target": "99%"}}},
        ["spec.objectives.timeToFirstToken.threshold", "write an edge of the histogram"],
    ),
    # ---- Words out of a list
    "an unknown precision": ({"precision": "q17"}, ["spec.precision", 'Unsupported value: "q17"', '"q8_0"']),
    "a precision in capitals": ({"precision": "Q8_0"}, ["spec.precision", 'Unsupported value: "Q8_0"', '"q8_0"']),
    "an empty precision": ({"precision": ""}, ["spec.precision", 'Unsupported value: ""', '"auto"']),
    "an unknown severity": (
        {"alerts": {"errorRate": {"severity": "Critical"}}},
        ["spec.alerts.errorRate.severity", 'Unsupported value: "Critical"', '"critical"'],
    ),
    "an unknown way to collect": (
        {"observability": {"metrics": {"mode": "sidecar"}}},
        ["spec.observability.metrics.mode", 'Unsupported value: "sidecar"', '"Sidecar"'],
    ),
    "an unknown strategy": (
        {"rollout": {"strategy": "RollingUpdate"}},
        ["spec.rollout.strategy", 'Unsupported value: "RollingUpdate"', '"Rolling"'],
    ),
    # ---- Numbers out of range
    "no batch at all": ({"engine": {"maxBatchSize": 0}}, ["spec.engine.maxBatchSize", "greater than or equal to 1"]),
    "a batch beyond all memory": ({"engine": {"maxBatchSize": 5000}}, ["spec.engine.maxBatchSize", "less than or equal to 1024"]),
    "a negative queue": ({"engine": {"maxQueueDepth": -1}}, ["spec.engine.maxQueueDepth", "greater than or equal to 0"]),
    "a context of no use": ({"engine": {"maxContextLength": 1}}, ["spec.engine.maxContextLength", "greater than or equal to 16"]),
    "a number that no integer holds": (
        {"engine": {"maxContextLength": 99999999999}},
        ["spec.engine.maxContextLength", "less than or equal to 10000000"],
    ),
    "negative replicas": ({"replicas": -1}, ["spec.replicas", "greater than or equal to 0"]),
    "a thousand and one replicas": ({"replicas": 1001}, ["spec.replicas", "less than or equal to 1000"]),
    # ---- What contradicts itself
    "two owners of the number of pods": (
        {"replicas": 2, "autoscaling": {"minReplicas": 1, "maxReplicas": 3}},
        ["set either spec.replicas or spec.autoscaling, not both"],
    ),
    "more pods at least than at most": (
        {"autoscaling": {"minReplicas": 3, "maxReplicas": 1}},
        ["spec.autoscaling", "write a minReplicas that is not above maxReplicas"],
    ),
    "a cache of no size": ({"cache": {}}, ["spec.cache", "write either size, for a new volume, or existingClaim"]),
    "a cache of both kinds": (
        {"cache": {"size": "50Gi", "existingClaim": "weights"}},
        ["spec.cache", "write either size, for a new volume, or existingClaim"],
    ),
    "tracing to nowhere": (
        {"observability": {"tracing": {"mode": "Endpoint"}}},
        ["mode Endpoint needs an endpoint, such as http://"],
    ),
    "tracing to a bare name": (
        {"observability": {"tracing": {"endpoint": "collector:4317"}}},
        ["spec.observability.tracing.endpoint", "write an http:// or https:// address"],
    ),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused(change: dict[str, Any], words: list[str], namespace: str) -> None:
    assert_refused(models.llm(**change), words, namespace)


NAMES = {
    "too long": ("m" * 51, ["metadata.name", "write at most 50 characters"]),
    "with a digit first": ("4bit", ["metadata.name", "starting with a letter"]),
    "with a dot": ("mistral.7b", ["metadata.name", "write lower-case letters, digits and '-'"]),
    "in capitals": ("Mistral", ["metadata.name", "lowercase"]),
    "with an underscore": ("mistral_7b", ["metadata.name", "lowercase"]),
}


@pytest.mark.parametrize(("name", "words"), NAMES.values(), ids=NAMES.keys())
def test_a_name_is_refused(name: str, words: list[str], namespace: str) -> None:
    assert_refused(models.llm(name), words, namespace)


BENCHMARK = {
    "apiVersion": "candlepower.dev/v1alpha1",
    "kind": "LLMBenchmark",
    "metadata": {"name": "bad"},
    "spec": {"target": {"deployment": "tiny"}, "profile": "quick"},
}

BENCHMARKS_REFUSED = {
    "no target": ({"target": {}}, ["spec.target", "write either deployment"]),
    "two targets": ({"target": {"deployment": "a", "url": "http://a"}}, ["spec.target", "write either deployment"]),
    "an address without a model": ({"target": {"url": "http://a"}}, ["spec.target", "needs the name of the model"]),
    "a bare name for an address": ({"target": {"url": "a:8000", "model": "m"}}, ["spec.target.url", "write an http://"]),
    "an authority for an address without TLS": (
        {"target": {"url": "http://a", "model": "m", "ca": {"secretRef": {"name": "a"}}}},
        ["spec.target", "together with an https:// address"],
    ),
    "an authority from nowhere": (
        {"target": {"url": "https://a", "model": "m", "ca": {"key": "ca.crt"}}},
        ["spec.target.ca", "write either secretRef or configMapRef"],
    ),
    "an unknown profile": ({"profile": "fast"}, ["spec.profile", 'Unsupported value: "fast"', '"quick"']),
    "scenarios of another profile": (
        {"scenarios": [{"name": "a", "users": 1, "duration": "1m"}]},
        ["scenarios belong to profile custom"],
    ),
    "a schedule of four fields": ({"schedule": "0 3 * *"}, ["spec.schedule", "write the five fields of cron"]),
    "variants of a strange server": (
        {"target": {"url": "http://a", "model": "m"}, "tryRecommendations": 1},
        ["need target.deployment"],
    ),
}


@pytest.mark.parametrize(("change", "words"), BENCHMARKS_REFUSED.values(), ids=BENCHMARKS_REFUSED.keys())
def test_a_benchmark_is_refused(change: dict[str, Any], words: list[str], namespace: str) -> None:
    resource = copy.deepcopy(BENCHMARK)
    resource["spec"] |= change
    assert_refused(resource, words, namespace)


def test_a_benchmark_that_runs_cannot_be_changed(namespace: str) -> None:
    """Half of its figures would be of other work. Nothing else is immutable: a deployment rolls out every change."""
    resource = copy.deepcopy(BENCHMARK)
    kube.apply(resource, namespace)
    try:
        resource["spec"]["profile"] = "standard"
        assert_refused(resource, ["cannot be changed once it exists", "create another one"], namespace)
    finally:
        kube.kubectl("-n", namespace, "delete", "llmbench", "bad", "--wait=false")


def assert_refused(resource: dict[str, Any], words: list[str], namespace: str) -> None:
    with pytest.raises(kube.Refused) as refusal:
        kube.apply(resource, namespace)
    for word in words:
        assert word in str(refusal.value)
