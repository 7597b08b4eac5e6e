"""What the tests ask Prometheus, Alertmanager and Jaeger, each through the API server."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import kube

NAMESPACE = "monitoring"


class Prometheus:
    """One Prometheus: the cluster's, or the one beside a model, whose Service is the model's own."""

    def __init__(self, namespace: str = NAMESPACE, service: str = "prometheus-operated", port: str = "web") -> None:
        self.address = (namespace, service, port)

    def ask(self, path: str) -> Any:
        return json.loads(kube.raw(*self.address, f"/api/v1/{path}"))["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self.ask(f"query?query={quote(expression, safe='')}")["result"]

    def query_at(self, expression: str, moment: float) -> list[dict[str, Any]]:
        """What the expression was at a moment, in seconds since 1970."""
        return self.ask(f"query?query={quote(expression, safe='')}&time={moment}")["result"]

    def value(self, expression: str) -> float | None:
        """The one value of an expression, or None where it has none."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else None

    def exemplars(self, series: str) -> set[str]:
        """The trace ids that Prometheus keeps beside the values of a series of the last minutes."""
        now = time.time()
        answer = self.ask(f"query_exemplars?query={quote(series, safe='')}&start={now - 300}&end={now}")
        return {exemplar["labels"]["trace_id"] for found in answer for exemplar in found["exemplars"]}

    def targets(self, name: str) -> list[dict[str, Any]]:
        """The targets that belong to an LLMDeployment."""
        return [t for t in self.ask("targets?state=active")["activeTargets"] if t["labels"].get("llmdeployment") == name]

    def groups(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """The rule groups of an LLMDeployment."""
        return [g for g in self.ask("rules")["groups"] if g["name"].startswith(f"candlepower:{namespace}:{name}:")]

    def alerts(self, namespace: str, name: str) -> dict[str, str]:
        """The state of each alert of an LLMDeployment that is pending or firing."""
        labels = {"namespace": namespace, "llmdeployment": name}
        found = [a for a in self.ask("alerts")["alerts"] if labels.items() <= a["labels"].items()]
        return {alert["labels"]["alertname"]: alert["state"] for alert in found}


def reached(look: Any) -> tuple[bool, Any]:
    """`look()`, where a Prometheus that does not answer yet is no error but a reason to wait."""
    try:
        return look()
    except (kube.Refused, KeyError, json.JSONDecodeError) as refusal:
        return False, str(refusal)


def alertmanager(namespace: str, name: str) -> set[str]:
    """Names of the alerts of an LLMDeployment that Alertmanager holds as active."""
    labels = {"namespace": namespace, "llmdeployment": name}
    alerts = json.loads(kube.raw(NAMESPACE, "alertmanager-operated", "web", "/api/v2/alerts?active=true"))
    return {a["labels"]["alertname"] for a in alerts if labels.items() <= a["labels"].items()}


def firing(name: str, namespace: str) -> set[str]:
    """Names of the alerts that the resource's status tells of."""
    return set(kube.get("llm", name, namespace).get("status", {}).get("alerts", {}).get("firing", []))


def wait_until_collected(prometheus: Prometheus, namespace: str, name: str, seconds: float = 90) -> None:
    """Waits until Prometheus scrapes a pod of the LLMDeployment and has loaded its rules."""

    def look() -> tuple[bool, Any]:
        targets = [(target["scrapeUrl"], target["health"], target["lastError"]) for target in prometheus.targets(name)]
        groups = [group["name"] for group in prometheus.groups(namespace, name)]
        return "up" in [health for _, health, _ in targets] and bool(groups), {"targets": targets, "groups": groups}

    kube.wait_for(f"{name} to be scraped, with its rules loaded", lambda: reached(look), seconds)


def spans(namespace: str, service: str, port: str, trace_id: str, number: int = 7) -> dict[str, dict[str, Any]]:
    """A trace's spans by name, from Jaeger's API, once as many as that have arrived."""

    def look() -> tuple[bool, Any]:
        answer = json.loads(kube.raw(namespace, service, port, f"/api/v3/traces/{trace_id}"))
        groups = answer["result"]["resourceSpans"]
        found = [span for group in groups for scope in group["scopeSpans"] for span in scope["spans"]]
        return len(found) >= number, {span["name"]: span for span in found}

    return kube.wait_for(f"{number} spans at Jaeger", lambda: reached(look), seconds=20)


def reconciles() -> list[list[dict[str, Any]]]:
    """The spans of each reconcile of the last minutes that the cluster's Jaeger holds."""
    now = datetime.now(UTC)
    times = {"min": now - timedelta(minutes=10), "max": now + timedelta(minutes=1)}
    query = {"service_name": "candlepower-operator", "operation_name": "reconcile", "num_traces": "1000"}
    query |= {f"start_time_{end}": time.strftime("%Y-%m-%dT%H:%M:%SZ") for end, time in times.items()}
    path = "/api/v3/traces?" + urlencode({f"query.{key}": value for key, value in query.items()})
    answer = json.loads(kube.raw("observability", "jaeger", "query", path))
    traces: dict[str, list[dict[str, Any]]] = {}
    for group in answer["result"]["resourceSpans"]:
        for span in (span for scope in group["scopeSpans"] for span in scope["spans"]):
            traces.setdefault(span["traceId"], []).append(span)
    return list(traces.values())


def outline(trace: list[dict[str, Any]], namespace: str, name: str) -> set[tuple[str, str, str, str]]:
    """Each span of a reconcile of this LLMDeployment: its name, its parent's, and what was asked of the API server with
    which status; nothing for other objects."""
    says = {span["spanId"]: {a["key"]: str(next(iter(a["value"].values()))) for a in span.get("attributes", [])} for span in trace}
    names = {span["spanId"]: span["name"] for span in trace}
    wanted = {"k8s.namespace.name": namespace, "candlepower.object.name": name, "candlepower.object.kind": "LLMDeployment"}
    if not any(names[key] == "reconcile" and wanted.items() <= said.items() for key, said in says.items()):
        return set()
    return {
        (
            span["name"],
            names.get(span.get("parentSpanId", ""), ""),
            says[span["spanId"]].get("candlepower.api.resource", ""),
            says[span["spanId"]].get("http.response.status_code", ""),
        )
        for span in trace
    }


def check_parents(trace: dict[str, dict[str, Any]], caller: str) -> None:
    """The spans of a request hang together as documented; `caller` is the span that asked."""
    parents = {name: span.get("parentSpanId", "") for name, span in trace.items()}
    server = trace["POST /v1/chat/completions"]
    assert server["kind"] in (2, "SPAN_KIND_SERVER")
    assert parents.pop("POST /v1/chat/completions") == caller
    generate = trace["model_generate"]["spanId"]
    assert parents == {
        "tokenize_input": server["spanId"],
        "queue": server["spanId"],
        "model_generate": server["spanId"],
        "prefill": generate,
        "decode": generate,
        "decode_output": server["spanId"],
    }
