"""Whatever the API server answers, the operator tries again in its time, says so in its metrics, and comes to the end."""

import itertools

import pytest

import kube
import models
import operators
from fault_proxy import Answer, Cut, Fault, Proxy
from operator_process import Operator
from operators import SOON

PENDING = 'candlepower_operator_retries_pending{controller="llmdeployment"}'


def gaps(fault: Fault) -> list[float]:
    """Seconds between the requests that it has happened to."""
    return [after.at - before.at for before, after in itertools.pairwise(fault.hits)]


@pytest.mark.parametrize(
    ("verb", "resource"), [("create", "configmaps"), ("create", "deployments"), ("patch", "llmdeployments/status")]
)
def test_after_a_conflict_it_tries_again(
    verb: str, resource: str, namespace: str, proxy: Proxy, operator: Operator
) -> None:
    name = f"conflict-{resource.partition('/')[0]}"
    before = operators.failures(operator, "conflict")
    fault = proxy.add(Answer(409), verb, resource, name, times=2)
    kube.apply(models.llm(name), namespace)
    operators.wait_until_settled(proxy, name, namespace)
    assert operators.exists("deployment", name, namespace)
    assert len(fault.hits) == 2
    assert min(gaps(fault)) > 0.5, "it waits a moment"
    assert operators.failures(operator, "conflict") == before + 2
    assert operator.metrics()[PENDING] == 0


def test_who_says_when_to_come_again_is_not_asked_before(namespace: str, proxy: Proxy, operator: Operator) -> None:
    fault = proxy.add(Answer(429, retry_after=4), "create", "configmaps", "throttled")
    kube.apply(models.llm("throttled"), namespace)
    kube.wait_for("the answer", lambda: (bool(fault.hits), "no request"), SOON)
    kube.apply(models.llm("beside"), namespace)
    for name in ("beside", "throttled"):
        operators.wait_for_child("deployment", name, namespace)
    (refused, *later) = proxy.of("create", "configmaps", "throttled")
    assert refused.status == 429
    assert [request.status for request in later] == [201], "it comes again once"
    assert later[0].at - refused.at >= 4
    # Meanwhile another resource is served as ever.
    (beside,) = proxy.of("create", "deployments", "beside")
    assert beside.at < later[0].at


def test_a_failing_request_is_repeated_ever_more_rarely_and_holds_up_nobody_else(
    namespace: str, proxy: Proxy, operator: Operator
) -> None:
    before = operators.failures(operator, "api_server")
    fault = proxy.add(Answer(500), "create", "configmaps", "broken", times=5)
    kube.apply(models.llm("broken"), namespace)
    kube.wait_for("one to be tried again", lambda: (operator.metrics()[PENDING] == 1, operator.metrics()), SOON)
    kube.apply(models.llm("well"), namespace)
    for name in ("well", "broken"):
        operators.wait_for_child("deployment", name, namespace)
    assert len(fault.hits) == 5
    (well,) = proxy.of("create", "deployments", "well")
    assert well.at < fault.hits[-1].at
    # Half a second, doubled each time, of which up to a half is spared at random; but a resource is looked at once a
    # second at most.
    most = [0.5, 1, 2, 4]
    for gap, wait in zip(gaps(fault), most, strict=True):
        assert max(0.9, wait / 2) <= gap <= max(1, wait) + 1.5, gaps(fault)
    assert operators.failures(operator, "api_server") == before + 5
    kube.wait_for("nothing to be tried again", lambda: (operator.metrics()[PENDING] == 0, operator.metrics()), SOON)


def test_what_was_done_but_not_answered_is_not_done_twice(namespace: str, proxy: Proxy, operator: Operator) -> None:
    before = operators.failures(operator, "unreachable")
    fault = proxy.add(Cut(after=True), "create", "deployments", "unanswered")
    kube.apply(models.llm("unanswered"), namespace)
    operators.wait_until_settled(proxy, "unanswered", namespace)
    assert len(fault.hits) == 1
    assert operators.failures(operator, "unreachable") == before + 1
    deployment = kube.get("deployment", "unanswered", namespace)
    assert deployment["metadata"]["generation"] == 1
    assert len(kube.find("deployments", namespace, "candlepower.dev/llmdeployment=unanswered")) == 1


def test_an_event_that_is_not_accepted_stops_nothing(namespace: str, proxy: Proxy, operator: Operator) -> None:
    fault = proxy.add(Answer(500), "create", "events", times=2)
    # What somebody else made is told by an event.
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "silent"}}, namespace)
    kube.apply(models.llm("silent"), namespace)
    kube.wait_for_condition("silent", namespace, "Ready", "False", "ChildRefused", SOON)
    kube.wait_for("the event", lambda: (bool(fault.hits), "none was sent"), SOON)
    kube.kubectl("-n", namespace, "delete", "configmap", "silent")
    kube.wait_for_condition("silent", namespace, "Ready", "False", "PodsPending", SOON)


def test_it_lives_on(operator: Operator) -> None:
    assert operator.process.poll() is None
