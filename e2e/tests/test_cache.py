"""A full cache: the model that was not used for longest makes room for the one that is asked for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import hub
import kube
import models

PORT = 18087
NAME, CLAIM = "changing", "small"
# Two models with what is noted beside them fit, and a third does not.
ROOM = sum(map(len, hub.full_files().values())) * 5 // 2 + 65_536
REMOVED = "a fetched model that no process uses is removed to make room"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[hub.Hub]:
    """The hub's look-alike. Of its model each revision is an entry of its own."""
    with hub.running(models.real_file(), tmp_path_factory.mktemp("hub"), PORT) as running:
        yield running


@pytest.fixture(scope="module")
def volume(namespace: str) -> Iterator[Path]:
    """The folder of a claim that holds no more than ROOM."""
    folder = models.claim_folder(CLAIM, namespace)
    kube.run("mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=0777", "tmpfs", folder)
    yield folder
    # The claim's folder can be removed only where nothing is mounted; pods have the file system until they are gone.
    kube.run("umount", "--lazy", folder)


def change_to(revision: str, namespace: str) -> str:
    """Asks for another revision, and gives back what the server logs until it serves it."""
    (pod,) = kube.pods(NAME, namespace)
    kube.patch("llm", NAME, namespace, {"spec": {"model": {"revision": revision}}})
    kube.wait_for_another_pod(NAME, namespace, pod["metadata"]["uid"], 120)
    return kube.log_of(NAME, namespace)


def kept(volume: Path) -> set[str]:
    """The revisions that are whole on the volume; of others there are no files."""
    entries = [json.loads(record.read_text()) for record in volume.glob("*/entry.json")]
    assert len(list(volume.glob("*/files"))) == len(entries)
    return {entry["key"]["revision"] for entry in entries}


def test_the_model_that_was_not_used_for_longest_makes_room(namespace: str, mirror: hub.Hub, volume: Path) -> None:
    env = [{"name": "HF_ENDPOINT", "value": mirror.url}, {"name": "CANDLEPOWER_ALLOW_PLAIN_HTTP", "value": "true"}]
    spec = {
        "model": {"source": "hf://tests/full", "revision": "v1"},
        "engine": {"maxContextLength": 128, "maxBatchSize": 2},
        "cache": {"existingClaim": CLAIM},
        "pod": {"env": env},
    }
    kube.apply(models.llm(NAME, **spec), namespace)
    kube.wait_for_condition(NAME, namespace, "Ready", "True", seconds=180)
    assert REMOVED not in change_to("v2", namespace)
    # What was fetched first is used last.
    assert "the model was fetched before" in change_to("v1", namespace)
    assert kept(volume) == {"v1", "v2"}

    log = change_to("v3", namespace)
    assert kept(volume) == {"v1", "v3"}
    assert log.count(REMOVED) == 1
