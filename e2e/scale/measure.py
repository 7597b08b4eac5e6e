"""Measures the operator with many resources, prints a table and writes a JSON file.

It is called by e2e/scale/run, which has brought up the control plane.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import audit
import cluster
from audit import Log, Request
from operator_process import Operator
from processes import Failed, end_with_this_process, run
from tables import percentile, rounded, table

AT_ONCE = 8  # parallel writes of a client
BURST = 200
# Seconds without a write until the operator counts as settled: silence is told after two rounds of scrapes.
QUIET = 90
NAMESPACE = "scale"
BARE = "bare"


def arguments() -> argparse.Namespace:
    about = "Measures the operator with many LLMDeployments."
    parser = argparse.ArgumentParser(prog="e2e/scale/run", description=about)
    parser.add_argument("--objects", type=int, default=1000, help="how many LLMDeployments (%(default)s)")
    parser.add_argument("--without-bare-client", action="store_true", help="leave the comparison out")
    for name in ("operator", "client", "credentials", "audit", "logs", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    cores = sum(line.startswith("processor") for line in lines)
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // (1 << 20)
    root = Path(__file__).parents[2]
    commit = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {
        "cpu": model,
        "cores": cores,
        "memory_gib": memory,
        "linux": platform.release(),
        "commit": commit.stdout.strip() or "unknown",
    }


class Measurement:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.log = Log(options.audit)
        self.runs = 0

    def start(self) -> Operator:
        self.runs += 1
        log = self.options.logs / f"operator-{self.runs}.log"
        return Operator(self.options.operator, self.options.credentials / "operator.conf", log)

    def write(self, objects: list[dict[str, Any]], count: int, namespace: str, prefix: str, *more: str) -> float:
        """Writes copies of the objects by the client; the seconds that it took."""
        self.options.logs.mkdir(parents=True, exist_ok=True)
        source = self.options.logs / f"{prefix}.json"
        source.write_text(json.dumps(objects))
        command = f'KUBECONFIG={self.options.credentials}/write-objects.conf exec "$0" "$@" <{source}'
        flags = ["--count", str(count), "--concurrency", str(AT_ONCE), "--namespace", namespace, "--prefix", prefix, *more]
        return float(run(["sh", "-c", command, str(self.options.client), *flags], self.options.logs / "client.log"))

    # ---- Parts ----------------------------------------------------------------------------------------

    def empty(self) -> dict[str, Any]:
        """At rest without a resource."""
        operator = self.start()
        operator.wait_until_ready()
        time.sleep(20)
        found = {"operator_rss_mib_with_none": operator.resident_mib()}
        self.write(cluster.resource(), 1, NAMESPACE, "example-")
        cluster.wait_until("the first resource", lambda: operator.count_ready() == 1, 60)
        self.children = cluster.children(NAMESPACE, "example-0")
        cluster.remove("llm", NAMESPACE)
        operator.end()
        kinds = [child["kind"] for child in self.children]
        return found | {"children": kinds, "children_bytes": len(json.dumps(self.children))}

    def bare_client(self) -> dict[str, Any]:
        """A client that writes the same children, without an operator beside it."""
        took = self.write(self.children, self.options.objects, BARE, "bare-", "--apply")
        cluster.remove("deployments.apps,services,networkpolicies.networking.k8s.io", BARE)
        cluster.kubectl("delete", "namespace", BARE)
        return {"bare_client_objects_per_s": self.options.objects / took}

    def burst(self, count: int, prefix: str) -> tuple[dict[str, Any], float]:
        """Creates resources: how long each waits for its Deployment, and how many had all children a second."""
        began = time.time()
        written = self.write(cluster.resource(), count, NAMESPACE, prefix)
        def written_children() -> list[Request]:
            kinds = ("configmaps", "services", "deployments", "networkpolicies")
            return [r for r in self.log.of(audit.OPERATOR, began) if r.code == 201 and r.resource in kinds]

        wanted = count * len(self.children)
        cluster.wait_until("all children", lambda: len(written_children()) >= wanted, 300, every=0.5)
        waits = self.waits(began)
        last = max(r.ended for r in written_children())
        first = min(r.began for r in self.log.of(audit.CLIENT, began))
        return {
            "create_to_deployment_p50_s": percentile(list(waits.values()), 0.5),
            "create_to_deployment_p99_s": percentile(list(waits.values()), 0.99),
            "created_by_client_in_s": written,
            "objects_per_s": count / (last - first),
        }, began

    def waits(self, since: float) -> dict[str, float]:
        """For each resource the time from its creation until its Deployment was written."""
        created = audit.first(self.log.of(audit.CLIENT, since), lambda r: r.resource == "llmdeployments", lambda r: r.began)
        there = audit.first(self.log.of(audit.OPERATOR, since), is_deployment, lambda r: r.ended)
        return {name: there[name] - at for name, at in created.items() if name in there}

    def settle(self, operator: Operator, count: int) -> float:
        """Waits until all are ready and nothing is written any more; the time of the last write."""
        cluster.wait_until("all to be ready", lambda: operator.count_ready() == count, 300, every=3)

        def last_write() -> float:
            return max((r.ended for r in audit.writes(self.log.of(audit.OPERATOR))), default=0)

        cluster.wait_until("the operator's rest", lambda: time.time() - last_write() > QUIET, 300, every=3)
        return last_write()

    def created(self, operator: Operator) -> dict[str, Any]:
        count = self.options.objects
        cpu = operator.cpu_seconds()
        found, began = self.burst(count, "model-")
        last = self.settle(operator, count)
        requests = self.log.of(audit.OPERATOR, began)
        return found | {
            "all_settled_after_s": last - began,
            "create_cpu_s": operator.cpu_seconds() - cpu,
            "api_requests_per_object": len(requests) / count,
            "writes_per_object": len(list(audit.writes(requests))) / count,
            "requests": audit.described(requests),
            "operator_rss_mib": operator.resident_mib(),
            "operator_peak_rss_mib": operator.peak_mib(),
        }

    def idle(self, operator: Operator) -> dict[str, Any]:
        """A minute in which nothing happens."""
        began, cpu = time.time(), operator.cpu_seconds()
        time.sleep(60)
        requests = self.log.of(audit.OPERATOR, began, began + 60)
        return {
            "idle_cpu_s": operator.cpu_seconds() - cpu,
            "idle_writes": len(list(audit.writes(requests))),
            "idle_api_requests": len(requests),
            "idle_requests": audit.described(requests),
        }

    def restart(self, operator: Operator) -> tuple[dict[str, Any], Operator]:
        """A new start among all resources, until each was looked at and it rests for five seconds."""
        operator.end()
        again = self.start()
        again.wait_until_ready()
        seen, at = 0, time.time()
        while seen < self.options.objects or time.time() - at < 5:
            now = again.reconciles()
            if now != seen:
                seen, at = now, time.time()
            if time.time() - again.began > 120:
                raise Failed(f"after a restart the operator has not settled within 120 s; {seen} reconciles")
            time.sleep(2)  # each look costs it the metrics of all resources
        cpu = again.cpu_seconds()
        requests = self.log.of(audit.OPERATOR, again.began)
        return {
            "restart_settled_s": at - again.began,
            "restart_cpu_s": cpu,
            "restart_writes": len(list(audit.writes(requests))),
            "restart_requests": audit.described(requests),
            "restart_reconciles": seen,
            "restart_rss_mib": again.resident_mib(),
        }, again


def is_deployment(request: Request) -> bool:
    return request.resource == "deployments" and request.verb in ("create", "patch")


def measured(measurement: Measurement) -> dict[str, Any]:
    options = measurement.options
    for namespace in (NAMESPACE, BARE):
        cluster.make_namespace(namespace)
    result = {"objects": options.objects, "machine": machine()} | part("empty", measurement.empty())
    if not options.without_bare_client:
        result |= part("bare client", measurement.bare_client())
    operator = measurement.start()
    operator.wait_until_ready()
    few = min(BURST, options.objects)
    small, _ = part("burst", measurement.burst(few, "few-"))
    result |= {f"{key}_of_{few}": value for key, value in small.items()}
    cluster.remove("llm", NAMESPACE)
    operator.end()
    operator = measurement.start()
    operator.wait_until_ready()
    result |= part("creation", measurement.created(operator))
    if "bare_client_objects_per_s" in result:
        result["pace_vs_bare_client"] = result["objects_per_s"] / result["bare_client_objects_per_s"]
    result |= part("idle", measurement.idle(operator))
    found, operator = measurement.restart(operator)
    result |= part("restart", found)
    # Another minute, because a restart must not make it restless.
    later = part("idle after the restart", measurement.idle(operator))
    operator.end()
    return result | {f"{key}_after_restart": value for key, value in later.items()}


def part(name: str, found: Any) -> Any:
    print(f"{time.strftime('%H:%M:%S')} {name}: {json.dumps(rounded(found))}", flush=True)
    return found


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What was measured, and its limit."""
    few = min(BURST, result["objects"])
    limits = [
        ("from a creation to its Deployment, 50th percentile", "create_to_deployment_p50_s", "s", ""),
        ("… 99th percentile", "create_to_deployment_p99_s", "s", "15"),
        (f"… {few} at once", f"create_to_deployment_p99_s_of_{few}", "s", "2"),
        ("pace beside a client that only writes the same children", "pace_vs_bare_client", "", "at least 0.7"),
        ("requests to the API server for each object", "api_requests_per_object", "", ""),
        ("… of these writes", "writes_per_object", "", ""),
        ("resident memory with none", "operator_rss_mib_with_none", "MiB", "15"),
        ("resident memory with all", "operator_rss_mib", "MiB", "40"),
        ("an idle minute: CPU", "idle_cpu_s", "s", "0.3"),
        ("… writes", "idle_writes", "", "0"),
        ("… requests", "idle_api_requests", "", "30"),
        ("a restart: until it has settled", "restart_settled_s", "s", "10"),
        ("… CPU", "restart_cpu_s", "s", "3"),
        ("… writes", "restart_writes", "", "0"),
    ]
    return [(what, f"{result[key]:.4g} {unit}".strip(), limit) for what, key, unit, limit in limits if key in result]


def main() -> None:
    options = arguments()
    end_with_this_process()
    result = rounded(measured(Measurement(options)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\n{result['objects']} LLMDeployments; {result['machine']}")
    print(table(("what", "measured", "limit"), rows(result)))
    print(f"\nalso in {options.out}")


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"error: {failure}")
