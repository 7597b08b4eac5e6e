"""Models that are on no volume: the server fetches them once, shows how far it is, and says why it cannot.

All are applied at once, so that the tests wait for the slowest only.
"""

import base64
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

import hub
import kube
import models

PLAIN, SECURE = 18080, 18443
ENGINE = {"maxContextLength": 512, "maxBatchSize": 2}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub.Hub]:
    """The hub's look-alike."""
    with hub.running(models.real_file(), tmp_path_factory.mktemp("hub"), PLAIN) as running:
        yield running


@pytest.fixture(scope="module")
def secure(namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub.Hub]:
    """The same by HTTPS. Its certificate is in the claim `weights`, where pods find it."""
    folder = tmp_path_factory.mktemp("secure")
    certificate = hub.make_certificate(folder)
    claim = models.claim_folder("weights", namespace)
    shutil.copy(certificate[0], claim / "hub.pem")
    with hub.running(models.real_file(), folder, SECURE, certificate) as running:
        yield running
    shutil.rmtree(claim, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def applied(namespace: str, plain: hub.Hub, secure: hub.Hub) -> None:
    """A resource for each case."""
    secret("right", "right", namespace)
    secret("wrong", "guessed", namespace)
    mirror = {"env": [{"name": "HF_ENDPOINT", "value": plain.url}, {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"}]}
    trust = {"env": [{"name": "SSL_CERT_FILE", "value": "/cache/hub.pem"}]}

    def gated(key: str) -> dict[str, Any]:
        return {"source": "hf://tests/gated", "credentials": {"secretRef": {"name": key}}}

    cases: dict[str, dict[str, Any]] = {
        "kept": {"model": gated("right"), "cache": {"size": "1Gi"}, "pod": mirror},
        "denied": {"model": gated("wrong"), "pod": mirror},
        "no-secret": {"model": gated("nowhere"), "pod": mirror},
        "no-revision": {"model": {"source": "hf://tests/tiny", "revision": "v9"}, "pod": mirror},
        "no-room": {"model": {"source": "hf://tests/huge"}, "cache": {"size": "1Gi"}, "pod": mirror},
        "quantised": {
            "model": {"source": "hf://tests/full"},
            "precision": "q8_0",
            "engine": {"maxContextLength": 128, "maxBatchSize": 2},
            "cache": {"size": "1Gi"},
            "pod": mirror,
        },
        "web": {"model": {"source": f"{secure.url}/files/model.gguf"}, "cache": {"existingClaim": "weights"}, "pod": trust},
    }
    for name, spec in cases.items():
        kube.apply(models.llm(name, **({"engine": ENGINE} | spec)), namespace)


def secret(name: str, token: str, namespace: str) -> None:
    data = {"token": base64.b64encode(token.encode()).decode()}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}, namespace)


def reasons(name: str, namespace: str) -> set[str]:
    """The reasons of a resource's events."""
    events = kube.find("events", namespace)
    return {event["reason"] for event in events if event["involvedObject"]["name"] == name}


def test_a_repository_of_the_hub_is_fetched_and_its_progress_is_shown(namespace: str, plain: hub.Hub) -> None:
    resource = kube.wait_for_condition("kept", namespace, "Ready", "True", seconds=180)
    assert resource["status"]["model"]["precision"] == "q4_1"
    assert kube.condition(resource, "SpecSupported")["status"] == "True"
    assert "Downloading" in reasons("kept", namespace)
    claim = kube.get("pvc", "kept-cache", namespace)
    assert claim["metadata"]["ownerReferences"][0]["name"] == "kept"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert kube.get("deployment", "kept", namespace)["spec"]["strategy"]["type"] == "Recreate"


def replace_pod(name: str, namespace: str) -> None:
    """Deletes the only pod of a resource, and waits until the next one serves."""
    (pod,) = kube.pods(name, namespace)
    kube.kubectl("-n", namespace, "delete", "pod", pod["metadata"]["name"], "--wait=true")
    kube.wait_for_another_pod(name, namespace, pod["metadata"]["uid"], 120)


def test_a_new_pod_fetches_nothing_again(namespace: str, plain: hub.Hub) -> None:
    files = len(plain.requests("gated/resolve"))
    replace_pod("kept", namespace)
    assert len(plain.requests("gated/resolve")) == files


def test_a_new_pod_quantises_nothing_again(namespace: str, plain: hub.Hub) -> None:
    resource = kube.wait_for_condition("quantised", namespace, "Ready", "True", seconds=180)
    assert resource["status"]["model"]["precision"] == "q8_0"
    assert "the weights are quantised, and kept in the cache" in kube.log_of("quantised", namespace)
    files = len(plain.requests("full/resolve"))
    replace_pod("quantised", namespace)
    log = kube.log_of("quantised", namespace)
    assert "the quantised weights come from the cache" in log
    assert "the weights are quantised" not in log
    assert len(plain.requests("full/resolve")) == files


def test_a_file_of_a_web_server_is_fetched_by_https(namespace: str, secure: hub.Hub) -> None:
    kube.wait_for_condition("web", namespace, "Ready", "True", seconds=180)
    assert [request["status"] for request in secure.requests("files")] == [200]


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("denied", "ModelAccessDenied", ["401", "the Secret wrong"]),
        ("no-revision", "ModelNotFound", ["revision/v9", "model.revision"]),
        ("no-room", "InsufficientDisk", ["more are needed", "spec.cache.size"]),
        ("no-secret", "ContainerConfigError", ['"nowhere" not found']),
    ],
)
def test_what_is_in_the_way_is_named(name: str, reason: str, words: list[str], namespace: str) -> None:
    resource = kube.wait_for_condition(name, namespace, "Ready", "False", reason)
    message = kube.condition(resource, "Ready")["message"]
    for word in words:
        assert word in message
    assert reason in kube.kubectl("-n", namespace, "get", "llm", name, "-o", "wide")


def test_a_corrected_secret_is_enough(namespace: str) -> None:
    secret("wrong", "right", namespace)
    kube.wait_for_condition("denied", namespace, "Ready", "True", seconds=240)


def test_without_its_cache_the_claim_goes_and_the_model_is_fetched_into_the_pod(namespace: str) -> None:
    kube.patch("llm", "kept", namespace, {"spec": {"cache": None}})

    def gone() -> tuple[bool, Any]:
        claims = [claim["metadata"]["name"] for claim in kube.find("pvc", namespace)]
        return "kept-cache" not in claims, claims

    kube.wait_for("the claim to be deleted", gone, 120)
    kube.wait_for_condition("kept", namespace, "Ready", "True", seconds=180)
