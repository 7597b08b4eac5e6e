"""Does to the operator what happens to it in bad hours, and looks whether everything is right afterwards.

It is called by e2e/scale/chaos, which has brought up the control plane. Everything random comes from the seed that it
prints.
"""

import argparse
import itertools
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cluster
from disturbance import PATIENCE, Disturbance
from operator_process import Operator
from processes import Failed, end_with_this_process

NAMESPACE = "chaos"
OUTAGE = 60  # seconds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="e2e/scale/chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="repeats a run (%(default)s)")
    parser.add_argument("--kills", type=int, default=50, help="how often the operator is killed (%(default)s)")
    for name in ("operator", "client", "credentials", "audit", "logs"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def outage(disturbance: Disturbance) -> None:
    """The API server goes in the middle of a roll-out of everything."""
    disturbance.change_all()
    subprocess.run([Path(__file__).with_name("restart-apiserver"), str(OUTAGE)], check=True)


# ---- A node that goes -------------------------------------------------------------------------------------


def lose_a_node(disturbance: Disturbance) -> tuple[float, float]:
    """A node goes while no other takes pods: says how long it took until each resource with a pod there told why it is not
    ready, and how long until all was right once the others took pods again."""
    pods = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    node, _ = Counter(pod["spec"]["nodeName"] for pod in pods).most_common(1)[0]
    hit = {pod["metadata"]["labels"][cluster.LABEL] for pod in pods if pod["spec"]["nodeName"] == node}
    cluster.kubectl("cordon", "--selector=kubernetes.io/os=linux")
    cluster.kubectl("delete", "node", node, "--wait=false")
    told = cluster.wait_until(f"{sorted(hit)} to say what is missing", lambda: all_unschedulable(disturbance, hit), PATIENCE)
    cluster.kubectl("uncordon", "--selector=kubernetes.io/os=linux")
    return told, disturbance.wait_until_right()


def all_unschedulable(disturbance: Disturbance, names: set[str]) -> bool:
    resources = disturbance.listed("llmdeployments.candlepower.dev")
    return all(is_unschedulable(resource) for resource in resources if resource["metadata"]["name"] in names)


def is_unschedulable(resource: dict[str, Any]) -> bool:
    conditions = {condition["type"]: condition for condition in resource["status"]["conditions"]}
    ready = conditions["Ready"]
    return ready["status"] == "False" and ready["reason"] == "Unschedulable" and "no node takes pod" in ready["message"]


def main() -> None:
    options = arguments()
    end_with_this_process()
    print(f"seed {options.seed}")
    starts = itertools.count(1)

    def start() -> Operator:
        log = options.logs / f"chaos-{next(starts)}.log"
        return Operator(options.operator, options.credentials / "operator.conf", log)

    disturbance = Disturbance(NAMESPACE, options.seed)
    cluster.make_namespace(NAMESPACE)
    disturbance.kill_often(options.kills, start)
    operator = start()
    print(f"after {options.kills} kills everything is right within {disturbance.wait_until_right():.0f} s", flush=True)
    outage(disturbance)
    took = disturbance.wait_until_right()
    print(f"after {OUTAGE} s without an API server everything is right within {took:.0f} s", flush=True)
    told, took = lose_a_node(disturbance)
    print(f"{told:.0f} s after a node went, its models say what they need; with it, everything is right within {took:.0f} s")
    if operator.process.poll() is not None:
        raise Failed(f"the operator ended meanwhile; see {operator.log}")
    operator.end()


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
