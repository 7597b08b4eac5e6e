"""Models from real stores: a bucket of S3's protocol that checks signatures, and a container registry with passwords.

All are applied at once, so that the tests wait for the slowest only.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import kube
import models
import stores

BUCKET_PORT, REGISTRY_PORT, OPEN_REGISTRY_PORT = 18900, 18500, 18501
ENGINE = {"maxContextLength": 512, "maxBatchSize": 2}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the bucket's server."""
    folder = tmp_path_factory.mktemp("bucket")
    with stores.bucket(models.real_file(), "small/model.gguf", folder, BUCKET_PORT) as address:
        yield address


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The registry's address and its log."""
    folder = tmp_path_factory.mktemp("registry")
    with stores.registry(models.real_file(), "model.gguf", folder, REGISTRY_PORT) as running:
        yield running


@pytest.fixture(scope="module")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry that asks nobody for a password."""
    folder = tmp_path_factory.mktemp("open")
    with stores.registry(models.real_file(), "model.gguf", folder, OPEN_REGISTRY_PORT, is_open=True) as (address, _):
        yield address


@pytest.fixture(scope="module", autouse=True)
def applied(namespace: str, bucket: str, registry: tuple[str, Path]) -> None:
    """A resource for each case."""
    keys = {"AWS_ACCESS_KEY_ID": stores.KEY, "AWS_SECRET_ACCESS_KEY": stores.SECRET}
    login = {"username": stores.USER, "password": stores.PASSWORD}
    secret("keys", keys, namespace)
    secret("guessed-keys", keys | {"AWS_SECRET_ACCESS_KEY": "guessed"}, namespace)
    secret("login", login, namespace)
    secret("guessed-login", login | {"password": "guessed"}, namespace)
    plain = {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"}
    endpoint = {"name": "AWS_ENDPOINT_URL", "value": f"http://{bucket}"}
    artifact = f"oci://{registry[0]}/{stores.REPOSITORY}"
    for name, source, credentials in [
        ("bucket", f"s3://{stores.BUCKET}/small", "keys"),
        ("bucket-denied", f"s3://{stores.BUCKET}/small", "guessed-keys"),
        ("bucket-missing", f"s3://{stores.BUCKET}/small/other.gguf", "keys"),
        ("registry", f"{artifact}:1", "login"),
        ("registry-denied", f"{artifact}:1", "guessed-login"),
        ("registry-missing", f"{artifact}:2", "login"),
    ]:
        model = {"source": source, "credentials": {"secretRef": {"name": credentials}}}
        kube.apply(models.llm(name, model=model, engine=ENGINE, pod={"env": [plain, endpoint]}), namespace)


def secret(name: str, values: dict[str, str], namespace: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}, namespace)


@pytest.mark.parametrize("name", ["bucket", "registry"])
def test_a_model_of_a_store_is_served(name: str, namespace: str) -> None:
    resource = kube.wait_for_condition(name, namespace, "Ready", "True", seconds=180)
    assert resource["status"]["model"]["precision"] == "q4_1"


def test_a_long_file_comes_in_pieces(namespace: str, registry: tuple[str, Path]) -> None:
    kube.wait_for_condition("registry", namespace, "Ready", "True", seconds=180)
    log = registry[1].read_text()
    pieces = [int(size) for size in re.findall(r'"GET /v2/\S+/blobs/\S+ HTTP/1.1" 206 (\d+) ', log)]
    assert len(pieces) > 2
    assert sum(pieces) == models.real_file().stat().st_size


def test_an_artifact_that_does_not_fit_is_refused_where_the_registry_tells_everybody(
    namespace: str, open_registry: str
) -> None:
    model = {"source": f"oci://{open_registry}/{stores.REPOSITORY}:1"}
    plain = {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"}
    resources = {"cpu": "1", "memory": "128Mi", "requests": {"cpu": "50m", "memory": "64Mi"}}
    kube.apply(models.llm("large", model=model, engine=ENGINE, resources=resources, pod={"env": [plain]}), namespace)
    resource = kube.wait_for_condition("large", namespace, "Ready", "False", "MemoryTooSmall")
    message = kube.condition(resource, "FitsMemory")["message"]
    assert "weights of at least" in message and "memory limit of 128.0 MiB" in message


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("bucket-denied", "ModelAccessDenied", ["403", "the Secret guessed-keys", "AWS_SECRET_ACCESS_KEY"]),
        ("bucket-missing", "ModelNotFound", ["small/other.gguf", "model.source"]),
        ("registry-denied", "ModelAccessDenied", ["401", "the Secret guessed-login", "password"]),
        ("registry-missing", "ModelNotFound", ["manifests/2", "model.source"]),
    ],
)
def test_what_is_in_the_way_is_named(name: str, reason: str, words: list[str], namespace: str) -> None:
    resource = kube.wait_for_condition(name, namespace, "Ready", "False", reason)
    message = kube.condition(resource, "Ready")["message"]
    for word in words:
        assert word in message
