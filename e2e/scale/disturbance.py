"""Changes by users, or by somebody who should not, and what must be so when the operator has seen them all."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

import cluster
from operator_process import Operator
from processes import Failed

RESOURCES = 20
PATIENCE = 180


class Disturbance:
    """Some resources of one namespace, which change at random. Without nodes there are no pods to wait for."""

    def __init__(self, namespace: str, seed: int, resources: int = RESOURCES, has_nodes: bool = True) -> None:
        self.namespace = namespace
        self.seed = seed
        self.random = random.Random(seed)
        self.resources = resources
        self.has_nodes = has_nodes
        self.wanted: dict[str, dict[str, Any]] = {}

    # ---- What happens ---------------------------------------------------------------------------------

    def disturb(self) -> str:
        """One change."""
        if len(self.wanted) < self.resources and (not self.wanted or self.random.random() < 0.6):
            return self.create()
        name = self.random.choice(list(self.wanted))
        if self.random.random() < 0.7:
            self.change(name)
            return f"{name} is changed"
        kind = self.random.choice(["configmaps", "services", "deployments.apps"])
        cluster.kubectl("-n", self.namespace, "delete", kind, "-l", f"{cluster.LABEL}={name}", "--wait=false")
        return f"{name} loses its {kind}"

    def create(self) -> str:
        name = f"chaos-{len(self.wanted)}"
        self.change(name)
        return f"{name} is created"

    def change(self, name: str) -> None:
        """Some of the fields that change the children, and which children there are."""
        collected = self.random.choice(["Auto", "None"])
        spec = {
            "model": {"source": cluster.SOURCE, "servedName": f"model-{self.random.randrange(10**6)}"},
            "replicas": self.random.randint(0, 3),
            "observability": {
                "metrics": {"mode": collected},
                "tracing": {"mode": collected},
                "dashboards": {"enabled": self.random.random() < 0.5},
            },
        }
        self.wanted[name] = spec
        metadata = {"name": name, "namespace": self.namespace}
        kind = {"apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment"}
        cluster.apply([{**kind, "metadata": metadata, "spec": spec}])

    def change_all(self) -> None:
        for name in list(self.wanted):
            self.change(name)

    def kill_often(self, kills: int, start: Callable[[], Operator]) -> None:
        """The operator dies at random moments, and each time something changes."""
        for number in range(kills):
            operator = start()
            time.sleep(self.random.uniform(0, 0.8))
            what = self.disturb()
            time.sleep(self.random.uniform(0, 1.2))
            operator.process.kill()
            operator.end()
            print(f"{number + 1:3}  {what}", flush=True)
        while len(self.wanted) < self.resources:
            self.create()

    # ---- What must be so in the end -------------------------------------------------------------------

    def wait_until_right(self, patience: float = PATIENCE) -> float:
        wrong: list[str] = []

        def right() -> bool:
            wrong[:] = self.wrong()
            return not wrong

        try:
            return cluster.wait_until("everything to be right", right, patience, every=1)
        except Failed as late:
            raise Failed(f"{late} (seed {self.seed}):\n" + "\n".join(wrong[:20])) from None

    def wrong(self) -> list[str]:
        """Everything that is not as the resources ask for."""
        found = []
        resources = {item["metadata"]["name"]: item for item in self.listed("llmdeployments.candlepower.dev")}
        children = self.listed(cluster.CHILDREN, cluster.LABEL)
        if resources.keys() != self.wanted.keys():
            found.append(f"there are {sorted(resources)}")
        for name, spec in self.wanted.items():
            of_it = [item for item in children if item["metadata"]["labels"][cluster.LABEL] == name]
            if name in resources:
                checks = wrong_with(resources[name], spec, of_it)
                if self.has_nodes:
                    checks |= not_served(resources[name], spec)
                found += [f"{name}: {what}" for what, is_wrong in checks.items() if is_wrong]
        strangers = {item["metadata"]["labels"][cluster.LABEL] for item in children} - self.wanted.keys()
        return found + [f"children of {name}, which does not exist" for name in strangers]

    def listed(self, kinds: str, label: str = "") -> list[dict[str, Any]]:
        return json.loads(cluster.kubectl("-n", self.namespace, "get", kinds, "-l", label, "-o", "json"))["items"]


def wrong_with(resource: dict[str, Any], spec: dict[str, Any], children: list[dict[str, Any]]) -> dict[str, bool]:
    """What may be wrong with the children of one resource and with its status, and whether it is."""
    name, uid = resource["metadata"]["name"], resource["metadata"]["uid"]
    collects = spec["observability"]["metrics"]["mode"] == "Auto"
    own = [(kind, name) for kind in ("ConfigMap", "Deployment", "NetworkPolicy", "Service")]
    dashboards = [("ConfigMap", f"{name}-dashboards")] if spec["observability"]["dashboards"]["enabled"] else []
    wanted = sorted([*own, *dashboards])
    collectors = ["jaeger.yaml", "prometheus.yaml", "rules.yaml"] if collects else []
    found = sorted((item["kind"], item["metadata"]["name"]) for item in children)
    owners = {owner["uid"] for item in children for owner in item["metadata"].get("ownerReferences", [])}
    by_kind = {(item["kind"], item["metadata"]["name"]): item for item in children}
    files = by_kind.get(("ConfigMap", name), {}).get("data", {})
    config = files.get("server.yaml", "")
    replicas = by_kind.get(("Deployment", name), {"spec": {}})["spec"].get("replicas")
    observed = resource.get("status", {}).get("observedGeneration")
    return {
        f"its children are {found}": found != wanted,
        f"its children belong to {owners}": owners != {uid},
        f"its ConfigMap has the files {sorted(files)}": sorted(files) != sorted([*collectors, "server.yaml"]),
        f"its configuration is {config}": f"servedName: {spec['model']['servedName']}\n" not in config,
        f"its Deployment wants {replicas} pods": replicas != spec["replicas"],
        f"its status is of generation {observed}": observed != resource["metadata"]["generation"],
    }


def not_served(resource: dict[str, Any], spec: dict[str, Any]) -> dict[str, bool]:
    """What may be wrong with its pods, and whether it is."""
    status = resource.get("status", {})
    ready = {c["type"]: c for c in status.get("conditions", [])}.get("Ready", {})
    is_as_wanted = ready.get("status") == "True" or (spec["replicas"] == 0 and ready.get("reason") == "ScaledToZero")
    return {
        f"it is not ready: {ready.get('reason')}: {ready.get('message')}": not is_as_wanted,
        f"it counts {status.get('readyReplicas')} pods": status.get("readyReplicas", 0) != spec["replicas"],
    }
