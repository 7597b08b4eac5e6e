"""A thin layer over kubectl: what the tests read is JSON, what they wait for has a deadline and says how it stood."""

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

E2E = Path(__file__).resolve().parent.parent
OPERATOR_NAMESPACE = "candlepower-system"


class Refused(Exception):
    """kubectl failed; the text is what it said."""


def run(*command: str | Path, stdin: str | None = None) -> str:
    """Runs a command and gives back what it printed."""
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, timeout=180
    )
    if done.returncode:
        raise Refused(f"{' '.join(map(str, command))}:\n{done.stderr}{done.stdout}")
    return done.stdout


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Runs kubectl on the cluster under test."""
    return run("kubectl", *arguments, stdin=stdin)


def get(kind: str, name: str, namespace: str) -> dict[str, Any]:
    """One object."""
    return json.loads(kubectl("-n", namespace, "get", kind, name, "-o", "json"))


def scale(kind: str, name: str, namespace: str) -> dict[str, Any]:
    """The scale subresource, as an autoscaler reads it."""
    return json.loads(kubectl("-n", namespace, "get", kind, name, "--subresource=scale", "-o", "json"))


def find(kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
    """All objects of a kind, or those with certain labels."""
    text = kubectl("-n", namespace, "get", kind, "-l", selector, "-o", "json")
    return json.loads(text)["items"]


def apply(resource: dict[str, Any], namespace: str) -> None:
    """Applies an object; a refusal is raised with the API server's words."""
    kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(resource))


def patch(kind: str, name: str, namespace: str, change: dict[str, Any]) -> None:
    """Merges a change into an object."""
    kubectl("-n", namespace, "patch", kind, name, "--type=merge", "-p", json.dumps(change))


def raw(namespace: str, service: str, port: str, path: str) -> str:
    """GETs a path of a Service through the API server, because its address exists only inside the cluster."""
    return kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy{path}")


def condition(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    """A condition of the resource's status; empty where it is not there yet, or is of an older generation."""
    for item in resource.get("status", {}).get("conditions", []):
        if item["type"] == kind and item["observedGeneration"] == resource["metadata"]["generation"]:
            return item
    return {}


def wait_for(what: str, look: Callable[[], tuple[bool, Any]], seconds: float = 60, pause: float = 0.25) -> Any:
    """Calls `look` until its first result is true, and gives back the second; that is also told on failure. Each look takes
    some of the processors' time, so pause for longer where it takes minutes."""
    deadline = time.monotonic() + seconds
    while True:
        done, state = look()
        if done:
            return state
        if time.monotonic() > deadline:
            shown = state if isinstance(state, str) else json.dumps(state, indent=1)
            raise AssertionError(f"not within {seconds:.0f} s: {what}; this is how it stands:\n{shown}")
        time.sleep(pause)


def wait_for_condition(
    name: str, namespace: str, kind: str, status: str, reason: str = "", seconds: float = 90, pause: float = 0.25
) -> dict[str, Any]:
    """Waits until an LLMDeployment has the condition, and gives back the whole resource."""

    def look() -> tuple[bool, Any]:
        resource = get("llm", name, namespace)
        found = condition(resource, kind)
        if found.get("status") == status and reason in ("", found["reason"]):
            return True, resource
        return False, resource.get("status", {})

    return wait_for(f"{kind}={status} {reason} of {name}", look, seconds, pause)


def pods(name: str, namespace: str) -> list[dict[str, Any]]:
    """The pods of an LLMDeployment that are not on their way out."""
    found = find("pods", namespace, f"candlepower.dev/llmdeployment={name}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def wait_for_another_pod(name: str, namespace: str, old: str, seconds: float = 60) -> None:
    """Waits until an LLMDeployment is ready with one pod, which is not the one with the UID `old`."""

    def look() -> tuple[bool, Any]:
        resource = get("llm", name, namespace)
        uids = [pod["metadata"]["uid"] for pod in pods(name, namespace)]
        ready = condition(resource, "Ready").get("status") == "True"
        return ready and len(uids) == 1 and old not in uids, resource.get("status", {})

    wait_for(f"another pod of {name} that serves", look, seconds)


def log_of(name: str, namespace: str) -> str:
    """What the server in an LLMDeployment's only pod has logged."""
    (pod,) = pods(name, namespace)
    return kubectl("-n", namespace, "logs", pod["metadata"]["name"], "-c", "server")


def install_chart(values: Path | None = None) -> None:
    """Installs or upgrades the chart, with other values than the tests' own if there are any, and waits until the
    operator is ready."""
    run("env", *([f"CHART_VALUES={values}"] if values else []), E2E / "lib" / "install-chart")


def operator_pod() -> dict[str, Any]:
    """The operator's pod."""
    found = find("pods", OPERATOR_NAMESPACE, "app.kubernetes.io/component=operator")
    return next(pod for pod in found if "deletionTimestamp" not in pod["metadata"])


@contextlib.contextmanager
def forwarded(namespace: str, target: str, port: str) -> Iterator[str]:
    """The address at which a port of a pod or Service is reachable from here."""
    command = ["kubectl", "-n", namespace, "port-forward", target, f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        local = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert local, f"kubectl cannot forward a port to {target}: {line}"
        # It tells of each connection, and stands still once nobody reads that any more.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield f"http://127.0.0.1:{local[1]}"
    finally:
        process.terminate()
        process.wait(timeout=20)
