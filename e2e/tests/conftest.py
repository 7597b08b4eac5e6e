"""What the tests share: a namespace for each module, a served model in it, and what to tell when a test fails."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

import kube
import models
import monitoring
import runs

LABEL = "candlepower.dev/e2e"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Removes what a killed run has left."""
    if distributes(session):
        remove_namespaces()
        if not any(is_of_another(namespace) for namespace in marked("namespaces")):
            remove_monitoring()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the last test, waits until all is gone."""
    if distributes(session):
        remove_namespaces()


def distributes(session: pytest.Session) -> bool:
    """Whether this process is not one of several that share the tests."""
    return not hasattr(session.config, "workerinput")


def remove_monitoring() -> None:
    if "monitoring.coreos.com/" in kube.kubectl("api-versions"):
        kube.run(kube.E2E / "cluster" / "monitoring" / "remove")


@pytest.fixture(scope="session")
def monitoring_stack() -> Iterator[monitoring.Prometheus]:
    """A monitoring stack as real clusters have one, and its Prometheus."""
    kube.run(kube.E2E / "cluster" / "monitoring" / "deploy")
    yield monitoring.Prometheus()
    remove_monitoring()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the modules that need a bare cluster, then the one that sees a monitoring stack arrive, then those that need
    it, so that it is installed once."""
    fixtures: dict[str, set[str]] = {}
    for item in items:
        fixtures.setdefault(item.path.name, set()).update(getattr(item, "fixturenames", []))

    def place(item: pytest.Item) -> int:
        used = fixtures[item.path.name]
        if "arrived_stack" in used:
            return 1
        return 2 if "monitoring_stack" in used else 0

    items.sort(key=place)


def marked(kind: str) -> list[dict[str, Any]]:
    """Objects of tests, of whatever run."""
    return kube.find(kind, "default", LABEL)


def is_of_another(found: dict[str, Any]) -> bool:
    """Whether an object belongs to another run that is alive."""
    run = found["metadata"]["labels"].get(runs.LABEL, "")
    return run != runs.THIS and runs.is_alive(run)


def remove_namespaces() -> None:
    """Removes what this run has made, and what others have left that are not alive."""
    for kind, timeout in [("namespaces", "120s"), ("persistentvolumes", "60s")]:
        names = [found["metadata"]["name"] for found in marked(kind) if not is_of_another(found)]
        if names:
            kube.kubectl("delete", kind, *names, "--ignore-not-found", f"--timeout={timeout}")


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the module's own that enforces the strictest pod security."""
    subject = request.module.__name__.removeprefix("test_").replace("_", "-")
    name = f"e2e-{subject}-{secrets.token_hex(2)}"
    labels = {LABEL: subject, runs.LABEL: runs.THIS, "pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}, name)
    yield name
    kube.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def claim(namespace: str) -> str:
    """The claim `models` in the namespace, with the real model in it."""
    kube.run(kube.E2E / "cluster" / "model", "claim", namespace)
    kube.kubectl("label", "persistentvolume", f"models-{namespace}", f"{LABEL}=true", f"{runs.LABEL}={runs.THIS}")
    return "models"


@pytest.fixture(scope="module")
def served(namespace: str, claim: str) -> str:
    """The name of an LLMDeployment that serves."""
    resource = models.llm()
    kube.apply(resource, namespace)
    name = resource["metadata"]["name"]
    kube.wait_for_condition(name, namespace, "Ready", "True")
    return name


@pytest.fixture(scope="module")
def url(namespace: str, served: str) -> Iterator[str]:
    """The served model's address, reachable from here."""
    with kube.forwarded(namespace, f"service/{served}", "http") as address:
        yield address


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Adds to a failure what the namespace looks like, because it is gone when a person looks."""
    outcome = yield
    report = outcome.get_result()
    namespace = getattr(item, "funcargs", {}).get("namespace")
    if report.failed and namespace:
        report.sections.append((f"the namespace {namespace}", describe(namespace)))


def describe(namespace: str) -> str:
    """Resources, pods, events and logs of a namespace."""
    questions = [
        ["get", "llm,deployments,replicasets,pods,services,poddisruptionbudgets,networkpolicies", "-o", "wide"],
        ["get", "llm", "-o", "jsonpath={range .items[*]}{.metadata.name}: {.status}{\"\\n\"}{end}"],
        ["get", "events", "--sort-by=.lastTimestamp"],
        ["logs", "-l", "app.kubernetes.io/managed-by=candlepower-operator", "--tail=15", "--prefix"],
    ]
    parts = []
    for question in questions:
        with contextlib.suppress(kube.Refused):
            parts.append(f"$ kubectl {' '.join(question)}\n{kube.kubectl('-n', namespace, *question)}")
    return "\n".join(parts)
