"""An operator that is killed at random moments leaves nothing that the next one does not put right."""

import os
import random
from collections.abc import Callable

import operators
from disturbance import Disturbance
from fault_proxy import Proxy
from operator_process import Operator

KILLS = int(os.environ.get("FAULTS_KILLS", "5"))
SEED = int(os.environ.get("FAULTS_SEED") or random.randrange(10**6))


def test_after_kills_at_random_moments_everything_is_right(
    namespace: str, proxy: Proxy, start: Callable[..., Operator]
) -> None:
    print(f"FAULTS_SEED={SEED} repeats this")
    disturbance = Disturbance(namespace, SEED, resources=6, has_nodes=False)
    disturbance.kill_often(KILLS, lambda: start(proxy))
    last = start(proxy)
    disturbance.wait_until_right(patience=30)
    for name in disturbance.wanted:
        operators.wait_until_settled(proxy, name, namespace)
    assert last.process.poll() is None
