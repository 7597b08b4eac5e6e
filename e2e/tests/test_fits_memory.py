"""A model that does not fit is refused before there is a pod, with the sum and with a context that fits."""

import re
from collections.abc import Iterator

import pytest

import hub
import kube
import models

PORT = 18085
CONTEXT = 8192


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub.Hub]:
    """The hub's look-alike."""
    with hub.running(models.real_file(), tmp_path_factory.mktemp("hub"), PORT) as running:
        yield running


def test_a_model_that_does_not_fit_is_refused_until_its_context_does(namespace: str, mirror: hub.Hub) -> None:
    env = [{"name": "HF_ENDPOINT", "value": mirror.url}, {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"}]
    spec = {
        "model": {"source": "hf://tests/tiny"},
        "engine": {"maxContextLength": CONTEXT, "maxBatchSize": 1},
        "resources": {"cpu": "1", "memory": "256Mi", "requests": {"cpu": "50m", "memory": "64Mi"}},
        "pod": {"env": env},
    }
    kube.apply(models.llm("tight", **spec), namespace)
    resource = kube.wait_for_condition("tight", namespace, "Ready", "False", "MemoryTooSmall")
    fits = kube.condition(resource, "FitsMemory")
    assert (fits["status"], fits["reason"]) == ("False", "MemoryTooSmall")
    for part in ["weights of at least", f"KV cache of {CONTEXT} tokens", "overhead 100.0 MiB", "memory limit of 256.0 MiB"]:
        assert part in fits["message"]
    assert not [found for found in kube.find("deployments", namespace) if found["metadata"]["name"] == "tight"]
    proposed = re.search(r"lower engine.maxContextLength to (\d+)", fits["message"])
    assert proposed and 256 <= int(proposed[1]) < CONTEXT

    kube.patch("llm", "tight", namespace, {"spec": {"engine": {"maxContextLength": int(proposed[1])}}})
    kube.wait_for_condition("tight", namespace, "FitsMemory", "True")
    assert kube.get("deployment", "tight", namespace)["metadata"]["ownerReferences"][0]["name"] == "tight"
