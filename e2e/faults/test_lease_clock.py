"""Whether the holder of the Lease is still there is told by whether it changes it, not by the times that it writes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kube
import operators
from fault_proxy import Proxy
from operator_process import Operator
from operators import SOON

SKEWS = {"an hour ahead": timedelta(hours=1), "an hour behind": timedelta(hours=-1)}
DURATION = 15  # seconds for which a record must stay as it is
LOOKS = 2  # seconds between two looks at it


@dataclass
class Wait:
    """An operator that waits, and the holder's last sign of life."""

    operator: Operator
    namespace: str
    renewed_at: float = 0
    took_over_at: float = 0


def lease(skew: timedelta) -> dict[str, Any]:
    """The record of another holder, by its clock."""
    now = (datetime.now(UTC) + skew).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {
        "holderIdentity": "other_1",
        "leaseDurationSeconds": DURATION,
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": 0,
    }
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": operators.LEASE}, "spec": spec}


@pytest.fixture(scope="module")
def waits(new_proxy: Callable[[], Proxy], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Wait]:
    """One for each clock, all at the same time: the holder renews once, and then no more."""
    folder = tmp_path_factory.mktemp("operators")
    waits = {name: waiting(skew, new_proxy(), folder) for name, skew in SKEWS.items()}
    time.sleep(2 * LOOKS)
    for name, wait in waits.items():
        assert not operators.leads(wait.operator), name
        kube.apply(lease(SKEWS[name]), wait.namespace)
        wait.renewed_at = time.monotonic()

    def all_lead() -> tuple[bool, Any]:
        for wait in waits.values():
            if not wait.took_over_at and operators.leads(wait.operator):
                wait.took_over_at = time.monotonic()
        return all(wait.took_over_at for wait in waits.values()), {n: w.took_over_at for n, w in waits.items()}

    kube.wait_for("both to lead", all_lead, DURATION + 2 * LOOKS + SOON)
    for wait in waits.values():
        wait.operator.end()
    return waits


def waiting(skew: timedelta, proxy: Proxy, folder: Path) -> Wait:
    namespace = operators.new_namespace("lease-clock")
    operators.let_elect(namespace)
    kube.apply(lease(skew), namespace)
    return Wait(operators.start(proxy, namespace, folder, *operators.elected("own")), namespace)


@pytest.mark.parametrize("clock", SKEWS)
def test_a_holder_with_another_clock_is_followed_in_the_usual_time(clock: str, waits: dict[str, Wait]) -> None:
    wait = waits[clock]
    waited = wait.took_over_at - wait.renewed_at
    # kubectl has ended a moment after the record was written; a busy machine may take longer to see that it leads.
    assert DURATION - 1 < waited < DURATION + 2 * LOOKS + 5


@pytest.mark.parametrize("clock", SKEWS)
def test_who_follows_writes_its_own_time(clock: str, waits: dict[str, Wait]) -> None:
    spec = kube.get("lease", operators.LEASE, waits[clock].namespace)["spec"]
    assert spec["leaseTransitions"] == 1
    renewed = datetime.fromisoformat(spec["renewTime"])
    assert abs(datetime.now(UTC) - renewed) < timedelta(minutes=5)
