"""Does to the operator what happens to it in bad hours, and looks whether everything is right afterwards.

It is called by e2e/scale/chaos, which has brought up the control plane. Everything random comes from the seed that it
prints.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cluster
from operator_process import Operator
from processes import Failed, end_with_this_process

NAMESPACE = "chaos"
RESOURCES = 20
OUTAGE = 60  # seconds
PATIENCE = 180


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="e2e/scale/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a run (%(default)s)")
    parser.add_argument("--kills", type=int, default=50, help="how often the operator is killed (%(default)s)")
    for name in ("operator", "client", "credentials", "audit", "logs"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


class Chaos:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.random = random.Random(options.seed)
        self.wanted: dict[str, dict[str, Any]] = {}
        self.starts = 0

    def start(self) -> Operator:
        self.starts += 1
        log = self.options.logs / f"chaos-{self.starts}.log"
        return Operator(self.options.operator, self.options.credentials / "operator.conf", log)

    # ---- What happens ---------------------------------------------------------------------------------

    def disturb(self) -> str:
        """One change by a user, or by somebody who should not."""
        if len(self.wanted) < RESOURCES and (not self.wanted or self.random.random() < 0.6):
            name = f"chaos-{len(self.wanted)}"
            self.wanted[name] = self.spec()
            self.apply(name)
            return f"{name} is created"
        name = self.random.choice(list(self.wanted))
        if self.random.random() < 0.7:
            self.wanted[name] = self.spec()
            self.apply(name)
            return f"{name} is changed"
        kind = self.random.choice(["configmaps", "services", "deployments.apps"])
        cluster.kubectl("-n", NAMESPACE, "delete", kind, "-l", f"{cluster.LABEL}={name}", "--wait=false")
        return f"{name} loses its {kind}"

    def spec(self) -> dict[str, Any]:
        """Some of the fields that change the children, and which children there are."""
        collected = self.random.choice(["Auto", "None"])
        return {
            "model": {"source": cluster.SOURCE, "servedName": f"model-{self.random.randrange(10**6)}"},
            "replicas": self.random.randint(0, 3),
            "observability": {
                "metrics": {"mode": collected},
                "tracing": {"mode": collected},
                "dashboards": {"enabled": self.random.random() < 0.5},
            },
        }

    def apply(self, name: str) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        kind = {"apiVersion": "candlepower.dev/v1alpha1", "kind": "LLMDeployment"}
        cluster.apply([{**kind, "metadata": metadata, "spec": self.wanted[name]}])

    # ---- What must be so in the end -------------------------------------------------------------------

    def wait_until_right(self) -> float:
        wrong: list[str] = []

        def right() -> bool:
            wrong[:] = self.wrong()
            return not wrong

        try:
            return cluster.wait_until("everything to be right", right, PATIENCE, every=2)
        except Failed as late:
            raise Failed(f"{late} (seed {self.options.seed}):\n" + "\n".join(wrong[:20])) from None

    def wrong(self) -> list[str]:
        """Everything that is not as the resources ask for."""
        found = []
        resources = {item["metadata"]["name"]: item for item in listed("llmdeployments.candlepower.dev")}
        children = [item for kind in cluster.CHILDREN.split(",") for item in listed(kind, cluster.LABEL)]
        if resources.keys() != self.wanted.keys():
            found.append(f"there are {sorted(resources)}")
        for name, spec in self.wanted.items():
            of_it = [item for item in children if item["metadata"]["labels"][cluster.LABEL] == name]
            if name in resources:
                found += [f"{name}: {word}" for word in wrong_with(resources[name], spec, of_it)]
        strangers = {item["metadata"]["labels"][cluster.LABEL] for item in children} - self.wanted.keys()
        return found + [f"children of {name}, which does not exist" for name in strangers]


def listed(kind: str, label: str = "") -> list[dict[str, Any]]:
    return json.loads(cluster.kubectl("-n", NAMESPACE, "get", kind, "-l", label, "-o", "json"))["items"]


def wrong_with(resource: dict[str, Any], spec: dict[str, Any], children: list[dict[str, Any]]) -> list[str]:
    """What is wrong with one resource and its children."""
    name, uid = resource["metadata"]["name"], resource["metadata"]["uid"]
    status = resource.get("status", {})
    ready = {c["type"]: c for c in status.get("conditions", [])}.get("Ready", {})
    collects = spec["observability"]["metrics"]["mode"] == "Auto"
    parts = [
        *(["-prometheus", "-jaeger"] if collects else []),
        *(["-dashboards"] if spec["observability"]["dashboards"]["enabled"] else []),
    ]
    wanted = sorted([("ConfigMap", name), ("Service", name), ("Deployment", name), *(("ConfigMap", name + p) for p in parts)])
    found = sorted((item["kind"], item["metadata"]["name"]) for item in children)
    owners = {owner["uid"] for item in children for owner in item["metadata"].get("ownerReferences", [])}
    by_kind = {(item["kind"], item["metadata"]["name"]): item for item in children}
    config = json.dumps(by_kind.get(("ConfigMap", name), {}).get("data", {}))
    deployment = by_kind.get(("Deployment", name), {"spec": {}, "status": {}})
    checks = {
        f"its children are {found}": found == wanted,
        f"its children belong to {owners}": owners == {uid},
        f"its configuration is {config}": f"servedName: {spec['model']['servedName']}\\n" in config,
        f"its Deployment wants {deployment['spec'].get('replicas')} pods": deployment["spec"].get("replicas") == spec["replicas"],
        f"its status is of generation {status.get('observedGeneration')}": status.get("observedGeneration")
        == resource["metadata"]["generation"],
        f"it is not ready: {ready.get('reason')}: {ready.get('message')}": ready.get("status") == "True"
        or (spec["replicas"] == 0 and ready.get("reason") == "ScaledToZero"),
        f"it counts {status.get('readyReplicas')} pods": status.get("readyReplicas", 0) == spec["replicas"],
    }
    return [what for what, holds in checks.items() if not holds]


def killed_often(chaos: Chaos) -> None:
    """The operator dies at random moments, and each time something changes."""
    for _ in range(chaos.options.kills):
        operator = chaos.start()
        time.sleep(chaos.random.uniform(0, 0.8))
        what = chaos.disturb()
        time.sleep(chaos.random.uniform(0, 1.2))
        operator.process.kill()
        operator.end()
        print(f"{chaos.starts:3}  {what}", flush=True)
    while len(chaos.wanted) < RESOURCES:
        chaos.disturb()


def outage(chaos: Chaos) -> None:
    """The API server goes in the middle of a roll-out of everything."""
    for name in chaos.wanted:
        chaos.wanted[name] = chaos.spec()
        chaos.apply(name)
    subprocess.run([Path(__file__).with_name("restart-apiserver"), str(OUTAGE)], check=True)


def main() -> None:
    options = arguments()
    end_with_this_process()
    print(f"seed {options.seed}")
    chaos = Chaos(options)
    cluster.make_namespace(NAMESPACE)
    killed_often(chaos)
    operator = chaos.start()
    print(f"after {options.kills} kills everything is right within {chaos.wait_until_right():.0f} s", flush=True)
    outage(chaos)
    took = chaos.wait_until_right()
    if operator.process.poll() is not None:
        raise Failed(f"the operator ended while the API server was away; see {operator.log}")
    print(f"after {OUTAGE} s without an API server everything is right within {took:.0f} s")
    operator.end()


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
