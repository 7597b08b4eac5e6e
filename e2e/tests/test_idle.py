"""A deployment at rest costs the API server nothing."""

import time

import kube

SECONDS = 30
KINDS = "llm,deployments,replicasets,pods,services,configmaps,networkpolicies,poddisruptionbudgets"


def test_at_rest_nothing_is_written(namespace: str, served: str) -> None:
    def versions() -> dict[str, str]:
        metadata = [item["metadata"] | {"kind": item["kind"]} for item in kube.find(KINDS, namespace)]
        return {f"{item['kind']} {item['name']}": item["resourceVersion"] for item in metadata}

    settle(versions)
    before = versions()
    time.sleep(SECONDS)
    assert versions() == before


def settle(versions) -> None:
    """Waits until nothing has changed for 3 s: conditions of pods follow a little later than readiness."""
    history = [versions()]

    def quiet() -> tuple[bool, object]:
        history.append(versions())
        return len(history) > 8 and all(entry == history[-1] for entry in history[-8:]), history[-1]

    kube.wait_for("a quiet moment", quiet, seconds=30)
