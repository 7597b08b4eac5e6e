"""A leader that stood still in the middle of a reconcile, and was followed meanwhile, writes nothing when it goes on."""

import signal
import time
from collections.abc import Callable

import kube
import models
import operators
from fault_proxy import Answer, Proxy
from operator_process import Operator
from operators import SOON

FOLLOWED = 40


def test_what_it_was_about_to_write_is_not_written(
    namespace: str, new_proxy: Callable[[], Proxy], start: Callable[..., Operator]
) -> None:
    operators.let_elect(namespace)
    first, second = new_proxy(), new_proxy()
    leader = start(first, *operators.elected("first"))
    kube.wait_for("a leader", lambda: (operators.leads(leader), leader.metrics()), SOON)
    follower = start(second, *operators.elected("second"))

    # It waits to send this again, which it was allowed to when it asked first.
    throttled = first.add(Answer(429, retry_after=5), "create", "configmaps", "waiting")
    kube.apply(models.llm("waiting"), namespace)
    kube.wait_for("the answer", lambda: (bool(throttled.hits), "no request"), SOON)
    leader.process.send_signal(signal.SIGSTOP)
    try:
        kube.wait_for("a follower", lambda: (operators.leads(follower), follower.metrics()), FOLLOWED)
        operators.wait_for_child("deployment", "waiting", namespace)
        kube.patch("llm", "waiting", namespace, {"spec": {"replicas": 2}})
    finally:
        went_on = time.monotonic()
        leader.process.send_signal(signal.SIGCONT)
    assert leader.process.wait(timeout=SOON) == 1
    assert first.writes(since=went_on) == []
    assert [r for r in first.of(resource="leases", since=went_on) if r.verb != "get"] == []
    assert "leads no more" in leader.log.read_text()
    operators.wait_until_settled(second, "waiting", namespace)
    assert kube.get("deployment", "waiting", namespace)["spec"]["replicas"] == 2
