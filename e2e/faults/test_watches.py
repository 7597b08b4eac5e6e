"""A watch that ends or is too old misses nothing of what happened meanwhile."""

import time
from typing import Any

import kube
import models
import operators
from fault_proxy import Answer, Delay, Expired, Proxy
from operator_process import Operator
from operators import SOON


def watch_errors(operator: Operator, kind: str) -> float:
    series = "candlepower_operator_watch_errors_total"
    return operator.metrics()[f'{series}{{controller="llmdeployment",kind="{kind}"}}']


def known(operator: Operator) -> set[str]:
    """The resources that it knows, by the series that it exports of each."""
    series = "candlepower_llmdeployment_replicas{"
    return {name.split('llmdeployment="')[1].split('"')[0] for name in operator.metrics() if name.startswith(series)}


def wait_for_replicas(name: str, namespace: str, number: int) -> None:
    def replicas() -> tuple[bool, Any]:
        found = kube.get("deployment", name, namespace)["spec"]["replicas"]
        return found == number, found

    kube.wait_for(f"{number} replicas of {name}", replicas, SOON)


def settle(proxy: Proxy, name: str, namespace: str) -> None:
    kube.apply(models.llm(name), namespace)
    operators.wait_until_settled(proxy, name, namespace)


def test_after_an_expired_watch_it_lists_anew(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, "changed", namespace)
    settle(proxy, "gone", namespace)
    since, errors = time.monotonic(), watch_errors(operator, "LLMDeployment")
    # It sees nothing of what happens until the list has come.
    listing = proxy.add(Delay(2), "list", "llmdeployments")
    assert proxy.expire_watches("llmdeployments") >= 1
    kube.apply(models.llm("new"), namespace)
    kube.patch("llm", "changed", namespace, {"spec": {"replicas": 3}})
    kube.kubectl("-n", namespace, "delete", "llm", "gone", "--wait=false")
    wait_for_replicas("changed", namespace, 3)
    operators.wait_for_child("deployment", "new", namespace)
    kube.wait_for("the end of what was deleted", lambda: ("gone" not in known(operator), sorted(known(operator))), SOON)
    assert len(listing.hits) == 1
    assert len(proxy.of("list", "llmdeployments", since=since)) == 1
    assert watch_errors(operator, "LLMDeployment") == errors + 1


def test_a_child_that_is_lost_while_its_watch_is_expired_comes_back(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, "robbed", namespace)
    proxy.add(Delay(1), "list", "services")
    assert proxy.expire_watches("services") >= 1
    before = kube.get("service", "robbed", namespace)["metadata"]["uid"]
    kube.kubectl("-n", namespace, "delete", "service", "robbed", "--wait=false")

    def back() -> tuple[bool, Any]:
        found = kube.find("services", namespace, "candlepower.dev/llmdeployment=robbed")
        uids = [item["metadata"]["uid"] for item in found]
        return len(uids) == 1 and uids != [before], uids

    kube.wait_for("the Service", back, SOON)


def test_watches_and_lists_that_expire_again_and_again_are_begun_anew(
    namespace: str, proxy: Proxy, operator: Operator
) -> None:
    settle(proxy, "patient", namespace)
    watches = proxy.add(Expired(), "watch", "llmdeployments", times=2)
    lists = proxy.add(Answer(410), "list", "llmdeployments", times=2)
    since = time.monotonic()
    assert proxy.expire_watches("llmdeployments") >= 1
    kube.patch("llm", "patient", namespace, {"spec": {"replicas": 2}})
    wait_for_replicas("patient", namespace, 2)
    kube.wait_for("every fault", lambda: (len(watches.hits) == len(lists.hits) == 2, [watches.hits, lists.hits]), SOON)
    # A second watch was begun after each list, and there was a pause before each.
    asked = [request.at for request in proxy.requests if request.resource == "llmdeployments" and request.at >= since]
    assert len(asked) <= 10, "it does not ask without a pause"
    kube.patch("llm", "patient", namespace, {"spec": {"replicas": 1}})
    wait_for_replicas("patient", namespace, 1)


def test_watches_that_break_off_go_on_where_they_were(namespace: str, proxy: Proxy, operator: Operator) -> None:
    settle(proxy, "cut", namespace)
    since = time.monotonic()
    proxy.cut_streams()
    kube.patch("llm", "cut", namespace, {"spec": {"replicas": 4}})
    kube.kubectl("-n", namespace, "delete", "service", "cut", "--wait=false")
    wait_for_replicas("cut", namespace, 4)
    operators.wait_for_child("service", "cut", namespace)
    # Nothing is listed anew: one benchmark is, now and then, for the look at the API server's history.
    assert {request.resource for request in proxy.of("list", since=since)} <= {"", "llmbenchmarks"}
    assert operator.process.poll() is None
