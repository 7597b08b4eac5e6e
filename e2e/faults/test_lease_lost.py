"""A leader that cannot renew its Lease, but reaches the API server otherwise, has written its last before another begins."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

import kube
import models
import operators
from fault_proxy import ALWAYS, Cut, Proxy
from operator_process import Operator
from operators import SOON

# A leader stops 10 s after the last renewal began, and another follows after 15 s; between the two is time for requests
# that are on their way.
LAST_WRITE, TAKE_OVER = 12, 15


@dataclass
class Story:
    """What happened, at which times."""

    first: Proxy
    second: Proxy
    leader: Operator
    cut_at: float
    last_renewal: float


@pytest.fixture(scope="module")
def story(namespace: str, new_proxy: Callable[[], Proxy], start: Callable[..., Operator]) -> Story:
    """From here on the leader's requests for the Lease are lost, while there is always something to write."""
    operators.let_elect(namespace)
    first, second = new_proxy(), new_proxy()
    leader = start(first, *operators.elected("first"))
    kube.wait_for("a leader", lambda: (operators.leads(leader), leader.metrics()), SOON)
    follower = start(second, *operators.elected("second"))
    kube.apply(models.llm("busy"), namespace)
    operators.wait_for_child("deployment", "busy", namespace)
    assert not operators.leads(follower)

    first.add(Cut(), resource="leases", times=ALWAYS)
    cut_at, number = time.monotonic(), 0
    while not operators.leads(follower):
        number += 1
        kube.patch("llm", "busy", namespace, {"spec": {"replicas": number}})
        assert time.monotonic() - cut_at < 60, "nobody follows"
    kube.patch("llm", "busy", namespace, {"spec": {"replicas": 1000}})
    renewals = [request.at for request in first.of("update", "leases") if request.status == 200]
    return Story(first, second, leader, cut_at, max(renewals, default=first.of("create", "leases")[-1].at))


def test_it_writes_on_for_a_while_and_no_longer(story: Story) -> None:
    times = [write.passed_at or 0 for write in story.first.writes(since=story.cut_at)]
    assert times, "it was in the middle of its work"
    assert max(times) - story.last_renewal < LAST_WRITE


def test_another_begins_after_that(story: Story, namespace: str) -> None:
    begun = min(write.at for write in story.second.writes())
    ended = max(write.at for write in story.first.writes())
    assert begun > ended
    assert begun - story.last_renewal >= TAKE_OVER
    kube.wait_for(
        "what was asked for last",
        lambda: ((found := kube.get("deployment", "busy", namespace)["spec"]["replicas"]) == 1000, found),
        SOON,
    )


def test_it_ends_and_says_why(story: Story) -> None:
    assert story.leader.process.wait(timeout=SOON) == 1
    assert "the lease could not be renewed" in story.leader.log.read_text()
