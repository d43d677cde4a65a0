"""Each test of faults would see the fault that it is for. `make faults` runs them all."""

from __future__ import annotations

import time

import pytest

from tenants.models import Tenant
from tests.config.trees import kill, wait_for
from tests.faults.carrier import (
    KILLS,
    Carrier,
    longest_silence,
    query,
    zombie_outcome,
)
from tests.faults.processes import lives

pytestmark = pytest.mark.processes
in_make_faults = pytest.mark.skipif(KILLS == 1, reason="takes long: make faults")


@in_make_faults
def test_the_test_of_zombies_would_see_claims_without_fences(tenant: Tenant) -> None:
    with Carrier(tenant, mutant="no-fence", clusters=("a",)) as carrier:
        carrier.forget_work()
        assert zombie_outcome(carrier)[1] > 1


def test_the_test_of_kills_would_see_events_taken_before_they_are_told(tenant: Tenant) -> None:
    with Carrier(tenant, mutant="take-then-tell", clusters=("a",)) as carrier:
        carrier.forget_work()
        carrier.happen(300)
        wait_for(lambda: query("SELECT count(*) FROM monitoring_event") == [(0,)], 10, "taken")
        carrier.kill(carrier.leading_tick())
        carrier.wait_until_whole()
        carrier.wait_until_done()
        with pytest.raises(AssertionError):
            carrier.assert_each_once()


@in_make_faults
def test_the_test_of_kills_would_see_clusters_that_only_look_alive(tenant: Tenant) -> None:
    with Carrier(tenant, mutant="no-canaries", clusters=("a",)) as carrier:
        carrier.forget_work()
        assert is_stuck_by_an_idle_kill(carrier)


def is_stuck_by_an_idle_kill(carrier: Carrier) -> bool:
    """Kill the monitor, which waits with the lock of the results: does no canary come through?"""
    carrier.kill(carrier.cluster_pids("a")["monitor"])
    time.sleep(10)
    return not carrier.is_whole()


def test_the_test_of_hanging_would_see_drains_that_wait(tenant: Tenant) -> None:
    with Carrier(tenant, mutant="wait-for-all", clusters=("a",)) as carrier:
        carrier.forget_work()
        chore, canary = longest_silence(carrier, 4.0)
        assert chore > 2
        assert canary > 2


@in_make_faults
def test_the_test_of_kills_would_see_lost_wake_ups(tenant: Tenant) -> None:
    with Carrier(tenant, mutant="wake-once", clusters=("a",)) as carrier:
        carrier.forget_work()
        query("UPDATE scheduling_wake SET sent_at = clock_timestamp() + interval '1 s'")
        carrier.add_chores(1)
        time.sleep(3)
        assert carrier.undone() == 1


@in_make_faults
def test_the_test_of_kills_would_see_orphans(tenant: Tenant) -> None:
    carrier = Carrier(tenant, mutant="no-group", clusters=("a",))
    with carrier:
        carrier.forget_work()
        before = set(carrier.cluster_pids("a").values())
        carrier.kill(carrier.cluster_pids("a")["sentinel"])
        wait_for(carrier.is_whole, 20, "whole")
        orphans = {pid for pid in before - carrier.all_pids() if lives(pid)}
        for pid in orphans:
            kill(pid)
        assert orphans != set()
